"""`least_reachable`: the floor under every budget, known before a block is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lspsim.allocate.budgets import Budget
from lspsim.allocate.menus import removable, unreachable
from lspsim.simulate.cost import Cost, CostModel
from lspsim.workload import BlockMask, Workload


@dataclass(frozen=True, slots=True)
class Reach:
    """What the dense network costs, and what no pruned one goes below."""

    dense: Cost
    least: Cost
    """Floor under each cost by itself."""

    def check(self, budgets: Sequence[Budget]) -> None:
        """Refuse budgets below the floor.

        Raises
        ------
        LspsimError
            On the first of them: with the least to ask for.
        """
        for budget in budgets:
            least, ceiling = budget.of(self.least), budget.ceiling(self.dense)
            if least > ceiling:
                raise unreachable(budget, least, ceiling)


def least_reachable(
    workload: Workload,
    sizes: Mapping[str, tuple[int, int]],
    exact: CostModel,
    most: float = 1.0,
) -> Reach:
    """Return the floor under every budget, from two calls of the cost model.

    `search` meets no budget below it, whatever the ranking of the blocks. With `most = 1`
    the floor is where `search` itself refuses: everything removed. With less it is not known
    which blocks are left, and fewer blocks may take more cycles (docs/decisions/0002): then
    only MACs have a floor, those of the smallest blocks left, and the others are 0. Blocks
    that coupling frees lower no floor: the first allocation must do without them.

    Parameters
    ----------
    workload
        The network; layers without a block size keep their masks.
    sizes
        By layer that may be pruned, rows of N and columns of K per block; the first
        where a recipe offers several.
    exact
        The cost model that decides.
    most
        Largest fraction of a layer's blocks that may be removed.
    """
    full: dict[str, BlockMask] = {}
    empty: dict[str, BlockMask] = {}
    macs_left = 0
    for gemm in workload.gemms:
        if gemm.name not in sizes:
            continue
        rows, columns = sizes[gemm.name]
        areas = np.outer(_sides(gemm.n, rows), _sides(gemm.k, columns))
        kept = areas.size - removable(areas.size, most)
        macs_left += gemm.m * int(np.sort(areas, axis=None)[:kept].sum())
        for masks, keep in ((full, True), (empty, False)):
            grid = np.full(areas.shape, keep)
            masks[gemm.name] = BlockMask(grid, rows, columns, (gemm.n, gemm.k))
    dense, least = (exact.cost(workload.with_masks(masks)) for masks in (full, empty))
    if most < 1:
        least = Cost(0, 0, 0, least.macs + macs_left)
    return Reach(dense, least)


def _sides(length: int, side: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Lengths of the pieces of size `side` of a line, the last one possibly shorter."""
    starts = np.arange(0, length, side, dtype=np.int64)
    return np.minimum(side, length - starts)


__all__ = ["Reach", "least_reachable"]

"""`LayerCurve`: in which order a layer loses its blocks, and what that costs.

Every score and every one-pass compensation ends in a curve; every allocation
starts from curves. That is the one contract between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lspsim.arrays import FloatArray, IntArray
from lspsim.errors import LspsimError
from lspsim.workload import BlockMask

if TYPE_CHECKING:
    from lspsim.calibrate.block_grid import BlockGrid


@dataclass(frozen=True, slots=True, eq=False)
class LayerCurve:
    """Removal order and estimated loss of one weight matrix.

    Parameters
    ----------
    name
        Module path of the layer ("blocks.0.attn.qkv").
    shape
        `(N, K)` of the weight.
    block_out, block_in
        Block size.
    order
        int64 `[blocks]`: flat block numbers (row-major over the block grid),
        first removed first; every block once.
    loss
        float64 `[blocks + 1]`: estimated loss increase after the first k
        removals, in `unit`; `loss[0] == 0`.
    unit
        "nats" per image where the estimate is one of the loss, otherwise what
        the score measures ("weight", "output"); only nats compare across layers.
    dead
        How many of the first blocks belong to dead units: to keep one of them would
        revive nothing, so that no allocation has a reason to.
    sunk
        What the removals that killed those units were estimated to cost, in `unit`; it is
        spent whatever is chosen, and not in `loss`.

    Raises
    ------
    LspsimError
        When `order` is no permutation, the lengths do not fit the grid, or dead blocks
        cost something.
    """

    name: str
    shape: tuple[int, int]
    block_out: int
    block_in: int
    order: IntArray
    loss: FloatArray
    unit: str = "nats"
    dead: int = 0
    sunk: float = 0.0

    def __post_init__(self) -> None:
        blocks = self.grid[0] * self.grid[1]
        if not np.array_equal(np.sort(self.order), np.arange(blocks)):
            raise LspsimError(f"curve {self.name!r}: order is no permutation of {blocks} blocks")
        finite = self.loss.shape == (blocks + 1,) and bool(np.isfinite(self.loss).all())
        if not finite or self.loss[0] != 0:
            raise LspsimError(
                f"curve {self.name!r}: loss must be {blocks + 1} finite values that start at 0"
            )
        if not 0 <= self.dead <= blocks or self.loss[: self.dead + 1].any():
            raise LspsimError(
                f"curve {self.name!r}: the first {self.dead} blocks cannot be dead at a loss"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Blocks along N and K."""
        return -(-self.shape[0] // self.block_out), -(-self.shape[1] // self.block_in)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.grid[0] * self.grid[1]

    def mask(self, removed: int) -> BlockMask:
        """Return the mask after the first `removed` blocks are removed."""
        if not 0 <= removed <= self.blocks:
            raise LspsimError(f"curve {self.name!r}: cannot remove {removed} of {self.blocks}")
        keep = np.ones(self.blocks, np.bool_)
        keep[self.order[:removed]] = False
        return BlockMask(keep.reshape(self.grid), self.block_out, self.block_in, self.shape)


def curve_of(grid: BlockGrid, order: IntArray, loss: FloatArray, unit: str) -> LayerCurve:
    """Return a curve over the blocks of `grid`; see `LayerCurve`."""
    order = order.astype(np.int64, copy=False)
    return LayerCurve(grid.name, grid.shape, grid.block_out, grid.block_in, order, loss, unit)


def ascending_curve(grid: BlockGrid, score: FloatArray, unit: str) -> LayerCurve:
    """Return the curve that removes small scores `[blocks]` first and adds them up.

    Ties go to the lower block number.
    """
    order = np.argsort(score, kind="stable")
    return curve_of(grid, order, np.concatenate([[0.0], np.cumsum(score[order])]), unit)

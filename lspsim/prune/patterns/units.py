"""`structured_masks`: whole neurons and head channels, the control without block sparsity.

Three kinds of units are private to a transformer block: neurons (an fc1 row, an fc2
column), value channels (a V row, a proj column) and query/key channels (a Q row, a K
row). Here they go in groups, both halves at once, so that what is left is a smaller
dense network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lspsim.allocate.curves import LayerCurve
from lspsim.arrays import FloatArray, IntArray
from lspsim.errors import LspsimError
from lspsim.prune.pipeline import Prepared
from lspsim.prune.recipe import WHOLE, Size
from lspsim.transforms import free_blocks, uncoupled
from lspsim.workload import BlockMask, Workload


def units_of(size: int) -> dict[str, Size]:
    """Return `PruneRecipe.by_kind` for groups of `size` units."""
    rows, columns = (size, WHOLE), (WHOLE, size)
    return {"qkv": rows, "proj": columns, "fc1": rows, "fc2": columns}


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """The unit groups of one kind in one transformer block, in the order they go."""

    layer: str
    blocks: IntArray
    """Their blocks in the layer that reads them (of qkv: the key rows)."""
    loss: FloatArray
    """`[groups + 1]`: after the first k are gone."""
    macs: int
    """That one of them saves."""


def structured_masks(
    prepared: Prepared, workload: Workload, macs_to_save: int
) -> tuple[dict[str, BlockMask], float]:
    """Choose the unit groups that lose least for the MACs they save.

    Groups go along the lower hulls of their losses, those of least loss per MAC first,
    until enough is saved. Losses are block-OBS's of removing fc2 columns, proj columns
    and K rows; the other halves go for free.

    Parameters
    ----------
    prepared
        From `prepare`, with block-OBS, `units_of` as `by_kind`, and losses in nats.
    workload
        Operators of one inference.
    macs_to_save
        Of the prunable layers.

    Returns
    -------
    Masks of all prunable layers, and the estimated loss in nats per image.

    Raises
    ------
    LspsimError
        When even all units save less.
    """
    shapes = {gemm.name: (gemm.m, gemm.n, gemm.k) for gemm in workload.gemms}
    groups = [
        group
        for name in prepared.layers
        if (group := _group(prepared.curves[name][0], shapes)) is not None
    ]
    segments = [
        ((group.loss[b] - group.loss[a]) / ((b - a) * group.macs), number, b)
        for number, group in enumerate(groups)
        for a, b in _hull(group.loss)
    ]
    gone = [0] * len(groups)
    left = macs_to_save
    for _, number, stop in sorted(segments):
        group = groups[number]
        take = min(stop - gone[number], -(-left // group.macs))
        if take > 0:
            gone[number] += take
            left -= take * group.macs
    if left > 0:
        raise LspsimError(
            f"structured pruning saves {macs_to_save - left} MACs at most, "
            f"{macs_to_save} were asked for"
        )
    return _masks(prepared, groups, gone), float(
        sum(group.loss[count] for group, count in zip(groups, gone, strict=True))
    )


def _group(curve: LayerCurve, shapes: Mapping[str, tuple[int, int, int]]) -> _Group | None:
    """Return the unit groups whose reader this layer is; of fc1 there are none."""
    path, _, kind = curve.name.rpartition(".")
    m, n, k = shapes[curve.name]
    if kind == "fc1":
        return None
    blocks, steps = curve.order, np.diff(curve.loss)
    if kind == "qkv":
        third = curve.grid[0] // 3
        keys = (blocks >= third) & (blocks < 2 * third)
        blocks, steps = blocks[keys], steps[keys]
        macs = 2 * m * curve.block_out * k
    else:
        writer_inputs = shapes[f"{path}.{'fc1' if kind == 'fc2' else 'qkv'}"][2]
        macs = m * curve.block_in * (n + writer_inputs)
    return _Group(curve.name, blocks, np.concatenate([[0.0], np.cumsum(steps)]), macs)


def _hull(loss: FloatArray) -> list[tuple[int, int]]:
    """Return the steps of the lower convex hull, as pairs of counts."""
    hull = [0]
    for i in range(1, loss.size):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (loss[b] - loss[a]) * (i - a) < (loss[i] - loss[a]) * (b - a):
                break
            hull.pop()
        hull.append(i)
    return list(pairwise(hull))


def _masks(prepared: Prepared, groups: list[_Group], gone: list[int]) -> dict[str, BlockMask]:
    """Return masks without the readers of the groups that go, and without what wrote them."""
    read = {group.layer: group.blocks[:count] for group, count in zip(groups, gone, strict=True)}
    masks = {}
    for name in prepared.layers:
        curve = prepared.curves[name][0]
        keep = np.ones(curve.blocks, np.bool_)
        keep[read.get(name, [])] = False
        masks[name] = BlockMask(
            keep.reshape(curve.grid), curve.block_out, curve.block_in, curve.shape
        )
    free = free_blocks(masks, *uncoupled(prepared.model))
    return {
        name: BlockMask(mask.keep & ~free[name], mask.block_out, mask.block_in, mask.shape)
        for name, mask in masks.items()
    }

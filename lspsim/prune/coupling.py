"""`couple`: let the allocation know which blocks died with others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import nn

from lspsim.prune.curves import LayerCurve
from lspsim.prune.transforms import couple_curves, dead_units, free_blocks, uncoupled
from lspsim.workload import BlockMask


def couple(
    model: nn.Module, curves: Mapping[str, LayerCurve], masks: Mapping[str, BlockMask]
) -> tuple[dict[str, LayerCurve], int]:
    """Return curves on which everything that belongs to a dead unit goes first, at no loss.

    That is the blocks which are free because a unit is dead, and those whose
    removal killed it: to take one of the latter back would revive nothing.

    Parameters
    ----------
    model
        Tells where units are not coupled (QK normalisation, gates).
    curves
        By layer.
    masks
        What an allocation chose from these curves.

    Returns
    -------
    The new curves, and how many of their blocks `masks` kept that are free.
    """
    apart = uncoupled(model)
    free = free_blocks(masks, *apart)
    gone = {
        name: BlockMask(mask.keep & ~free[name], mask.block_out, mask.block_in, mask.shape)
        for name, mask in masks.items()
    }
    committed = {}
    for name, units in dead_units(gone, *apart).items():
        mask = masks[name]
        rows = _whole_blocks(units.rows, mask.block_out)
        columns = _whole_blocks(units.columns, mask.block_in)
        committed[name] = rows[:, None] | columns[None, :]
    freed = sum(int(grid.sum()) for grid in free.values())
    return couple_curves(curves, committed), freed


def _whole_blocks(units: np.ndarray, size: int) -> np.ndarray:
    """Whether all units of each block are set, `[ceil(units / size)]`."""
    padded = np.ones(-(-units.size // size) * size, np.bool_)
    padded[: units.size] = units
    return np.asarray(padded.reshape(-1, size).all(axis=1))

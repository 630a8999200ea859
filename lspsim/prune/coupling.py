"""`couple`: let the allocation know which blocks died with others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import nn

from lspsim.prune.curves import LayerCurve
from lspsim.prune.transforms import couple_curves, dead_units, free_blocks, uncoupled
from lspsim.workload import BlockMask


def couple(
    model: nn.Module,
    curves: Mapping[str, tuple[LayerCurve, ...]],
    masks: Mapping[str, BlockMask],
) -> tuple[dict[str, tuple[LayerCurve, ...]], int]:
    """Return curves on which everything that belongs to a dead unit goes first, at no loss.

    That is the blocks which are free because a unit is dead, and those whose
    removal killed it: to take one of the latter back would revive nothing. What those
    were estimated to cost is remembered as sunk.

    Parameters
    ----------
    model
        Tells where units are not coupled (QK normalisation, gates).
    curves
        By layer, one per block size.
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
    coupled = dict(curves)
    for name, units in dead_units(gone, *apart).items():
        sunk = 0.0
        options = []
        for curve in curves[name]:
            rows = _whole_blocks(units.rows, curve.block_out)
            columns = _whole_blocks(units.columns, curve.block_in)
            committed = rows[:, None] | columns[None, :]
            if (curve.block_out, curve.block_in) == (masks[name].block_out, masks[name].block_in):
                killing = (committed & ~masks[name].keep).ravel()[curve.order]
                sunk = curve.sunk + float(np.diff(curve.loss)[killing].sum())
            options.append(couple_curves({name: curve}, {name: committed})[name])
        coupled[name] = tuple(replace(curve, sunk=sunk) for curve in options)
    freed = sum(int(grid.sum()) for grid in free.values())
    return coupled, freed


def _whole_blocks(units: np.ndarray, size: int) -> np.ndarray:
    """Whether all units of each block are set, `[ceil(units / size)]`."""
    padded = np.ones(-(-units.size // size) * size, np.bool_)
    padded[: units.size] = units
    return np.asarray(padded.reshape(-1, size).all(axis=1))

"""`random`: blocks in random order; the control every score is held against."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from lspsim.allocate.curves import LayerCurve, curve_of
from lspsim.calibrate.block_grid import BlockGrid


def random_curves(grids: Mapping[str, BlockGrid], seed: int) -> dict[str, LayerCurve]:
    """Return a random order per layer; the "loss" counts removed weights.

    A layer's order depends on the seed and its own name, not on the other
    layers.
    """
    curves = {}
    for name, grid in grids.items():
        order = np.random.default_rng([seed, zlib.crc32(name.encode())]).permutation(grid.blocks)
        sizes = grid.pool(np.ones(grid.shape))
        loss = np.concatenate([[0.0], np.cumsum(sizes[order])])
        curves[name] = curve_of(grid, order, loss, "count")
    return curves

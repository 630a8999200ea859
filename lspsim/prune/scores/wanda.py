"""`wanda`: absolute weights times the norm of the input they meet."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lspsim.allocate.curves import LayerCurve, ascending_curve
from lspsim.calibrate.block_grid import BlockGrid
from lspsim.calibrate.statistics import LayerStatistics


def wanda_curves(
    statistics: Mapping[str, LayerStatistics], grids: Mapping[str, BlockGrid]
) -> dict[str, LayerCurve]:
    """Return curves by ascending `sum |w_ok| rms(x_k)` over the block (Wanda: Sun et al. 2024).

    The paper compares weights within an output row; blocks are compared within
    the layer.

    Parameters
    ----------
    statistics
        With the input's moments, by layer.
    grids
        Blocks by layer.
    """
    curves = {}
    for name, grid in grids.items():
        layer = statistics[name]
        curves[name] = ascending_curve(
            grid, grid.pool(np.abs(layer.weight) * layer.input_norm), "output"
        )
    return curves

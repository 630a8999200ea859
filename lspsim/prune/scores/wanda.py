"""`wanda`: absolute weights times the norm of the input they meet."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lspsim.prune.calibration import LayerStatistics
from lspsim.prune.curves import LayerCurve
from lspsim.prune.scores.grid import BlockGrid


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
        curves[name] = grid.ascending(grid.pool(np.abs(layer.weight) * layer.input_norm), "output")
    return curves

"""`l1`: sum of absolute weights of a block."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lspsim.allocate.curves import LayerCurve, ascending_curve
from lspsim.calibrate.block_grid import BlockGrid


def l1_curves(
    weights: Mapping[str, NDArray[np.float64]], grids: Mapping[str, BlockGrid]
) -> dict[str, LayerCurve]:
    """Return curves by ascending `sum |w|` (magnitude pruning: Han et al. 2015).

    Parameters
    ----------
    weights
        `[N, K]` by layer.
    grids
        Blocks by layer.
    """
    return {
        name: ascending_curve(grid, grid.pool(np.abs(weights[name])), "weight")
        for name, grid in grids.items()
    }

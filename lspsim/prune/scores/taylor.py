"""`taylor`: first-order saliency, absolute weight times mean gradient."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lspsim.allocate.curves import LayerCurve, ascending_curve
from lspsim.calibrate.block_grid import BlockGrid


def saliency(
    grid: BlockGrid, weight: NDArray[np.float64], mean_gradient: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return `sum |w g|` of each block, float64 `[blocks]`, with g averaged over images."""
    return grid.pool(np.abs(weight * mean_gradient))


def taylor_curves(
    weights: Mapping[str, NDArray[np.float64]],
    mean_gradient: Mapping[str, NDArray[np.float32]],
    grids: Mapping[str, BlockGrid],
) -> dict[str, LayerCurve]:
    """Return curves by ascending first-order saliency (Molchanov et al. 2019, without the square).

    The sum bounds the first-order change of the mean loss from above, in nats
    per image; it says nothing of the second order.

    Parameters
    ----------
    weights
        `[N, K]` by layer.
    mean_gradient
        `[N, K]` by layer, at given labels: at labels sampled from the model the
        mean gradient is zero but for noise.
    grids
        Blocks by layer.
    """
    return {
        name: ascending_curve(grid, saliency(grid, weights[name], mean_gradient[name]), "nats")
        for name, grid in grids.items()
    }

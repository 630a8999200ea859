"""`lpvit`: the curves of LPViT, as its paper describes them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lspsim.allocate.curves import LayerCurve, curve_of
from lspsim.calibrate.block_gradients import GradientScores
from lspsim.calibrate.block_grid import BlockGrid
from lspsim.prune.scores.taylor import saliency
from lspsim.prune.scores.terms import taylor_terms

POINTS = 101
"""Sparsities of a curve: 0 %, 1 %, ... 100 %."""

CAP = 0.95
"""No layer loses more than this share of its blocks (for the allocation)."""


def lpvit_curves(
    weights: Mapping[str, NDArray[np.float64]],
    gradients: GradientScores,
    grids: Mapping[str, BlockGrid],
) -> dict[str, LayerCurve]:
    """Return distortion curves over sparsity (LPViT: arXiv 2407.02068, ECCV 2024).

    Blocks are ranked by `sum |w g|`, with g the mean gradient at the given
    labels. The distortion is the second-order Taylor estimate with its linear
    term and the empirical Fisher, taken at 101 sparsities; a running maximum
    makes it monotone and straight lines join the points. The lower hull, the
    slope and the cap (`CAP`) belong to the allocation. No compensation.

    Not the released code, which ranks the final mask by magnitude and takes the
    outer product of the averaged gradient for the Fisher.

    Parameters
    ----------
    weights
        `[N, K]` by layer.
    gradients
        Per-image scores and the mean gradient, at given labels.
    grids
        Blocks by layer.
    """
    curves = {}
    for name, grid in grids.items():
        score = saliency(grid, weights[name], gradients.mean_gradient[name])
        order = np.argsort(score, kind="stable")
        terms = taylor_terms(gradients.samples[name], order)
        points = sampled_points(grid.blocks)
        delta = np.maximum.accumulate((terms.linear + terms.quadratic)[points])
        loss = np.interp(np.arange(grid.blocks + 1), points, delta)
        curves[name] = curve_of(grid, order, loss, "nats")
    return curves


def sampled_points(blocks: int) -> NDArray[np.int64]:
    """Return how many of `blocks` are removed at each of the 101 sparsities, without repeats."""
    return np.unique(np.rint(np.linspace(0, blocks, POINTS)).astype(np.int64))

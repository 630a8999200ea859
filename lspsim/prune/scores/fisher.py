"""`fisher`: second-order Taylor with the exact Fisher information, all cross terms, greedily."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lspsim.allocate.curves import LayerCurve, curve_of
from lspsim.calibrate.block_grid import BlockGrid
from lspsim.calibrate.row_store import Float32Array
from lspsim.errors import LspsimError

SHRINK = 0.3
"""Share of the diagonal. N images give a Fisher matrix of rank N at most, in
which greedy search finds blocks that cancel by chance; a diagonal part makes
each block pay for itself as well (shrinkage: Ledoit & Wolf 2004)."""


def fisher_curves(
    samples: Mapping[str, Float32Array], grids: Mapping[str, BlockGrid], shrink: float = SHRINK
) -> dict[str, LayerCurve]:
    """Return curves of the greedy order under `(1 - shrink) F + shrink diag(F)`.

    The linear term is left out: near a minimum it is noise, which a greedy
    search would exploit. `lspsim.prune.scores.terms.taylor_terms` reports it,
    and checks a curve on held-out images.

    Parameters
    ----------
    samples
        float32 `[images, blocks]` by layer: per-image block scores.
    grids
        Blocks by layer.
    shrink
        Between 0 (the plain Fisher) and 1 (its diagonal).

    Raises
    ------
    LspsimError
        When `shrink` is outside 0..1.
    """
    if not 0 <= shrink <= 1:
        raise LspsimError(f"fisher: shrink must lie between 0 and 1, got {shrink}")
    curves = {}
    for name, grid in grids.items():
        order, loss = greedy(samples[name], shrink)
        curves[name] = curve_of(grid, order, loss, "nats")
    return curves


def greedy(samples: Float32Array, shrink: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Remove the block that adds least, again and again.

    With `r_n` the sum of image n's scores over the removed blocks, removing b
    adds `1/2 mean s_b^2 + (1 - shrink) mean(r s_b)`. Only `r` and the mean
    products with it are kept, never the blocks' Gram: time is `images x
    blocks^2 / 3`, memory `images x blocks`.

    Parameters
    ----------
    samples
        float32 `[images, blocks]`.
    shrink
        Share of the diagonal.

    Returns
    -------
    order
        int64 `[blocks]`.
    loss
        float64 `[blocks + 1]`, nats per image.
    """
    images, blocks = samples.shape
    live = np.array(samples.T, np.float32, order="C")  # a row per block
    ids = np.arange(blocks)
    diagonal = np.square(live).mean(1, dtype=np.float64) / 2
    marginal = diagonal.copy()
    removed = np.zeros(images)
    diagonal_sum = 0.0
    order, loss = np.empty(blocks, np.int64), np.zeros(blocks + 1)
    for step in range(blocks):
        at = int(np.argmin(marginal))
        order[step] = ids[at]
        scores = live[at]
        removed += scores
        diagonal_sum += diagonal[ids[at]]
        loss[step + 1] = (1 - shrink) * (removed @ removed) / (2 * images) + shrink * diagonal_sum
        # row by row: a threaded product of this size spends its time waking threads
        marginal += (1 - shrink) / images * np.vecdot(live, scores)
        marginal[at] = np.inf
        dead = step + 1 - (blocks - len(ids))
        if dead > 32 and 4 * dead > len(ids):  # leave the dead rows behind
            alive = np.isfinite(marginal)
            live = live[alive]
            ids, marginal = ids[alive], marginal[alive]
    return order, loss

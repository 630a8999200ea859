"""The second-order Taylor estimate of removing blocks, along an order of removal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lspsim.arrays import FloatArray
from lspsim.calibrate.row_store import Float32Array

_AT_ONCE = 4 * 2**20
"""Values of the running sums that exist at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class TaylorTerms:
    """Loss change in nats per image after the first k removals, k = 0 .. blocks.

    Setting a set S of blocks to zero changes the loss by `-g.w_S + 1/2 w_S^T F
    w_S` (optimal brain damage: LeCun, Denker & Solla 1990), with the Fisher
    information F as the curvature, an average of outer products of per-image
    gradients.

    Parameters
    ----------
    linear
        float64 `[blocks + 1]`: `-mean_n r_n`, with `r_n` the sum of image n's
        scores over the removed blocks.
    quadratic
        float64 `[blocks + 1]`: `1/2 mean_n r_n^2`.
    """

    linear: FloatArray
    quadratic: FloatArray


def taylor_terms(samples: Float32Array, order: NDArray[np.int64]) -> TaylorTerms:
    """Evaluate both terms along `order` on any images, held-out ones included.

    Parameters
    ----------
    samples
        float32 `[images, blocks]`: per-image block scores.
    order
        int64 `[blocks]`: blocks, first removed first.
    """
    images, blocks = samples.shape
    linear, quadratic = np.zeros(blocks + 1), np.zeros(blocks + 1)
    at_once = max(1, _AT_ONCE // blocks)
    for start in range(0, images, at_once):
        removed = np.cumsum(samples[start : start + at_once][:, order], axis=1, dtype=np.float64)
        linear[1:] -= removed.sum(0)
        quadratic[1:] += np.square(removed).sum(0)
    return TaylorTerms(linear / images, quadratic / (2 * images))

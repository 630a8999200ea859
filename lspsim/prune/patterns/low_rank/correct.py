"""Losses by rank, corrected by the KL that truncating one layer really causes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from torch import nn

from lspsim.allocate.correction import AT, put
from lspsim.arrays import FloatArray
from lspsim.calibrate.statistics import LayerStatistics
from lspsim.prune.patterns.low_rank.truncate import Spectrum


def corrected_loss(
    layer: nn.Linear,
    own: LayerStatistics,
    found: Spectrum,
    measure: Callable[[], float],
    fractions: Sequence[float] = AT,
) -> FloatArray:
    """Scale a layer's losses by measured over predicted KL at two ranks.

    The factor is interpolated in its logarithm over the share of MACs that is
    gone, and constant outside; then losses are raised where they would rise with rank.

    Parameters
    ----------
    layer
        Of the dense model; truncated for the measurements and restored.
    own
        Its statistics.
    found
        Its decomposition.
    measure
        Returns the KL of the model as it is to the dense one, nats per image.
    fractions
        Rising shares of the layer's MACs that are removed; by default those of blocks.

    Returns
    -------
    float64 `[min(N, K) + 1]`, by rank, nats per image.
    """
    n, k = own.weight.shape
    gone = 1 - np.arange(found.loss.size) * (n + k) / (n * k)
    logs, at = [], []
    try:
        for fraction in fractions:
            rank = max(1, round((1 - fraction) * n * k / (n + k)))
            put(layer, own, found.weight_at(rank))
            kl = max(measure(), 1e-9)
            logs.append(math.log(kl / max(float(found.loss[rank]), 1e-12)))
            at.append(gone[rank])
    finally:
        put(layer, own, own.weight)
    loss = found.loss * np.exp(np.interp(gone, at, logs))
    return np.asarray(np.maximum.accumulate(loss[::-1])[::-1])

"""`refit_curve`: what a ranking of blocks costs once the rest is refitted.

Sums of random, L1 or Wanda scores say nothing across layers. The output error
that least squares leaves does: it is measured here at some sparsities, so that
any ranking of blocks can share sparsity between layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lspsim.allocate.curves import LayerCurve
from lspsim.calibrate.damped_gram import float64, mean_diagonal
from lspsim.calibrate.statistics import LayerStatistics
from lspsim.prune.compensate.refit import least_squares_refit

FRACTIONS = (
    *(0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    *(0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.985, 1.0),
)
"""Removed fractions at which a layer is refitted: denser where its loss is steep."""


def refit_curve(
    curve: LayerCurve,
    statistics: LayerStatistics,
    damping: float = 0.01,
    fractions: Sequence[float] = FRACTIONS,
) -> LayerCurve:
    """Return the same order with its loss after a refit, in nats per image.

    Half the squared output error with each output scaled by its gain, as block-OBS
    measures it (`block_obs`); between the sparsities that are refitted the curve is
    linear, since an uninformed order may take an important block anywhere: a convex
    curve through the same points would miss such a jump.

    Parameters
    ----------
    curve
        Order of one layer's blocks.
    statistics
        Of that layer, with Gram and row gains.
    damping
        Relative ridge of the refit; it counts as input variance, as in block-OBS.
    fractions
        Where to refit, ascending.

    Raises
    ------
    LspsimError
        When statistics lack the Gram or the gains, or are not finite.
    """
    weight, gram = float64(statistics.weight), float64(statistics.gram)
    gain = float64(statistics.row_gain)
    ridge = damping * mean_diagonal(gram)
    counts, losses = [0], [0.0]
    for fraction in fractions:
        removed = round(fraction * curve.blocks)
        if removed == counts[-1]:
            continue
        keep = curve.mask(removed).keep
        solved = least_squares_refit(
            weight, gram, keep, curve.block_out, curve.block_in, damping
        ).weight
        change = weight - float64(solved)
        error = ((change @ gram) * change).sum(1) + ridge * change.square().sum(1)
        counts.append(removed)
        losses.append(0.5 * float((gain * error).sum()))
    loss = np.interp(np.arange(curve.blocks + 1), counts, np.maximum.accumulate(losses))
    return replace(curve, loss=loss, unit="nats")

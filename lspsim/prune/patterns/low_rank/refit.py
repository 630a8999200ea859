"""Reduced-rank regression: a layer of low rank fitted to the inputs that it really gets."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lspsim.calibrate.damped_gram import ArrayLike
from lspsim.prune.compensate.refit import Refit, least_squares_refit
from lspsim.prune.patterns.low_rank.truncate import spectrum


def reduced_rank_refit(
    weight: Tensor,
    gram: Tensor,
    cross: Tensor,
    row_gain: ArrayLike,
    rank: int,
    damping: float,
) -> Refit:
    """Solve for the weight of a rank that reproduces a layer's targets best.

    It minimises `|G^(1/2) (Y - X W'^T)|^2 / rows + ridge |G^(1/2) (W' - W)|^2`:
    around the full solution `W* = (C + ridge W) (H + ridge I)^-1` this is
    `|G^(1/2) (W' - W*) L|^2` plus a constant, with `L L^T = H + ridge I`, so
    `W*` is truncated in that metric (`spectrum`).

    Parameters
    ----------
    weight
        `[N, K]`: W, dense.
    gram, cross
        `[K, K]` and `[N, K]`: centred `X^T X / rows` and `Y^T X / rows`.
    row_gain
        `[N]`: G.
    rank
        At most min(N, K), which leaves the full solution.
    damping
        Relative ridge.
    """
    n, k = weight.shape
    full = least_squares_refit(weight, gram, np.ones((1, 1), np.bool_), n, k, damping, cross)
    if rank == min(n, k):
        return full
    return Refit(spectrum(full.weight, gram, row_gain, full.damping).weight_at(rank), full.damping)

"""The best weight of every rank, by the error that its inputs and the loss see.

With `H = X^T X / rows + ridge I = L L^T` and output gains G (half of `G_o` times a
squared output error is nats per image, see `block_obs`), a change D of the weight
costs `1/2 |G^(1/2) D L|^2`. By Eckart & Young (1936) the best weight of rank r is
read off the singular value decomposition of `G^(1/2) W L`, and the squared singular
values left out, halved, are its loss. Whitening by the Cholesky factor of the
inputs' Gram is that of SVD-LLM (arXiv 2403.07378; ASVD, arXiv 2312.05821, scales
by a diagonal); applied to a regression's full solution, it is reduced-rank
regression (Izenman 1975, J. Multivariate Analysis 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lspsim.arrays import FloatArray
from lspsim.calibrate.blocked import check_layer
from lspsim.calibrate.damped_gram import ArrayLike, damped, float64
from lspsim.errors import LspsimError


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """Result of `spectrum`: every rank of one layer.

    Parameters
    ----------
    loss
        float64 `[min(N, K) + 1]`: after truncation to rank r, nats per image;
        falls to 0.
    damping
        Relative damping that the factorisation needed.
    weight
        float64 `[N, K]`.
    factor
        float64 `[K, K]`: L.
    directions
        float64 `[min(N, K), K]`: right singular vectors of `G^(1/2) W L`.
    """

    loss: FloatArray
    damping: float
    weight: Tensor
    factor: Tensor
    directions: Tensor

    def weight_at(self, rank: int) -> FloatArray:
        """Return the best weight of a rank, float64 `[N, K]`.

        With V the first `rank` right singular vectors it is `W L V V^T L^-1`,
        which needs no inverse of the gains, so that a gain of 0 does no harm.

        Raises
        ------
        LspsimError
            When `rank` is not within 0 to min(N, K).
        """
        if not 0 <= rank < self.loss.size:
            raise LspsimError(f"rank {rank}: this weight has ranks from 0 to {self.loss.size - 1}")
        top = self.directions[:rank]
        reader = torch.linalg.solve_triangular(self.factor, top, upper=False, left=False)
        return np.asarray((self.weight @ self.factor @ top.mT @ reader).numpy())


def spectrum(
    weight: ArrayLike, gram: ArrayLike, row_gain: ArrayLike, damping: float = 0.01
) -> Spectrum:
    """Decompose a layer in the metric of its inputs and of the loss.

    Parameters
    ----------
    weight
        `[N, K]`.
    gram
        `[K, K]`: centred `X^T X / rows` of the layer's input rows.
    row_gain
        `[N]`, at least 0: G, see `LayerStatistics.row_gain`. It sums over the
        tokens of an image where the Gram averages, so no further factor leads
        to nats per image.
    damping
        Relative to the Gram's mean diagonal; grows tenfold until the
        factorisation succeeds.

    Raises
    ------
    LspsimError
        When shapes do not fit, a value is not finite, or a gain is negative.
    """
    w, h, gain = float64(weight), float64(gram), float64(row_gain)
    check_layer(w, h, 1, 1)
    if not torch.isfinite(w).all():
        raise LspsimError("low rank: the weight holds NaN or infinity")
    if gain.shape != (len(w),) or not bool(((gain >= 0) & torch.isfinite(gain)).all()):
        raise LspsimError(f"low rank: row_gain must be {len(w)} finite values of at least 0")
    hessian = damped(h, damping, "low rank")
    _, values, directions = torch.linalg.svd(
        gain.sqrt()[:, None] * (w @ hessian.factor), full_matrices=False
    )
    left_out = values.square().numpy()[::-1].cumsum()[::-1] / 2
    return Spectrum(np.append(left_out, 0.0), hessian.damping, w, hessian.factor, directions)

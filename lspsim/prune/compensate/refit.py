"""Solve for the kept weights of a layer: least squares per block-row, and the bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lspsim.arrays import FloatArray
from lspsim.calibrate.blocked import check_layer, element_keep
from lspsim.calibrate.damped_gram import ArrayLike, damped, float64, mean_diagonal
from lspsim.errors import LspsimError
from lspsim.workload.mask import ceil_div


@dataclass(frozen=True, slots=True, eq=False)
class Refit:
    """A refitted weight.

    Parameters
    ----------
    weight
        float64 `[N, K]`; removed blocks are exactly zero.
    damping
        Largest relative damping that a block-row needed.
    """

    weight: FloatArray
    damping: float


def least_squares_refit(
    weight: ArrayLike,
    gram: ArrayLike,
    keep: NDArray[np.bool_],
    block_out: int,
    block_in: int,
    damping: float = 0.01,
    cross: ArrayLike | None = None,
    toward: ArrayLike | None = None,
) -> Refit:
    """Solve for the kept weights that reproduce a layer's targets best.

    Per block-row with kept inputs K, with centred inputs x and targets y:
    `W'_K = (C_K + r V_K) (H_KK + r I)^-1`, the ridge regression that is pulled
    toward V. With the layer's own inputs and outputs, `C = W H`, this is the
    OBS solution; with `cross` from another network it is fitted to the inputs
    that the layer really gets. Block-rows that keep the same inputs share
    one factorisation.

    Parameters
    ----------
    weight
        `[N, K]`, dense.
    gram
        `[K, K]`: centred Gram of the inputs, per row.
    keep
        bool `[rows, cols]` of blocks.
    block_out, block_in
        Block size.
    damping
        Relative ridge; `r` is this times the mean diagonal of the whole Gram.
        Grows tenfold until the factorisation succeeds.
    cross
        `[N, K]`: centred `Y^T X / rows`. Default: `weight @ gram`.
    toward
        `[N, K]`: V, default `weight`.

    Raises
    ------
    LspsimError
        When shapes do not fit or a value is not finite.
    """
    w, h = float64(weight), float64(gram)
    check_layer(w, h, block_out, block_in)
    grid = (ceil_div(w.shape[0], block_out), ceil_div(w.shape[1], block_in))
    if keep.shape != grid:
        raise LspsimError(f"refit: keep has shape {keep.shape}, the weight's blocks are {grid}")
    c = w @ h if cross is None else float64(cross)
    v = w if toward is None else float64(toward)
    if c.shape != w.shape or v.shape != w.shape:
        raise LspsimError(
            f"refit: cross {tuple(c.shape)} and toward {tuple(v.shape)} must have the weight's "
            f"shape {tuple(w.shape)}"
        )
    if not (torch.isfinite(c).all() and torch.isfinite(v).all()):
        raise LspsimError("refit: the weight or the cross-Gram holds NaN or infinity")
    unit = mean_diagonal(h)  # of all inputs, so that the ridge does not depend on what is kept
    result = torch.zeros_like(w)
    needed = damping
    patterns, members = np.unique(keep, axis=0, return_inverse=True)
    group = torch.from_numpy(np.repeat(members.reshape(-1), block_out)[: w.shape[0]])
    kept = element_keep(patterns, (len(patterns), w.shape[1]), 1, block_in)
    for number, pattern in enumerate(kept):
        inputs = torch.from_numpy(np.flatnonzero(pattern))
        if not len(inputs):
            continue
        rows = torch.nonzero(group == number)[:, 0]
        own = h[inputs][:, inputs]
        system = damped(own, damping, "refit", unit)
        needed = max(needed, system.damping)
        wanted = c[rows][:, inputs] + system.ridge * v[rows][:, inputs]
        solved = torch.cholesky_solve(wanted.T, system.factor).T
        result[rows[:, None], inputs] = solved
    return Refit(result.numpy(), needed)

"""Damped Gram matrices, factored in float64, with damping that grows until it suffices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lspsim.errors import LspsimError

ArrayLike = Tensor | NDArray[np.float64]

ESCALATION = 10.0
"""Factor by which the damping grows when a factorisation fails."""

MOST_DAMPING = 1e3
"""Relative damping beyond which the Gram is not worth factoring (nothing but noise is left)."""


def float64(values: ArrayLike) -> Tensor:
    """Return `values` as a float64 torch tensor on the CPU, without a copy where possible."""
    return torch.as_tensor(values).detach().to("cpu", torch.float64)


@dataclass(frozen=True, slots=True)
class Damped:
    """A damped Gram and its Cholesky factor.

    Parameters
    ----------
    matrix
        float64 `[K, K]`: Gram plus `ridge` on the diagonal.
    factor
        float64 `[K, K]`, lower: `factor @ factor.T == matrix`.
    damping
        Relative damping that was needed.
    ridge
        What was added to the diagonal.
    """

    matrix: Tensor
    factor: Tensor
    damping: float
    ridge: float


def damped(gram: Tensor, damping: float, what: str, unit: float | None = None) -> Damped:
    """Add `damping` times `unit` to the diagonal of `gram` and factor it.

    The damping grows tenfold until the Cholesky factorisation succeeds.

    Parameters
    ----------
    gram
        float64 `[K, K]`, symmetric positive semidefinite up to rounding.
    damping
        First relative damping tried, at least 0.
    what
        Named in errors.
    unit
        What the damping is relative to, above 0. Default: the mean diagonal.

    Raises
    ------
    LspsimError
        When the Gram is not square or holds NaN or infinity, `damping` is
        negative, or no damping up to `MOST_DAMPING` makes it positive definite.
    """
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
        raise LspsimError(f"{what}: a Gram is square, got shape {tuple(gram.shape)}")
    if not torch.isfinite(gram).all():
        raise LspsimError(
            f"{what}: the Gram holds NaN or infinity; look for overflowing activations "
            "in the calibration images"
        )
    if not damping >= 0:
        raise LspsimError(f"{what}: damping must be at least 0, got {damping}")
    size = gram.shape[0]
    unit = mean_diagonal(gram) if unit is None else unit
    while damping <= MOST_DAMPING:
        ridge = damping * unit
        matrix = gram + ridge * torch.eye(size, dtype=gram.dtype)
        factor, info = torch.linalg.cholesky_ex(matrix)
        if int(info) == 0:
            return Damped(matrix, factor, damping, ridge)
        damping = escalate(damping)
    raise LspsimError(f"{what}: not positive semidefinite, even with damping {MOST_DAMPING:g}")


def mean_diagonal(gram: Tensor) -> float:
    """Return the mean diagonal, or 1 for inputs that never vary (any ridge will do)."""
    mean = float(gram.diagonal().mean()) if len(gram) else 0.0
    return mean if mean > 0 else 1.0


def escalate(damping: float) -> float:
    """Return the next damping to try after `damping` has failed."""
    return damping * ESCALATION if damping > 0 else 1e-8

"""Pareto dominance of two objectives."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def dominated(a: ArrayLike, b: ArrayLike) -> NDArray[np.bool_]:
    """Mark the points that another point beats, both objectives being maximised.

    Pareto dominance: `j` dominates `i` when `a[j] >= a[i]` and `b[j] >= b[i]`, one of them
    strictly. Of equal points none dominates the other.

    Parameters
    ----------
    a, b
        float `[points]`, finite; negate what is to be small.

    Returns
    -------
    bool `[points]`.

    Notes
    -----
    From large `a` to small, a point is dominated when an earlier one has a larger `b`, or an
    equal `b` and a strictly larger `a`. `O(n log n)`.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    order = np.lexsort((-y, -x))
    result = np.zeros(x.size, np.bool_)
    highest, at = -np.inf, np.inf
    for i in order:
        result[i] = highest > y[i] or (highest == y[i] and at > x[i])
        if y[i] > highest:
            highest, at = y[i], x[i]
    return result

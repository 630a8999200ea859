"""Pareto dominance of two objectives, of which the first may carry a tolerance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

COST_TOLERANCE = 0.0005
"""Costs this close, as a fraction of the larger, count as equal: 0.05 %.

The allocators stop filling a budget when less than this is left of it
(`lspsim.allocate.repair`), so which of two points of one budget is the cheaper by
less is left to chance.
"""


def dominated(a: ArrayLike, b: ArrayLike, tolerance: float = 0.0) -> NDArray[np.bool_]:
    """Mark the design points that a point of the front beats, both objectives being maximised.

    `j` beats `i` when it is better in one objective and not worse in the other. Better in
    `a` means by at least `tolerance` of the larger magnitude, better in `b` means at all. Of
    equal points none beats the other. The front is the one set of points of which none
    beats another, and which beat all the rest.

    Parameters
    ----------
    a, b
        float `[points]`, finite; negate what is to be small.
    tolerance
        Fraction of `a` that is no difference; 0 is Pareto dominance.

    Returns
    -------
    bool `[points]`: False on the front.

    Notes
    -----
    With a tolerance "beats" is not transitive: of three points, each a little cheaper and
    less accurate than the one before, the first may beat the second and the second the
    third, but the third is cheaper than the first by more than the tolerance. It stays,
    because what would beat it is not on the front itself. "Beats" has no cycles: along it
    `b` never falls, and where `b` stays `a` rises. A relation without cycles has exactly one
    such set, its kernel (von Neumann and Morgenstern, Theory of Games and Economic
    Behavior, 1944), which is found from large `b` to small, and from large `a` to small
    where `b` is equal: a point is on it unless one that was found before beats it.
    `O(n log n)`.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)

    def better(p: float, q: float) -> bool:
        return p > q and p - q >= tolerance * max(abs(p), abs(q))

    result = np.zeros(x.size, np.bool_)
    above: float | None = None  # largest `a` on the front where `b` is larger
    level: float | None = None  # and where it is equal
    last = np.inf
    for i in np.lexsort((-x, -y)):
        if y[i] < last:
            if level is not None:
                above = level if above is None else max(above, level)
            level, last = None, y[i]
        result[i] = (above is not None and not better(x[i], above)) or (
            level is not None and better(level, x[i])
        )
        if level is None and not result[i]:
            level = x[i]
    return result

"""Which fitted parameters ended at a bound: the rows do not determine them."""

from __future__ import annotations

from collections.abc import Mapping

NEAR = 2e-3
"""Part of a range that counts as its end."""


def at_bounds(
    values: Mapping[str, float], bounds: Mapping[str, tuple[float, float]]
) -> tuple[str, ...]:
    """Name the parameters that ended at a bound, and at which.

    Parameters
    ----------
    values
        By parameter, in any unit.
    bounds
        By parameter, lowest and highest in the same unit.
    """
    named = []
    for name, value in values.items():
        low, high = bounds[name]
        near = NEAR * (high - low)
        if value <= low + near:
            named.append(f"{name} (lowest)")
        elif value >= high - near:
            named.append(f"{name} (highest)")
    return tuple(named)

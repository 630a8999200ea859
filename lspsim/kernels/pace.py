"""How soon a fold may follow the one before it (docs/model.md, "Array timing")."""

from __future__ import annotations

from numba import njit


@njit(cache=True, inline="always")
def fold_gap(overlap, length, rows, cols):
    """Cycles from the start of a stream to the earliest shift of the next weights."""
    if overlap == 0:
        return 0
    if overlap == 1:
        return length
    return length + rows + cols - 2


@njit(cache=True, inline="always")
def fold_pace(overlap, length, rows, cols):
    """Cycles from the start of a stream to the next one, with everything ready (WS, IS)."""
    return max(fold_gap(overlap, length, rows, cols) + rows, length)

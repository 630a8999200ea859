"""Lagrangian: one slope for all layers (LPViT's allocation)."""

from __future__ import annotations

import numpy as np

from lspsim.allocate.allocators.allocation import Allocation, describe
from lspsim.allocate.allocators.bound import Bound, cheapest, lagrangian_bound, together
from lspsim.allocate.menus import Menus
from lspsim.arrays import FloatArray, IntArray

_HALVINGS = 60


def lagrangian(menus: Menus) -> Allocation:
    """Cut every layer's lower convex hull at one slope, as steep as the budgets need.

    LPViT (Xu et al., ECCV 2024, arXiv 2407.02068) bisects the slope until its budget
    is met. With several budgets the slope has one part per budget, in the proportion
    of the bound's multipliers. Points off the hull are never chosen, which costs
    optimality on curves that are not convex.

    Raises
    ------
    LspsimError
        When the budgets cannot be met.
    """
    bound = lagrangian_bound(menus)
    return describe(menus, "lagrangian", cut(menus, bound), bound)


def cut(menus: Menus, bound: Bound) -> IntArray:
    """Return the points at the flattest slope along the multipliers that meets the budgets.

    Raises
    ------
    LspsimError
        When none does.
    """
    direction = slopes(menus, bound)

    def met(steepness: float) -> bool:
        return menus.met(menus.total(cheapest(menus, steepness * direction))[1])

    low, high = 0.0, 1.0
    while not met(high):
        low, high = high, 2 * high
        if high > 1e30:
            raise together(menus)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if met(middle) else (middle, high)
    return cheapest(menus, high * direction)


def slopes(menus: Menus, bound: Bound) -> FloatArray:
    """Return the multipliers, with a millionth for budgets that the relaxation leaves slack.

    Whole points may break those by a hair, and then need a slope, too.
    """
    span = float(np.ptp(menus.loss)) or 1.0
    size = np.ptp(menus.cost, axis=0)  # 0: no point costs more than another, nor needs a slope
    least = np.divide(1e-6 * span, size, out=np.zeros_like(size), where=size > 0)
    return np.asarray(bound.multipliers + least)

"""Knapsack: the optimal selection from the menus, up to the rounding of costs."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from lspsim.allocate.allocators.allocation import Allocation, describe
from lspsim.allocate.allocators.bound import lagrangian_bound
from lspsim.allocate.allocators.greedy import greedy_points
from lspsim.allocate.allocators.lagrangian import cut, slopes
from lspsim.allocate.menus import Menus
from lspsim.arrays import FloatArray, IntArray
from lspsim.errors import LspsimError
from lspsim.kernels.knapsack import knapsack as solve

BINS = 20_000
"""Bins that the first budget's room is divided into: rounding up wastes at most a bin per
layer, 0.24 % of the room with 48 layers, most of which the kernel then finds again."""

_HALVINGS = 10


def knapsack(menus: Menus, bins: int = BINS) -> Allocation:
    """Choose points by dynamic programming over the tightest budget.

    Costs are rounded up to bins, so that the budget surely holds. Further budgets
    enter the loss with a multiplier, which is bisected until they hold, too; with one
    budget the selection is the optimum for costs rounded so. Freed room is then used
    by single moves. What the other allocators choose is a candidate, so the result is
    never worse.

    Raises
    ------
    LspsimError
        When the budgets cannot be met.
    """
    bound = lagrangian_bound(menus)
    first = int((bound.multipliers * np.abs(menus.ceilings)).argmax())
    price = slopes(menus, bound)
    price[first] = 0
    others = menus.cost @ price
    candidates = [cut(menus, bound)]
    with suppress(LspsimError):  # it may get stuck where the cut does not
        candidates.append(greedy_points(menus))

    def attempt(weight: float) -> bool:
        points = pack(menus, first, menus.loss + weight * others, bins)
        if points is None or not menus.met(menus.total(points)[1]):
            return False
        candidates.append(points)
        return True

    if not attempt(0.0) and len(menus.budgets) > 1:
        low, high = 0.0, 1.0
        while not attempt(high) and high < 1e12:
            low, high = high, 4 * high
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if attempt(middle) else (middle, high)
    improved = [fill(menus, points) for points in candidates]
    best = min(improved, key=lambda points: menus.total(points)[0])
    return describe(menus, "knapsack", best, bound)


def pack(menus: Menus, budget: int, loss: FloatArray, bins: int = BINS) -> IntArray | None:
    """Return the points of least `loss` under one budget, or None where none fit."""
    cost = menus.cost[:, budget]
    lowest = np.minimum.reduceat(cost, menus.start[:-1])
    above = cost - lowest[menus.layer_of]
    room = float(menus.room[budget] - lowest.sum())
    if room < 0:
        return None
    never = bins + len(menus.layers) + 1.0
    taken = np.where(above > 0, never, 0.0)
    if room > 0:
        taken = np.minimum(np.ceil(above * (bins / room)), never)
    points = np.zeros(len(menus.layers), np.int64)
    least = solve(menus.start, taken.astype(np.int64), loss, bins, above, room, points)
    return points if np.isfinite(least) else None


def fill(menus: Menus, points: IntArray) -> IntArray:
    """Return `points` after the best single moves, while one lowers the loss within budget."""
    points = points.copy()
    limit = menus.ceilings + 1e-9 * np.abs(menus.ceilings)
    while True:
        rows = menus.start[:-1] + points
        _, total = menus.total(points)
        gain = menus.loss - menus.loss[rows][menus.layer_of]
        cost = total + menus.cost - menus.cost[rows][menus.layer_of]
        gain = np.where((cost <= limit).all(axis=1), gain, 0.0)
        move = int(gain.argmin())
        if gain[move] >= 0:
            return points
        layer = int(menus.layer_of[move])
        points[layer] = move - menus.start[layer]

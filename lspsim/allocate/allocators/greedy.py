"""Greedy: one global ranking by loss per cost."""

from __future__ import annotations

import numpy as np

from lspsim.allocate.allocators.allocation import Allocation, describe
from lspsim.allocate.allocators.bound import cheapest, together
from lspsim.allocate.menus import Menus
from lspsim.arrays import IntArray


def greedy(menus: Menus) -> Allocation:
    """From the least loss of every layer, move where a unit of excess cost is cheapest.

    A move takes one layer to any other point; what it saves of the budgets still
    exceeded counts as a fraction of each ceiling, and no more than the excess.

    Raises
    ------
    LspsimError
        When the budgets cannot be met.
    """
    return describe(menus, "greedy", greedy_points(menus))


def greedy_points(menus: Menus) -> IntArray:
    """Return the points `[layers]` that `greedy` chooses."""
    menus.check_reachable()
    points = cheapest(menus, np.zeros(len(menus.budgets)))
    size = np.maximum(np.abs(menus.ceilings), 1e-300)
    for _ in range(menus.loss.size + 1):
        _, total = menus.total(points)
        if menus.met(total):
            return points
        rows = menus.start[:-1] + points
        excess = np.maximum(total - menus.ceilings, 0) / size
        change = (menus.cost - menus.cost[rows][menus.layer_of]) / size
        saved = np.minimum(-change, excess)[:, excess > 0].sum(axis=1)
        lost = menus.loss - menus.loss[rows][menus.layer_of]
        ratio = np.where(saved > 1e-12, lost / np.maximum(saved, 1e-12), np.inf)
        move = int(ratio.argmin())
        if not np.isfinite(ratio[move]):
            break
        layer = int(menus.layer_of[move])
        points[layer] = move - menus.start[layer]
    raise together(menus)  # stuck, or budgets that pull in opposite directions

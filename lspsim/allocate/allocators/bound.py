"""The Lagrangian bound: what no selection from the menus can beat."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

from lspsim.allocate.menus import Menus
from lspsim.arrays import FloatArray, IntArray
from lspsim.errors import LspsimError

_INFEASIBLE = 2
"""linprog's status of a problem without a solution."""


class Bound(NamedTuple):
    """A lower bound on the loss, and the multipliers that prove it."""

    value: float
    multipliers: FloatArray
    """`[budgets]`, none negative: loss per unit of `Cost`."""


def cheapest(menus: Menus, multipliers: FloatArray) -> IntArray:
    """Return the points `[layers]` that minimise loss + multipliers x cost, layer by layer.

    Such points lie on the lower convex hull of each layer's menu: this is LPViT's cut
    of all curves at one slope.
    """
    price = menus.loss + menus.cost @ multipliers
    ends = pairwise(menus.start.tolist())
    return np.array([int(price[a:b].argmin()) for a, b in ends], np.int64)


def dual_value(menus: Menus, multipliers: FloatArray) -> float:
    """Return `sum_l min (D + mu c) - mu B`: a lower bound for every mu >= 0 (weak duality)."""
    price = menus.loss + menus.cost @ multipliers
    least = np.minimum.reduceat(price, menus.start[:-1]).sum()
    return float(least - multipliers @ menus.room)


def lagrangian_bound(menus: Menus) -> Bound:
    """Return the greatest Lagrangian bound.

    Its multipliers are the dual variables of the linear relaxation, whose optimum it
    equals (Geoffrion 1974, "Lagrangean relaxation for integer programming": each
    layer's subproblem has integral vertices). The bound is evaluated from them anew,
    so that it holds whatever the solver's tolerance.

    Raises
    ------
    LspsimError
        When no selection, not even a fractional one, meets all budgets.
    """
    menus.check_reachable()
    points = menus.loss.size
    # one scale for the loss and each cost, so that the solver's tolerances mean something
    loss_scale = float(np.abs(menus.loss).max()) or 1.0
    scale = np.maximum(np.abs(menus.cost).max(axis=0), np.abs(menus.room))
    scale[scale == 0] = 1.0
    member = csr_array(
        (np.ones(points), (menus.layer_of, np.arange(points))), shape=(len(menus.layers), points)
    )
    solved = linprog(
        menus.loss / loss_scale,
        A_ub=(menus.cost / scale).T,
        b_ub=menus.room / scale,
        A_eq=member,
        b_eq=np.ones(len(menus.layers)),
        method="highs",
    )
    if solved.status == _INFEASIBLE:
        raise together(menus)
    if solved.status != 0:
        raise LspsimError(f"the linear relaxation was not solved: {solved.message}")
    multipliers = np.maximum(-solved.ineqlin.marginals, 0) * loss_scale / scale
    value = dual_value(menus, multipliers)
    unpriced = dual_value(menus, np.zeros_like(multipliers))
    if unpriced > value:
        return Bound(unpriced, np.zeros_like(multipliers))
    return Bound(value, multipliers)


def together(menus: Menus) -> LspsimError:
    """Return the error for budgets that hold one by one, but not at once."""
    names = " and ".join(str(budget) for budget in menus.budgets)
    return LspsimError(
        f"the budgets {names} cannot be met together with these curves; relax one of them, or "
        "allow more blocks of a layer to go"
    )

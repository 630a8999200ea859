"""`search`: curves and budgets in, masks that meet the budgets out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from lspsim.allocate.allocators.allocation import Allocation
from lspsim.allocate.allocators.greedy import greedy
from lspsim.allocate.allocators.knapsack import knapsack
from lspsim.allocate.allocators.lagrangian import lagrangian
from lspsim.allocate.allocators.uniform import uniform
from lspsim.allocate.budgets import Budget, BudgetKind
from lspsim.allocate.curves import LayerCurve
from lspsim.allocate.menus import (
    POINTS,
    Choice,
    Curves,
    Menus,
    group_curves,
    masks_of,
    most_removed,
    tabulate,
    unreachable,
)
from lspsim.allocate.repair import BINDS_WITHIN, Repaired, repair
from lspsim.arrays import FloatArray
from lspsim.errors import LspsimError
from lspsim.simulate.cost import Cost, CostModel, ProportionalCost
from lspsim.workload import BlockMask, Workload

Method = Literal["uniform", "lagrangian", "knapsack", "greedy"]

REACH = 1 / 3
"""How much closer each round's menus look than the one's before."""

_HALVINGS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Masks that meet every budget, and how they were found."""

    masks: Mapping[str, BlockMask]
    choice: Mapping[str, Choice]
    loss: float
    """Estimated loss increase, in `unit`."""
    unit: str
    cost: Cost
    """Of the pruned network, by the exact engine."""
    dense: Cost
    ceilings: Mapping[BudgetKind, float]
    """In the units of `Cost`."""
    used: Mapping[BudgetKind, float]
    """Cost over ceiling: 1 = used up."""
    binding: tuple[BudgetKind, ...]
    """Budgets of which at most 0.5 % are left over; empty where even blocks are too
    coarse, or nothing had to go."""
    allocation: Allocation
    """What the last round's allocator chose, with its optimality gap."""
    table_error: Mapping[BudgetKind, float]
    """Additive cost of that choice over its exact cost, minus 1."""
    simulations: int
    """Calls of the exact engine."""
    proxy: Outcome | None = None
    """What LPViT's proxy leads to under the same budgets, where it was a rival."""


def search(
    curves: Iterable[LayerCurve],
    workload: Workload,
    budgets: Sequence[Budget],
    model: CostModel,
    exact: CostModel,
    method: Method = "knapsack",
    rounds: int = 3,
    points: int = POINTS,
    most: float = 1.0,
    beat_proxy: bool | None = None,
) -> Outcome:
    """Find masks of least estimated loss that meet every budget.

    Each round reads menus off `model` at the present point, allocates, and repairs
    with `exact`. The next round starts from the best point so far and looks a third as
    far around it, where costs add up better. `uniform` takes one round. Another start
    can end elsewhere: with `beat_proxy` the search also starts from what LPViT's proxy
    (blocks that survive) leads to, repaired in the same way, hence never loses more.

    Parameters
    ----------
    curves
        At least one per layer that may be pruned; several block sizes are alternatives.
    workload
        The network; layers without a curve keep their masks.
    budgets
        All must hold; fractions refer to the network with nothing removed.
    model
        Asked thousands of times (analytic engine).
    exact
        Asked about a hundred times (event engine); it decides.
    method
        Allocator.
    rounds
        How often menus are read, at least 1.
    points
        Points per curve in a menu.
    most
        Largest fraction of a layer's blocks that may go (LPViT: 0.95).
    beat_proxy
        Whether to do so; default: for `knapsack` on any other model.

    Raises
    ------
    LspsimError
        When the budgets cannot be met: with the least that can.
    """
    if method not in get_args(Method):
        raise LspsimError(f"unknown allocator {method!r}; use one of {', '.join(get_args(Method))}")
    if rounds < 1 or points < 2 or not 0 < most <= 1:
        raise LspsimError(
            f"rounds={rounds}, points={points}, most={most}: need at least 1 round, 2 points, and "
            "a fraction above 0 and at most 1"
        )
    curves = tuple(curves)
    grouped = group_curves(curves, workload)
    kinds = [budget.kind for budget in budgets]
    nothing = {name: Choice(0, 0) for name in grouped}
    dense = exact.cost(workload.with_masks(masks_of(grouped, nothing)))
    ceilings = np.array([budget.ceiling(dense) for budget in budgets])
    current: Mapping[str, Choice]
    current, asked = _start(grouped, workload, budgets, ceilings, exact, most)
    asked += 1
    proxy = None
    found: list[Repaired] = []
    if beat_proxy is None:
        beat_proxy = method == "knapsack" and not isinstance(model, ProportionalCost)
    if beat_proxy:
        proxy = search(
            curves,
            workload,
            budgets,
            ProportionalCost(dense),
            exact,
            "lagrangian",
            rounds,
            points,
            most,
            False,
        )
        asked += proxy.simulations
        found.append(Repaired(proxy.choice, proxy.loss, proxy.cost, 0))
    allocators: dict[str, Callable[[Menus], Allocation]] = {
        "uniform": lambda menus: uniform(menus, grouped),
        "lagrangian": lagrangian,
        "knapsack": knapsack,
        "greedy": greedy,
    }
    for number in range(1 if method == "uniform" else rounds):
        here = exact.cost(workload.with_masks(masks_of(grouped, current)))
        base = np.array([budget.of(here) for budget in budgets])
        menus = tabulate(
            grouped, workload, model, budgets, ceilings, current, base, points, most, REACH**number
        )
        allocation = allocators[method](menus)
        found.append(repair(menus, allocation.choice, grouped, workload, exact, most))
        asked += 1 + found[-1].simulations
        current = min(found, key=lambda repaired: repaired.loss).choice
    best = min(found, key=lambda repaired: repaired.loss)
    used = {b.kind: b.of(best.cost) / c for b, c in zip(budgets, ceilings.tolist(), strict=True)}
    chosen = exact.cost(workload.with_masks(masks_of(grouped, allocation.choice)))
    return Outcome(
        masks=masks_of(grouped, best.choice),
        choice=best.choice,
        loss=best.loss,
        unit=menus.unit,
        cost=best.cost,
        dense=dense,
        ceilings=dict(zip(kinds, ceilings.tolist(), strict=True)),
        used=used,
        binding=tuple(kind for kind in kinds if used[kind] >= 1 - BINDS_WITHIN),
        allocation=allocation,
        table_error={b.kind: _excess(allocation.costs[b.kind], b.of(chosen)) for b in budgets},
        simulations=asked + 1,
        proxy=proxy,
    )


def _excess(estimate: float, exact: float) -> float:
    """Return by which fraction an estimate is too high; 0 where nothing is left to cost."""
    return estimate / exact - 1 if exact else 0.0


def _start(
    curves: Curves,
    workload: Workload,
    budgets: Sequence[Budget],
    ceilings: FloatArray,
    exact: CostModel,
    most: float,
) -> tuple[dict[str, Choice], int]:
    """Return the least common fraction that meets the budgets, as a place to start from.

    Raises
    ------
    LspsimError
        When not even all removable blocks are enough.
    """

    def at(fraction: float) -> dict[str, Choice]:
        return {
            name: Choice(0, most_removed(options[0], min(fraction, most)))
            for name, options in curves.items()
        }

    def values(fraction: float) -> FloatArray:
        cost = exact.cost(workload.with_masks(masks_of(curves, at(fraction))))
        return np.array([budget.of(cost) for budget in budgets])

    floor = values(most)
    for j, budget in enumerate(budgets):
        if floor[j] > ceilings[j]:
            raise unreachable(budget, float(floor[j]), float(ceilings[j]))
    low, high = 0.0, most
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if (values(middle) <= ceilings).all():
            high = middle
        else:
            low = middle
    return at(high), _HALVINGS + 1

"""`search`: curves and budgets in, masks that meet the budgets out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from lspsim.allocate.allocators.allocation import Allocation
from lspsim.allocate.allocators.greedy import greedy
from lspsim.allocate.allocators.knapsack import knapsack
from lspsim.allocate.allocators.lagrangian import lagrangian
from lspsim.allocate.allocators.uniform import uniform
from lspsim.allocate.budgets import Budget, BudgetKind
from lspsim.allocate.curves import LayerCurve
from lspsim.allocate.menus import POINTS, Choice, Curves, Menus, group_curves, masks_of
from lspsim.allocate.problem import Couple, Problem
from lspsim.allocate.repair import BINDS_WITHIN, Repaired
from lspsim.errors import LspsimError
from lspsim.simulate.cost import Cost, CostModel, ProportionalCost
from lspsim.workload import BlockMask, Workload

Method = Literal["uniform", "lagrangian", "knapsack", "greedy"]

COUPLING_ROUNDS = 5
"""Most reallocations for dead units (they settle in two or three)."""

_ALLOCATORS: Mapping[Method, Callable[[Menus, Curves], Allocation]] = {
    "knapsack": lambda menus, _: knapsack(menus),
    "lagrangian": lambda menus, _: lagrangian(menus),
    "greedy": lambda menus, _: greedy(menus),
    "uniform": uniform,
}
"""`knapsack` first: of equal candidates the first is chosen."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Masks that meet every budget, and how they were found."""

    masks: Mapping[str, BlockMask]
    choice: Mapping[str, Choice]
    loss: float
    """Estimated loss increase, in `unit`; what killed dead units included."""
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
    candidate: str
    """Out of which search it came: an allocator's name, or "proxy"."""
    simulations: int = 0
    """Calls of the exact engine, for all candidates together."""
    coupled: int = 0
    """Blocks that were removed at no loss because their unit was dead."""
    proxy: Outcome | None = None
    """The best that LPViT's proxy leads to under the same budgets, where it was a rival."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One way to search: an allocator, and whether it takes costs off LPViT's proxy."""

    method: Method
    on_proxy: bool = False
    seeded: bool = False
    """Whether the search also starts from what the proxy leads to."""

    @property
    def name(self) -> str:
        return "proxy" if self.on_proxy else self.method

    @property
    def label(self) -> str:
        return f"{self.method} on the proxy" if self.on_proxy else self.method


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
    couple: Couple | None = None,
    progress: Callable[[str], None] | None = None,
) -> Outcome:
    """Find masks of least estimated loss that meet every budget.

    Each round reads menus off `model` at the present choice, allocates, and repairs
    with `exact`. The next round starts from the best choice so far and looks a third as
    far around it, where costs add up better. `uniform` takes one round. With `couple`
    blocks of dead units become free, and all rounds are gone through again.

    Repair may turn the tables, so `knapsack` takes no allocator's word for it: every
    other one is followed to its end, too, and so is each of them on LPViT's proxy (blocks
    that survive). The least loss of all is chosen; it is never above that of a rival.

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
        Asked hundreds of times (event engine); it decides.
    method
        Allocator; `knapsack` stands for the best of all.
    rounds
        How often menus are read, at least 1.
    points
        Points per curve in a menu.
    most
        Largest fraction of a layer's blocks that may be removed (LPViT: 0.95).
    beat_proxy
        Whether the proxy is a rival; default: for `knapsack` on any other model.
    couple
        `lspsim.allocate.coupling.couple` of the network; default: no unit dies.
    progress
        Called with what is being done.

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
    grouped = group_curves(curves, workload)
    problem = Problem(grouped, workload, budgets, model, exact, points, most)
    if beat_proxy is None:
        beat_proxy = method == "knapsack" and not isinstance(model, ProportionalCost)
    candidates = [_Candidate(method, seeded=beat_proxy)]
    if method == "knapsack":
        candidates += [_Candidate(rival) for rival in _ALLOCATORS if rival != method]
    if beat_proxy:
        candidates += [_Candidate(rival, on_proxy=True) for rival in _ALLOCATORS]
    ends: list[tuple[Problem, Outcome]] = []
    failures: list[LspsimError] = []
    for candidate in candidates:
        if progress:
            progress(f"allocating: {candidate.label}")
        try:
            ends.append(_settle(problem, candidate, rounds, couple))
        except LspsimError as failure:  # greedy may get stuck where others do not
            failures.append(failure)
    if not ends:
        raise failures[0]
    last, best = min(ends, key=lambda end: end[1].loss)
    on_proxy = [outcome for _, outcome in ends if outcome.candidate == "proxy"]
    if best.candidate == "proxy":  # say of it what its bound and prices are on the simulator
        again = _follow(last, _Candidate("knapsack"), rounds, [best])
        best = replace(again, candidate="proxy", coupled=best.coupled)
    return replace(
        best,
        simulations=problem.simulations,
        proxy=min(on_proxy, key=lambda outcome: outcome.loss, default=None),
    )


def _settle(
    problem: Problem, candidate: _Candidate, rounds: int, couple: Couple | None
) -> tuple[Problem, Outcome]:
    """Follow a candidate until no more blocks are freed; return the problem of its end, too."""

    def follow() -> Outcome:
        seeds = []
        if candidate.seeded:
            seeds.append(_follow(problem, _Candidate("lagrangian", on_proxy=True), rounds))
        return _follow(problem, candidate, rounds, seeds)

    outcome = follow()
    coupled = 0
    for _ in range(COUPLING_ROUNDS):
        if couple is None:
            break
        problem, freed = problem.coupled(couple, outcome.choice)
        if freed == 0:
            break
        coupled += freed
        outcome = follow()
    return problem, replace(outcome, coupled=coupled)


def _follow(
    problem: Problem, candidate: _Candidate, rounds: int, seeds: Sequence[Outcome] = ()
) -> Outcome:
    """Read menus, allocate and repair, round after round; `seeds` are solutions known before."""
    judge = problem.judge
    current = problem.start
    reached = [Repaired(seed.choice, seed.loss, seed.cost) for seed in seeds]
    for number in range(1 if candidate.method == "uniform" else rounds):
        menus = problem.menus(current, number, candidate.on_proxy)
        allocation = _ALLOCATORS[candidate.method](menus, problem.curves)
        reached.append(problem.repaired(menus, allocation.choice))
        best = min(reached, key=lambda repaired: repaired.loss)
        current = best.choice
    ceilings = dict(zip((b.kind for b in judge.budgets), judge.ceilings.tolist(), strict=True))
    used = {budget.kind: budget.of(best.cost) / ceilings[budget.kind] for budget in judge.budgets}
    chosen = judge.cost(allocation.choice)
    error = {b.kind: _excess(allocation.costs[b.kind], b.of(chosen)) for b in judge.budgets}
    return Outcome(
        masks=masks_of(problem.curves, best.choice),
        choice=best.choice,
        loss=best.loss,
        unit=menus.unit,
        cost=best.cost,
        dense=judge.dense,
        ceilings=ceilings,
        used=used,
        binding=tuple(kind for kind in used if used[kind] >= 1 - BINDS_WITHIN),
        allocation=allocation,
        table_error=error,
        candidate=candidate.name,
    )


def _excess(estimate: float, exact: float) -> float:
    """Return by which fraction an estimate is too high; 0 where nothing is left to cost."""
    return estimate / exact - 1 if exact else 0.0


__all__ = ["Method", "Outcome", "search"]

"""Repair: from a selection to masks that meet every budget in the exact engine.

Menus are additive and hold a few points per layer; the engine knows how layers
share channels, and curves hold every block. Both differences are settled here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lspsim.allocate.budgets import Budget
from lspsim.allocate.menus import (
    Choice,
    Curves,
    Menus,
    loss_of,
    masks_of,
    most_removed,
    unreachable,
)
from lspsim.arrays import FloatArray, IntArray
from lspsim.simulate.cost import Cost, CostModel
from lspsim.workload import Workload

BINDS_WITHIN = 0.005
"""A budget binds when at most this fraction of it is left over."""

_TIGHT = 0.0005
"""Single moves stop once so little of some budget is left."""
_TRIES = 48
"""Layers that single moves look at, best first."""
_LADDER = 192
"""Counts per layer that paths consider, the nearest all of them."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """Masks that meet every budget."""

    choice: Mapping[str, Choice]
    loss: float
    cost: Cost
    """By the exact engine."""
    simulations: int


@dataclass(frozen=True, slots=True)
class _Step:
    """Move one layer from its previous step's count to `removed`."""

    ratio: float
    """Loss per cost: added per saved (removing) or saved per added (taking back)."""
    name: str
    removed: int


class _Judge:
    """Asks the exact engine, and counts how often."""

    def __init__(
        self,
        curves: Curves,
        workload: Workload,
        exact: CostModel,
        budgets: tuple[Budget, ...],
        ceilings: FloatArray,
    ) -> None:
        self.curves, self.workload, self.exact = curves, workload, exact
        self.budgets, self.ceilings = budgets, ceilings
        self.asked = 0

    def cost(self, choice: Mapping[str, Choice]) -> Cost:
        self.asked += 1
        return self.exact.cost(self.workload.with_masks(masks_of(self.curves, choice)))

    def values(self, cost: Cost) -> FloatArray:
        return np.array([budget.of(cost) for budget in self.budgets])

    def met(self, choice: Mapping[str, Choice]) -> bool:
        return bool((self.values(self.cost(choice)) <= self.ceilings).all())


def repair(
    menus: Menus,
    choice: Mapping[str, Choice],
    curves: Curves,
    workload: Workload,
    exact: CostModel,
    most: float = 1.0,
) -> Repaired:
    """Return the nearest point along the curves that meets every budget, tightly.

    While a budget is exceeded, blocks go along the path of least loss per cost (read
    off the menus; the engine decides how far). Then the path of most loss per cost is
    walked back as far as every budget allows, and single layers step back further
    while some move still fits. Where all budgets are slack even then, blocks come back
    that gain no estimated loss, until a budget binds within `BINDS_WITHIN` or no such
    block fits any more. Layers keep the block size that `choice` gave them.

    Parameters
    ----------
    menus
        What moves cost, roughly.
    choice
        Where to start.
    curves, workload
        The layers' curves, and the network.
    exact
        The engine that decides.
    most
        Largest fraction of a layer's blocks that may go.

    Raises
    ------
    LspsimError
        When a budget is exceeded even with all removable blocks gone.
    """
    judge = _Judge(curves, workload, exact, menus.budgets, menus.ceilings)
    found = dict(choice)
    cost = judge.cost(found)
    weight = _weights(menus, judge.values(cost))
    if (judge.values(cost) > menus.ceilings).any():
        steps = _path(menus, found, curves, weight, most, removing=True)
        found = _shortest(judge, found, steps)
    steps = _path(menus, found, curves, weight, most, removing=False)
    found = _longest(judge, found, steps)
    found = _single_moves(judge, found, menus, weight)
    found = _flat_moves(judge, found)
    return Repaired(found, loss_of(curves, found), judge.cost(found), judge.asked)


def _weights(menus: Menus, values: FloatArray) -> FloatArray:
    """Weigh the budgets: those exceeded, or the one nearest its ceiling, per ceiling."""
    share = values / menus.ceilings
    binding = (share > 1) | (share >= share.max() - BINDS_WITHIN)
    return np.asarray(binding / menus.ceilings, dtype=np.float64)


def _path(
    menus: Menus,
    found: Mapping[str, Choice],
    curves: Curves,
    weight: FloatArray,
    most: float,
    removing: bool,
) -> list[_Step]:
    """Return all layers' steps away from `found`, best first.

    A layer's steps run along the lower hull of its loss over cost, so that its own
    come in order.
    """
    steps: list[_Step] = []
    for menu in menus.layers:
        at = found[menu.name]
        curve = curves[menu.name][at.curve]
        end = most_removed(curve, most) if removing else min(curve.dead, at.removed)
        counts = _ladder(at.removed, end)
        cost = _cost_at(menu.choices, menu.cost @ weight, at.curve, counts)
        loss = curve.loss[counts]
        for a, b in _hull(cost, loss):
            change = abs(cost[b] - cost[a])
            steps.append(_Step((loss[b] - loss[a]) / change, menu.name, int(counts[b])))
        if removing and at.removed < end:  # last of all: what the menu knows no gain from
            steps.append(_Step(np.inf, menu.name, end))
    # removing: loss added per cost saved, least first; taking back: least (most negative) first
    return sorted(steps, key=lambda step: step.ratio)


def _ladder(present: int, end: int) -> IntArray:
    """Return counts from `present` to `end`: the nearest one by one, the further evenly."""
    sign = 1 if end >= present else -1
    distance = abs(end - present)
    near = np.arange(min(distance, _LADDER // 2) + 1)
    far = np.rint(np.linspace(0, distance, _LADDER // 2)).astype(np.int64)
    return np.asarray(present + sign * np.unique(np.concatenate([near, far])), dtype=np.int64)


def _cost_at(
    choices: tuple[Choice, ...], cost: FloatArray, curve: int, counts: IntArray
) -> FloatArray:
    """Cost at any count: linear between the menu's points, never rising with removal."""
    own = [i for i, at in enumerate(choices) if at.curve == curve]
    removed = np.array([choices[i].removed for i in own], np.float64)
    order = removed.argsort()
    falling = np.minimum.accumulate(cost[own][order])
    return np.asarray(np.interp(counts, removed[order], falling))


def _hull(cost: FloatArray, loss: FloatArray) -> list[tuple[int, int]]:
    """Return the steps of the lower hull from the first point on, as pairs of numbers.

    `cost` is monotone; only steps that change it count.
    """
    sign = -1.0 if cost[-1] < cost[0] else 1.0
    x = sign * cost
    hull = [0]
    for i in range(1, x.size):
        if x[i] <= x[hull[-1]]:
            # the same cost: keep the lower loss, but the present point always stays
            if len(hull) > 1 and loss[i] < loss[hull[-1]]:
                hull.pop()
            else:
                continue
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            left = (loss[b] - loss[a]) * (x[i] - x[a])
            if left < (loss[i] - loss[a]) * (x[b] - x[a]):
                break
            hull.pop()
        hull.append(i)
    return list(pairwise(hull))


def _after(found: Mapping[str, Choice], steps: list[_Step]) -> dict[str, Choice]:
    out = dict(found)
    for step in steps:
        out[step.name] = Choice(out[step.name].curve, step.removed)
    return out


def _shortest(judge: _Judge, found: Mapping[str, Choice], steps: list[_Step]) -> dict[str, Choice]:
    """Return the point after the fewest removing steps that meet every budget."""
    everything = _after(found, steps)
    values = judge.values(judge.cost(everything))
    for j, budget in enumerate(judge.budgets):
        if values[j] > judge.ceilings[j]:
            raise unreachable(budget, float(values[j]), float(judge.ceilings[j]))
    low, high = 0, len(steps)
    while high - low > 1:
        middle = (low + high) // 2
        if judge.met(_after(found, steps[:middle])):
            high = middle
        else:
            low = middle
    return _after(found, steps[:high])


def _longest(judge: _Judge, found: Mapping[str, Choice], steps: list[_Step]) -> dict[str, Choice]:
    """Return the point after the most taking-back steps that keep every budget."""
    steps = [step for step in steps if step.ratio < 0]
    if judge.met(_after(found, steps)):
        return _after(found, steps)
    low, high = 0, len(steps)
    while high - low > 1:
        middle = (low + high) // 2
        if judge.met(_after(found, steps[:middle])):
            low = middle
        else:
            high = middle
    return _after(found, steps[:low])


def _single_moves(
    judge: _Judge, found: dict[str, Choice], menus: Menus, weight: FloatArray
) -> dict[str, Choice]:
    """Step single layers back as far as fits, those with most loss per cost first."""
    values = judge.values(judge.cost(found))
    steps = _path(menus, found, judge.curves, weight, 1.0, removing=False)
    seen: set[str] = set()
    for step in steps:
        if len(seen) >= _TRIES or step.ratio >= 0:
            break
        if (1 - values / judge.ceilings).min() < _TIGHT:
            break
        if step.name in seen:
            continue
        seen.add(step.name)
        at = found[step.name]
        removed = _least_removed(judge, found, step.name, step.removed)
        if removed < at.removed and _loss(judge, step.name, at) > _loss(
            judge, step.name, Choice(at.curve, removed)
        ):
            found[step.name] = Choice(at.curve, removed)
            values = judge.values(judge.cost(found))
    return found


def _flat_moves(judge: _Judge, found: dict[str, Choice]) -> dict[str, Choice]:
    """Take blocks back for no rise of the estimated loss, until a budget binds or none fits.

    Curves have flat stretches (LPViT's running maximum makes them), where moves that
    must gain loss stop short. The estimate has no order for such moves: they go layer
    by layer, in the workload's order. Dead blocks stay away.
    """
    values = judge.values(judge.cost(found))
    moved = True
    while moved:
        moved = False
        for name, at in list(found.items()):
            if (1 - values / judge.ceilings).min() <= BINDS_WITHIN:
                return found
            curve = judge.curves[name][at.curve]
            loss = curve.loss[: at.removed + 1]
            counts = np.flatnonzero(loss <= loss[-1])[::-1]  # the present one first
            counts = counts[counts >= min(curve.dead, at.removed)]
            fits = _furthest(judge, found, name, counts)
            if fits > 0:
                found[name] = Choice(at.curve, int(counts[fits]))
                values = judge.values(judge.cost(found))
                moved = True
    return found


def _furthest(judge: _Judge, found: Mapping[str, Choice], name: str, counts: IntArray) -> int:
    """Return the number of the furthest of a layer's counts that meets the budgets.

    The first count is known to. The next one is asked first: mostly it does not fit.
    """
    low, high = 0, counts.size  # `low` meets them, `high` does not
    middle = 1
    while high - low > 1:
        if judge.met({**found, name: Choice(found[name].curve, int(counts[middle]))}):
            low = middle
        else:
            high = middle
        middle = (low + high) // 2
    return low


def _loss(judge: _Judge, name: str, at: Choice) -> float:
    return float(judge.curves[name][at.curve].loss[at.removed])


def _least_removed(judge: _Judge, found: Mapping[str, Choice], name: str, least: int) -> int:
    """Least count from `least` on that still meets the budgets, by bisection."""
    at = found[name]
    low, high = least - 1, at.removed  # `high` is known to meet them
    while high - low > 1:
        middle = (low + high) // 2
        if judge.met({**found, name: Choice(at.curve, middle)}):
            high = middle
        else:
            low = middle
    return high


__all__ = ["BINDS_WITHIN", "Repaired", "repair"]

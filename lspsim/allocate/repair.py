"""Repair: from a selection to masks that meet every budget in the exact engine.

Menus are additive and hold a few points per layer; the engine knows how layers
share channels, and curves hold every block. Both differences are settled here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lspsim.allocate.judge import Judge
from lspsim.allocate.menus import Choice, Menus, loss_of, unreachable
from lspsim.allocate.path import Step, after, path
from lspsim.arrays import FloatArray, IntArray
from lspsim.simulate.cost import Cost

BINDS_WITHIN = 0.005
"""A budget binds when at most this fraction of it is left over."""

_TIGHT = 0.0005
"""Single moves stop once so little of some budget is left."""
_TRIES = 48
"""Layers that single moves look at, best first."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """Masks that meet every budget."""

    choice: Mapping[str, Choice]
    loss: float
    cost: Cost
    """By the exact engine."""


def repair(judge: Judge, menus: Menus, start: Mapping[str, Choice], most: float = 1.0) -> Repaired:
    """Return the nearest point along the curves that meets every budget, tightly.

    While a budget is exceeded, blocks go along the path of least loss per cost (read
    off the menus; the engine decides how far). Then the path of most loss per cost is
    walked back as far as every budget allows, and single layers step back further
    while some move still fits. Where all budgets are slack even then, blocks come back
    that gain no estimated loss, until a budget binds within `BINDS_WITHIN` or no such
    block fits any more. Layers keep the block size that `start` gave them.

    Parameters
    ----------
    judge
        Decides; knows the curves.
    menus
        What moves cost, roughly.
    start
        Where to start.
    most
        Largest fraction of a layer's blocks that may be removed.

    Raises
    ------
    LspsimError
        When a budget is exceeded even with all removable blocks removed.
    """
    choice = dict(start)
    weight = _weights(menus, judge.values(choice))
    if not judge.meets(choice):
        steps = path(menus, choice, judge.curves, weight, most, removing=True)
        choice = _shortest(judge, choice, steps)
    steps = path(menus, choice, judge.curves, weight, most, removing=False)
    choice = _longest(judge, choice, steps)
    choice = _single_moves(judge, choice, menus, weight)
    choice = _flat_moves(judge, choice)
    return Repaired(choice, loss_of(judge.curves, choice), judge.cost(choice))


def _weights(menus: Menus, values: FloatArray) -> FloatArray:
    """Weigh the budgets: those exceeded, or the one nearest its ceiling, per ceiling."""
    share = values / menus.ceilings
    binding = (share > 1) | (share >= share.max() - BINDS_WITHIN)
    return np.asarray(binding / menus.ceilings, dtype=np.float64)


def _shortest(judge: Judge, choice: Mapping[str, Choice], steps: list[Step]) -> dict[str, Choice]:
    """Return the point after the fewest removing steps that meet every budget."""
    everything = after(choice, steps)
    values = judge.values(everything)
    for j, budget in enumerate(judge.budgets):
        if values[j] > judge.ceilings[j]:
            raise unreachable(budget, float(values[j]), float(judge.ceilings[j]))
    low, high = 0, len(steps)
    while high - low > 1:
        middle = (low + high) // 2
        if judge.meets(after(choice, steps[:middle])):
            high = middle
        else:
            low = middle
    return after(choice, steps[:high])


def _longest(judge: Judge, choice: Mapping[str, Choice], steps: list[Step]) -> dict[str, Choice]:
    """Return the point after the most taking-back steps that keep every budget."""
    steps = [step for step in steps if step.ratio < 0]
    if judge.meets(after(choice, steps)):
        return after(choice, steps)
    low, high = 0, len(steps)
    while high - low > 1:
        middle = (low + high) // 2
        if judge.meets(after(choice, steps[:middle])):
            low = middle
        else:
            high = middle
    return after(choice, steps[:low])


def _single_moves(
    judge: Judge, choice: dict[str, Choice], menus: Menus, weight: FloatArray
) -> dict[str, Choice]:
    """Step single layers back as far as fits, those with most loss per cost first."""
    values = judge.values(choice)
    steps = path(menus, choice, judge.curves, weight, 1.0, removing=False)
    seen: set[str] = set()
    for step in steps:
        if len(seen) >= _TRIES or step.ratio >= 0:
            break
        if (1 - values / judge.ceilings).min() < _TIGHT:
            break
        if step.name in seen:
            continue
        seen.add(step.name)
        at = choice[step.name]
        removed = _least_removed(judge, choice, step.name, step.removed)
        if removed < at.removed and _loss(judge, step.name, at) > _loss(
            judge, step.name, Choice(at.curve, removed)
        ):
            choice[step.name] = Choice(at.curve, removed)
            values = judge.values(choice)
    return choice


def _flat_moves(judge: Judge, choice: dict[str, Choice]) -> dict[str, Choice]:
    """Take blocks back for no rise of the estimated loss, until a budget binds or none fits.

    Curves have flat stretches (LPViT's running maximum makes them), where moves that
    must gain loss stop short. The estimate has no order for such moves: they go layer
    by layer, in the workload's order. Dead blocks stay away.
    """
    values = judge.values(choice)
    moved = True
    while moved:
        moved = False
        for name, at in list(choice.items()):
            if (1 - values / judge.ceilings).min() <= BINDS_WITHIN:
                return choice
            curve = judge.curves[name][at.curve]
            loss = curve.loss[: at.removed + 1]
            counts = np.flatnonzero(loss <= loss[-1])[::-1]  # the present one first
            counts = counts[counts >= min(curve.dead, at.removed)]
            fits = _furthest(judge, choice, name, counts)
            if fits > 0:
                choice[name] = Choice(at.curve, int(counts[fits]))
                values = judge.values(choice)
                moved = True
    return choice


def _furthest(judge: Judge, choice: Mapping[str, Choice], name: str, counts: IntArray) -> int:
    """Return the number of the furthest of a layer's counts that meets the budgets.

    The first count is known to. The next one is asked first: mostly it does not fit.
    """
    low, high = 0, counts.size  # `low` meets them, `high` does not
    middle = 1
    while high - low > 1:
        if judge.meets({**choice, name: Choice(choice[name].curve, int(counts[middle]))}):
            low = middle
        else:
            high = middle
        middle = (low + high) // 2
    return low


def _loss(judge: Judge, name: str, at: Choice) -> float:
    return float(judge.curves[name][at.curve].loss[at.removed])


def _least_removed(judge: Judge, choice: Mapping[str, Choice], name: str, least: int) -> int:
    """Least count from `least` on that still meets the budgets, by bisection."""
    at = choice[name]
    low, high = least - 1, at.removed  # `high` is known to meet them
    while high - low > 1:
        middle = (low + high) // 2
        if judge.meets({**choice, name: Choice(at.curve, middle)}):
            high = middle
        else:
            low = middle
    return high


__all__ = ["BINDS_WITHIN", "Repaired", "repair"]

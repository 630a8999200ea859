"""Paths: the single-layer steps away from a choice, those of least loss per cost first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lspsim.allocate.menus import Choice, Curves, Menus, most_removed
from lspsim.arrays import FloatArray, IntArray

_LADDER = 192
"""Counts per layer that paths consider, the nearest all of them."""


@dataclass(frozen=True, slots=True)
class Step:
    """Move one layer from its previous step's count to `removed`."""

    ratio: float
    """Loss per cost: added per saved (removing) or saved per added (taking back)."""
    name: str
    removed: int


def path(
    menus: Menus,
    choice: Mapping[str, Choice],
    curves: Curves,
    weight: FloatArray,
    most: float,
    removing: bool,
) -> list[Step]:
    """Return all layers' steps away from `choice`, best first.

    A layer's steps run along the lower hull of its loss over cost, so that its own
    come in order.
    """
    steps: list[Step] = []
    for menu in menus.layers:
        at = choice[menu.name]
        curve = curves[menu.name][at.curve]
        end = most_removed(curve, most) if removing else min(curve.dead, at.removed)
        counts = _ladder(at.removed, end)
        cost = _cost_at(menu.choices, menu.cost @ weight, at.curve, counts)
        loss = curve.loss[counts]
        for a, b in lower_hull(cost, loss):
            change = abs(cost[b] - cost[a])
            steps.append(Step((loss[b] - loss[a]) / change, menu.name, int(counts[b])))
        if removing and at.removed < end:  # last of all: what the menu knows no gain from
            steps.append(Step(np.inf, menu.name, end))
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


def lower_hull(cost: FloatArray, loss: FloatArray) -> list[tuple[int, int]]:
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


def after(choice: Mapping[str, Choice], steps: list[Step]) -> dict[str, Choice]:
    """Return the choice that these steps lead to."""
    out = dict(choice)
    for step in steps:
        out[step.name] = Choice(out[step.name].curve, step.removed)
    return out


__all__ = ["Step", "after", "lower_hull", "path"]

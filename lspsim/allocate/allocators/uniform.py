"""Uniform: the same fraction of blocks from every layer."""

from __future__ import annotations

import numpy as np

from lspsim.allocate.allocators.allocation import Allocation, describe
from lspsim.allocate.allocators.bound import together
from lspsim.allocate.menus import Curves, Menus
from lspsim.arrays import IntArray


def uniform(menus: Menus, curves: Curves) -> Allocation:
    """Choose the smallest common fraction that meets every budget.

    Each layer takes its first curve's menu point next to that fraction, not below it.

    Raises
    ------
    LspsimError
        When a budget is out of reach.
    """
    menus.check_reachable()
    rows = []
    for menu in menus.layers:
        fractions = np.array(
            [
                at.removed / curves[menu.name][0].blocks if at.curve == 0 else np.nan
                for at in menu.choices
            ]
        )
        rows.append(fractions)
    steps = np.unique(np.concatenate(rows))
    for step in steps[np.isfinite(steps)]:
        points = _points(rows, float(step))
        if menus.met(menus.total(points)[1]):
            return describe(menus, "uniform", points)
    raise together(menus)


def _points(rows: list[np.ndarray[tuple[int], np.dtype[np.float64]]], step: float) -> IntArray:
    """Point of each layer with the least fraction from `step` on, else its largest."""
    points = []
    for fractions in rows:
        beyond = np.where(fractions >= step - 1e-12, fractions, np.inf)
        nearest = int(beyond.argmin())
        points.append(nearest if np.isfinite(beyond[nearest]) else int(np.nanargmax(fractions)))
    return np.array(points, np.int64)

"""Menus: for every layer, real masks with their estimated loss and their cost.

A block costs nothing by itself: its tile may live on, its core may wait for
another, its layer for memory. So costs are read off the cost model for masks
along the layer's curve, with all other layers at their present point, and read
again once that point has moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lspsim.allocate.budgets import Budget
from lspsim.allocate.curves import LayerCurve
from lspsim.arrays import FloatArray, IntArray
from lspsim.errors import LspsimError
from lspsim.simulate.cost import CostModel, cost_variants
from lspsim.workload import BlockMask, Gemm, Workload

POINTS = 65
"""Default points of a curve in its menu (LPViT: 101, read once)."""


class Choice(NamedTuple):
    """Where a layer stands."""

    curve: int
    """Number of the curve among the layer's (one per block size)."""
    removed: int
    """Blocks that are gone."""


Curves = Mapping[str, Sequence[LayerCurve]]
"""Curves by layer; several of one layer differ in block size."""


@dataclass(frozen=True, eq=False)
class LayerMenu:
    """The points that one layer may take."""

    name: str
    choices: tuple[Choice, ...]
    loss: FloatArray
    """`[points]`: estimated loss increase."""
    cost: FloatArray
    """`[points, budgets]`: what the network's cost changes by when the layer moves here
    from its present point, in the units of `Cost`."""


@dataclass(frozen=True, eq=False)
class Menus:
    """An allocation problem: least loss with every additive cost under its ceiling.

    The cost of a selection is `base` plus the cost of each layer's point.
    """

    layers: tuple[LayerMenu, ...]
    budgets: tuple[Budget, ...]
    base: FloatArray
    """`[budgets]`: cost with every layer at its present point."""
    ceilings: FloatArray
    """`[budgets]`."""
    unit: str = "nats"

    @cached_property
    def start(self) -> IntArray:
        """`[layers + 1]`: layer l owns the points `start[l]` to `start[l + 1] - 1`."""
        return np.cumsum([0, *(menu.loss.size for menu in self.layers)], dtype=np.int64)

    @cached_property
    def loss(self) -> FloatArray:
        """`[points]`, all layers'."""
        return np.concatenate([menu.loss for menu in self.layers])

    @cached_property
    def cost(self) -> FloatArray:
        """`[points, budgets]`, all layers'."""
        return np.concatenate([menu.cost for menu in self.layers])

    @cached_property
    def layer_of(self) -> IntArray:
        """`[points]`: number of the layer."""
        return np.repeat(np.arange(len(self.layers)), np.diff(self.start))

    @cached_property
    def room(self) -> FloatArray:
        """`[budgets]`: what the layers' points may cost together."""
        return self.ceilings - self.base

    @cached_property
    def least(self) -> FloatArray:
        """`[budgets]`: least cost that any selection reaches, budget by budget."""
        return np.asarray(self.base + np.minimum.reduceat(self.cost, self.start[:-1]).sum(axis=0))

    def total(self, points: IntArray) -> tuple[float, FloatArray]:
        """Return loss and costs `[budgets]` of a selection.

        Parameters
        ----------
        points
            `[layers]`: number of the point within each layer's menu.
        """
        rows = self.start[:-1] + points
        return float(self.loss[rows].sum()), self.base + self.cost[rows].sum(axis=0)

    def met(self, cost: FloatArray) -> bool:
        """Whether every budget holds, up to the rounding of sums."""
        return bool((cost <= self.ceilings + 1e-9 * np.abs(self.ceilings)).all())

    def choices(self, points: IntArray) -> dict[str, Choice]:
        """Return what a selection means for every layer."""
        return {
            menu.name: menu.choices[point]
            for menu, point in zip(self.layers, points.tolist(), strict=True)
        }

    def check_reachable(self) -> None:
        """Refuse budgets below what the menus reach.

        Raises
        ------
        LspsimError
            With the least that is reachable.
        """
        for j, budget in enumerate(self.budgets):
            if self.least[j] > self.ceilings[j] + 1e-9 * abs(self.ceilings[j]):
                raise unreachable(budget, self.least[j], self.ceilings[j])


def unreachable(budget: Budget, least: float, ceiling: float) -> LspsimError:
    """Return the error for a budget that no mask meets."""
    share = ""
    if budget.relative:
        floor = float(budget.limit) * least / ceiling
        share = f", {np.ceil(floor * 1e4) / 1e4:.4g} of dense"
    return LspsimError(
        f"budget {budget}: with every block removed that may be, {budget.show(least)} are left"
        f"{share}; ask for at least that, or change what pruning does not touch "
        "(attention, embeddings, hardware)"
    )


def group_curves(
    curves: Iterable[LayerCurve], workload: Workload
) -> dict[str, tuple[LayerCurve, ...]]:
    """Group curves by layer, in the workload's order.

    Raises
    ------
    LspsimError
        On no curve, a layer that the workload lacks, a shape or block size that does
        not fit, or losses in different units.
    """
    weights = {gemm.name: gemm for gemm in workload.gemms if gemm.rhs == "weight"}
    found: dict[str, list[LayerCurve]] = {}
    units = set()
    for curve in curves:
        _check_curve(curve, weights)
        found.setdefault(curve.name, []).append(curve)
        units.add(curve.unit)
    if not found:
        raise LspsimError("no curve is given, so there is nothing to allocate")
    if len(units) > 1:
        raise LspsimError(
            f"curves measure loss in {' and '.join(sorted(units))}; those cannot be added up: "
            "score every layer with the same method"
        )
    return {name: tuple(found[name]) for name in weights if name in found}


def _check_curve(curve: LayerCurve, weights: Mapping[str, Gemm]) -> None:
    gemm = weights.get(curve.name)
    if gemm is None:
        raise LspsimError(
            f"curve {curve.name!r}: the workload has no weight GEMM of that name; its first is "
            f"{next(iter(weights), 'none')!r}"
        )
    if curve.shape != (gemm.n, gemm.k):
        raise LspsimError(
            f"curve {curve.name!r} is of a {curve.shape[0]}x{curve.shape[1]} weight, but the "
            f"workload's is {gemm.n}x{gemm.k}"
        )


def masks_of(curves: Curves, choice: Mapping[str, Choice]) -> dict[str, BlockMask]:
    """Return the masks that `choice` stands for."""
    return {name: curves[name][at.curve].mask(at.removed) for name, at in choice.items()}


def loss_of(curves: Curves, choice: Mapping[str, Choice]) -> float:
    """Return the estimated loss that `choice` stands for."""
    chosen = [(curves[name][at.curve], at.removed) for name, at in choice.items()]
    return float(sum(curve.loss[removed] + curve.sunk for curve, removed in chosen))


def removable(blocks: int, most: float) -> int:
    """Return how many of `blocks` may be removed when at most the fraction `most` may."""
    return int(most * blocks + 1e-9)


def most_removed(curve: LayerCurve, most: float) -> int:
    """Return how many blocks of a curve may be removed; those of dead units always may."""
    return max(removable(curve.blocks, most), curve.dead)


def tabulate(
    curves: Curves,
    workload: Workload,
    model: CostModel,
    budgets: Sequence[Budget],
    ceilings: FloatArray,
    current: Mapping[str, Choice],
    base: FloatArray | None = None,
    points: int = POINTS,
    most: float = 1.0,
    reach: float = 1.0,
) -> Menus:
    """Read the costs of every layer's points off the cost model.

    Parameters
    ----------
    curves
        By layer.
    workload
        The network; its masks on other layers stay.
    model
        Tells what a mask costs.
    budgets, ceilings
        What is limited, and to how much in the units of `Cost`, `[budgets]`.
    current
        Present point of every layer.
    base
        `[budgets]`: cost at the present point, if a better engine than `model` knows it;
        the model then gives differences only.
    points
        Points per curve, evenly spaced over the removable blocks.
    most
        Largest fraction of a layer's blocks that may go.
    reach
        Half-width of the window around the present point that the menu covers, as a
        fraction of a layer's blocks: the closer, the better costs add up.
    """
    at_current = workload.with_masks(masks_of(curves, current))
    here = np.array([budget.of(model.cost(at_current)) for budget in budgets])
    layers = []
    for name, options in curves.items():
        choices: list[Choice] = []
        losses: list[FloatArray] = []
        costs = []
        share = current[name].removed / options[current[name].curve].blocks
        for number, curve in enumerate(options):
            counts = _counts(curve, points, most, share, reach)
            if current[name].curve == number:
                counts = np.union1d(counts, current[name].removed)
            masks = {count: curve.mask(count) for count in counts.tolist()}
            found = cost_variants(model, at_current, name, masks)
            choices += [Choice(number, count) for count in masks]
            losses.append(curve.loss[counts] + curve.sunk)
            costs += [[budget.of(found[count]) for budget in budgets] for count in masks]
        layers.append(
            LayerMenu(name, tuple(choices), np.concatenate(losses), np.array(costs) - here)
        )
    unit = next(iter(curves.values()))[0].unit
    return Menus(tuple(layers), tuple(budgets), here if base is None else base, ceilings, unit)


def _counts(curve: LayerCurve, points: int, most: float, share: float, reach: float) -> IntArray:
    """Return the counts of removed blocks that the menu offers, none that keeps dead ones."""
    low = max((share - reach) * curve.blocks, curve.dead)
    high = max(min((share + reach) * curve.blocks, most_removed(curve, most)), curve.dead)
    return np.unique(np.rint(np.linspace(min(low, high), high, points)).astype(np.int64))

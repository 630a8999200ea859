"""`Allocation`: a selection from the menus, and how far from the optimum it can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lspsim.allocate.allocators.bound import Bound, lagrangian_bound
from lspsim.allocate.budgets import BudgetKind
from lspsim.allocate.menus import Choice, Menus
from lspsim.arrays import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """What an allocator chose.

    The gap is to the Lagrangian bound of the same menus: no selection from them
    that meets the budgets loses less than `bound`.
    """

    method: str
    choice: Mapping[str, Choice]
    points: IntArray
    """`[layers]`: the same as numbers of points."""
    loss: float
    """Estimated loss increase, in the curves' unit."""
    costs: Mapping[BudgetKind, float]
    """Additive costs in the units of `Cost`."""
    bound: float
    gap_nats: float
    """`loss - bound`, in the curves' unit."""
    gap_relative: float | None
    """`(loss - bound) / bound`; None where the bound is not positive."""
    multipliers: Mapping[BudgetKind, float]
    """At the bound: loss per unit of `Cost` that a tighter budget would add."""

    @property
    def lpvit_lambda(self) -> float:
        """LPViT's lambda: the slope at which all curves are cut.

        It is the multiplier of the first budget that is not energy, in loss per cycle
        (second, MAC) (Xu et al., ECCV 2024, arXiv 2407.02068).
        """
        return next((v for kind, v in self.multipliers.items() if kind != "energy"), 0.0)

    @property
    def lpvit_beta(self) -> float:
        """LPViT's beta: the weight of its power term, here the energy budget's multiplier."""
        return self.multipliers.get("energy", 0.0)


def describe(menus: Menus, method: str, points: IntArray, bound: Bound | None = None) -> Allocation:
    """Return the allocation that a selection is, with its gap."""
    bound = bound or lagrangian_bound(menus)
    loss, costs = menus.total(points)
    gap = loss - bound.value
    kinds = [budget.kind for budget in menus.budgets]
    return Allocation(
        method=method,
        choice=menus.choices(points),
        points=points,
        loss=loss,
        costs=dict(zip(kinds, costs.tolist(), strict=True)),
        bound=bound.value,
        gap_nats=gap,
        gap_relative=gap / bound.value if bound.value > 0 else None,
        multipliers=dict(zip(kinds, bound.multipliers.tolist(), strict=True)),
    )

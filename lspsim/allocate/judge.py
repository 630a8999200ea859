"""`Judge`: the engine that decides whether a choice meets the budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lspsim.allocate.budgets import Budget
from lspsim.allocate.menus import Choice, Curves, masks_of
from lspsim.arrays import FloatArray
from lspsim.simulate.cost import Cost, CostModel
from lspsim.workload import BlockMask, Workload


class Judge:
    """Asks the exact engine, once per choice, and counts how often.

    Parameters
    ----------
    curves, workload
        The layers' curves, and the network.
    exact
        The engine.
    budgets
        What is limited; fractions refer to the network with nothing removed.
    """

    def __init__(
        self,
        curves: Curves,
        workload: Workload,
        exact: CostModel,
        budgets: Sequence[Budget],
    ) -> None:
        self.curves, self.workload, self.exact = curves, workload, exact
        self.budgets = tuple(budgets)
        self.simulations = 0
        self._known: dict[tuple[tuple[str, Choice], ...], Cost] = {}
        self.dense = self.cost({name: Choice(0, 0) for name in curves})
        """Cost with nothing removed."""
        self.ceilings = np.array([budget.ceiling(self.dense) for budget in self.budgets])
        """`[budgets]`, in the units of `Cost`."""

    def cost(self, choice: Mapping[str, Choice]) -> Cost:
        """Return what the network costs with these masks."""
        key = tuple(choice.items())
        if key not in self._known:
            self._known[key] = self.cost_of(masks_of(self.curves, choice))
        return self._known[key]

    def cost_of(self, masks: Mapping[str, BlockMask]) -> Cost:
        """Return what the network costs with masks that need not lie on the curves."""
        self.simulations += 1
        return self.exact.cost(self.workload.with_masks(masks))

    def values(self, choice: Mapping[str, Choice]) -> FloatArray:
        """Return the limited parts of that cost, `[budgets]`."""
        return self._limited(self.cost(choice))

    def meets(self, choice: Mapping[str, Choice]) -> bool:
        """Whether every budget holds."""
        return bool((self.values(choice) <= self.ceilings).all())

    def masks_meet(self, masks: Mapping[str, BlockMask]) -> bool:
        """Whether every budget holds with masks that need not lie on the curves."""
        return bool((self._limited(self.cost_of(masks)) <= self.ceilings).all())

    def _limited(self, cost: Cost) -> FloatArray:
        return np.array([budget.of(cost) for budget in self.budgets])


__all__ = ["Judge"]

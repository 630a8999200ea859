"""`Problem`: curves, budgets and cost models; what allocators share is computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from lspsim.allocate.budgets import Budget
from lspsim.allocate.curves import LayerCurve
from lspsim.allocate.judge import Judge
from lspsim.allocate.menus import (
    POINTS,
    Choice,
    Menus,
    masks_of,
    most_removed,
    tabulate,
    unreachable,
)
from lspsim.allocate.repair import Repaired, repair
from lspsim.simulate.cost import CostModel, ProportionalCost
from lspsim.workload import BlockMask, Workload

REACH = 1 / 3
"""How much closer each round's menus look than the one's before."""

_HALVINGS = 12

Masks = Mapping[str, BlockMask]
Couple = Callable[
    [Mapping[str, tuple[LayerCurve, ...]], Masks, Callable[[Masks], bool]],
    tuple[dict[str, tuple[LayerCurve, ...]], int],
]
"""`coupling.couple` of a model: curves, masks, and whether masks meet the budgets."""

_Key = tuple[object, ...]


class Problem:
    """The least estimated loss under budgets, along given curves.

    Parameters
    ----------
    curves, workload
        The layers' curves, and the network.
    budgets
        All must hold.
    model
        What menus are read off.
    exact
        What decides.
    points
        Points per curve in a menu.
    most
        Largest fraction of a layer's blocks that may be removed.
    """

    def __init__(
        self,
        curves: Mapping[str, tuple[LayerCurve, ...]],
        workload: Workload,
        budgets: Sequence[Budget],
        model: CostModel,
        exact: CostModel,
        points: int = POINTS,
        most: float = 1.0,
    ) -> None:
        self.curves, self.workload, self.model = curves, workload, model
        self.points, self.most = points, most
        self.judge = Judge(curves, workload, exact, budgets)
        self.proxy = ProportionalCost(self.judge.dense)
        """LPViT's cost model: what a network costs falls with the count of kept blocks."""
        self._menus: dict[_Key, Menus] = {}
        self._repaired: dict[_Key, Repaired] = {}
        self._coupled: dict[_Key, tuple[Problem, int]] = {}

    @property
    def simulations(self) -> int:
        """Calls of the exact engine, those of coupled problems included."""
        after = [problem for problem, _ in self._coupled.values() if problem is not self]
        return self.judge.simulations + sum(problem.simulations for problem in after)

    @cached_property
    def start(self) -> Mapping[str, Choice]:
        """The least common fraction that meets the budgets, as a place to start from.

        Raises
        ------
        LspsimError
            When not even all removable blocks are enough.
        """

        def at(fraction: float) -> dict[str, Choice]:
            return {
                name: Choice(0, most_removed(options[0], min(fraction, self.most)))
                for name, options in self.curves.items()
            }

        judge = self.judge
        floor = judge.values(at(self.most))
        for j, budget in enumerate(judge.budgets):
            if floor[j] > judge.ceilings[j]:
                raise unreachable(budget, float(floor[j]), float(judge.ceilings[j]))
        low, high = 0.0, self.most
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if judge.meets(at(middle)):
                high = middle
            else:
                low = middle
        return at(high)

    def menus(self, current: Mapping[str, Choice], number: int, on_proxy: bool) -> Menus:
        """Return the menus around `current`, the narrower the higher the round's number."""
        key = (*current.items(), number, on_proxy)
        if key not in self._menus:
            judge = self.judge
            self._menus[key] = tabulate(
                self.curves,
                self.workload,
                self.proxy if on_proxy else self.model,
                judge.budgets,
                judge.ceilings,
                current,
                judge.values(current),
                self.points,
                self.most,
                REACH**number,
            )
        return self._menus[key]

    def repaired(self, menus: Menus, choice: Mapping[str, Choice]) -> Repaired:
        """Return `repair` of a choice from these menus."""
        key = (menus, *choice.items())
        if key not in self._repaired:
            self._repaired[key] = repair(self.judge, menus, choice, self.most)
        return self._repaired[key]

    def coupled(self, couple: Couple, choice: Mapping[str, Choice]) -> tuple[Problem, int]:
        """Return the problem with the units dead that `choice` killed, and the blocks freed."""
        key = tuple(choice.items())
        if key not in self._coupled:
            judge = self.judge
            curves, freed = couple(self.curves, masks_of(self.curves, choice), judge.masks_meet)
            after = self
            if freed:
                after = Problem(
                    curves,
                    self.workload,
                    judge.budgets,
                    self.model,
                    judge.exact,
                    self.points,
                    self.most,
                )
            self._coupled[key] = after, freed
        return self._coupled[key]


__all__ = ["Couple", "Problem"]

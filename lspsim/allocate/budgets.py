"""Budgets: `cycles=0.5`, `energy=12 mJ`, `latency=2ms`, `macs=50%`, and their ceilings."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Literal, get_args

from lspsim.errors import LspsimError
from lspsim.simulate.cost import Cost, ProportionalCost
from lspsim.units import (
    ENERGY,
    TIME,
    Dimension,
    QuantityError,
    format_quantity,
    parse_quantity,
    parse_ratio,
)
from lspsim.workload import Workload
from lspsim.workload.generate import prunable_names

BudgetKind = Literal["cycles", "energy", "latency", "macs"]

_K, _M, _G = Fraction(10**3), Fraction(10**6), Fraction(10**9)
CYCLES = Dimension(
    "cycle count",
    "cycles",
    {"cycles": Fraction(1), "kcycles": _K, "Mcycles": _M, "Gcycles": _G},
    "4.5 Mcycles",
)
MACS = Dimension(
    "count of multiply-accumulates",
    "MACs",
    {"MACs": Fraction(1), "kMACs": _K, "MMACs": _M, "GMACs": _G},
    "2.3 GMACs",
)

_DIMENSIONS: dict[BudgetKind, Dimension] = {
    "cycles": CYCLES,
    "energy": ENERGY,
    "latency": TIME,
    "macs": MACS,
}
_PER_UNIT: dict[BudgetKind, int] = {"cycles": 1, "energy": 10**12, "latency": 1, "macs": 1}
"""Units of `Cost` per base unit: energy is in pJ there."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one inference may cost at most.

    Parameters
    ----------
    kind
        What is limited. `macs` counts multiply-accumulates with kept weights, those of
        attention included (the FLOPs of LPViT, which leaves attention's out).
    limit
        A fraction of the dense network's cost if `relative`, else cycles, joules,
        seconds or MACs; exact.
    relative
        Which of the two.
    """

    kind: BudgetKind
    limit: Fraction
    relative: bool

    def __str__(self) -> str:
        """As it is written: `cycles=0.5`."""
        if self.relative:
            return f"{self.kind}={float(self.limit):g}"
        return f"{self.kind}={format_quantity(self.limit, _DIMENSIONS[self.kind])}"

    def ceiling(self, dense: Cost) -> float:
        """Return the limit in the units of `Cost`, given the dense network's cost."""
        if self.relative:
            return float(self.limit * Fraction(self.of(dense)))
        return float(self.limit * _PER_UNIT[self.kind])

    def of(self, cost: Cost) -> float:
        """Return the part of `cost` that is limited: cycles, pJ, seconds or MACs."""
        values = {
            "cycles": cost.cycles,
            "energy": cost.energy_pj,
            "latency": cost.latency_s,
            "macs": cost.macs,
        }
        return float(values[self.kind])

    def show(self, value: float) -> str:
        """Write a cost of this kind with its unit, to four digits."""
        base = Fraction(f"{value / _PER_UNIT[self.kind]:.4g}")
        return format_quantity(base, _DIMENSIONS[self.kind])


def parse_budget(text: str) -> Budget:
    """Read one budget.

    Parameters
    ----------
    text
        `kind=fraction of dense` (`cycles=0.5`, `macs=50%`) or `kind=quantity`
        (`energy=12 mJ`, `latency=2ms`, `cycles=4.5 Mcycles`).

    Raises
    ------
    LspsimError
        With what is wrong and how to write it.
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not value:
        raise LspsimError(
            f"budget {text!r} has no value; write what is limited and to how much, such as "
            "cycles=0.5 or latency=2ms"
        )
    kind = _kind(text, name)
    dimension = _DIMENSIONS[kind]
    scale = 1
    number = value
    if value.endswith("%"):
        number, scale = value[:-1].strip(), 100
    try:
        fraction = parse_ratio(number) / scale
    except QuantityError:
        return Budget(kind, _quantity(text, value, dimension), relative=False)
    if not 0 < fraction <= 1:
        raise LspsimError(
            f"budget {text!r}: a number without a unit is a fraction of the dense network's cost, "
            f"above 0 and at most 1; write such a fraction, or a quantity such as "
            f"{kind}={dimension.example.replace(' ', '')}"
        )
    return Budget(kind, fraction, relative=True)


def parse_budgets(texts: Iterable[str]) -> tuple[Budget, ...]:
    """Read several budgets, all of which must hold.

    Parameters
    ----------
    texts
        Each as on the command line: `cycles=0.5`, `latency=2 ms`.

    Raises
    ------
    LspsimError
        On no budget, a malformed one, or two of the same kind.
    """
    budgets = tuple(parse_budget(text) for text in texts)
    if not budgets:
        raise LspsimError("no budget is given, so nothing would be pruned; give one: cycles=0.5")
    kinds = [budget.kind for budget in budgets]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise LspsimError(f"budget {kind!r} is given twice; keep the one you mean")
    return budgets


def _kind(text: str, name: str) -> BudgetKind:
    for kind in get_args(BudgetKind):
        if name == kind:
            return kind  # type: ignore[no-any-return]
    known = list(get_args(BudgetKind))
    near = difflib.get_close_matches(name.lower(), [*known, "flops"], n=1)
    meant = near[0].replace("flops", "macs") if near else None
    hint = f"did you mean {meant!r}?" if meant else f"known are {', '.join(known)}"
    raise LspsimError(f"budget {text!r}: {name!r} is not something that can be limited; {hint}")


def _quantity(text: str, value: str, dimension: Dimension) -> Fraction:
    try:
        quantity = parse_quantity(value, dimension)
    except QuantityError as error:
        raise LspsimError(f"budget {text!r}: {error}") from error
    if quantity <= 0:
        raise LspsimError(f"budget {text!r} leaves nothing; give a limit above 0")
    return quantity


def sparsity_budget(workload: Workload, per_cent: float) -> Budget:
    """Return the MAC budget that leaves `100 - per_cent` % of the prunable weights' MACs.

    Everything else (attention's products, patch embedding, head) stays.

    Raises
    ------
    LspsimError
        When the sparsity is not within 0 to 100.
    """
    if not 0 < per_cent < 100:
        raise LspsimError(f"sparsity {per_cent} %: give per cent above 0 and below 100")
    left = workload.macs_dense - Fraction(per_cent) / 100 * prunable_macs(workload)
    return Budget("macs", Fraction(floor(left)), relative=False)


def prunable_macs(workload: Workload) -> int:
    """Return the dense multiply-accumulates of the layers that are pruned."""
    names = set(prunable_names(workload))
    return sum(gemm.macs_dense for gemm in workload.gemms if gemm.name in names)


def macs_only(workload: Workload) -> ProportionalCost:
    """Return a cost model that counts MACs; cycles and energy stand for them in like shares."""
    macs = float(workload.macs_dense)
    return ProportionalCost(Cost(macs, macs, macs, macs))

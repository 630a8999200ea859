"""`Front`: pruned networks by what they gain and what accuracy they keep; its table and CSV.

`lspsim.explore.front` makes it from the records of pruned networks; this module holds only the
figures, so that tables and plots need to know nothing of pruning.
"""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal

from lspsim.report.quantities import nats, percent
from lspsim.table import FittedTable

Objective = Literal["speedup", "energy"]
OBJECTIVES: tuple[Objective, ...] = ("speedup", "energy")

DENSE = "dense"
"""Method and label of the network before pruning."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What must be equal for two design points to be compared.

    Attributes
    ----------
    model, data, hardware
        Names.
    dense_cycles, dense_energy_pj
        What the dense network costs: distinguishes changed hardware under one name.
    images
        Test images behind the dense accuracy.
    """

    model: str
    data: str
    hardware: str
    dense_cycles: float
    dense_energy_pj: float
    images: int

    @property
    def title(self) -> str:
        """`model, data, hardware`."""
        return f"{self.model}, {self.data}, {self.hardware}"


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """One network on the plane of gain and accuracy.

    Attributes
    ----------
    setting
        Number of the setting in `Front.settings`.
    label, block, score, allocate, compensate, budgets, seed
        What was asked for; the dense point has empty text and no seed.
    sparsity
        Removed fraction of the prunable weights.
    cycles_total, latency_s, energy_pj, macs
        Of one inference.
    speedup
        Dense cycles per pruned cycle.
    energy_ratio
        Pruned energy per dense energy.
    top1
        Fraction of images classified correctly; None where it was not measured.
    top1_drop_points
        Dense minus pruned top-1, in percentage points.
    kl_nats
        KL divergence from the dense network's predictions, per image.
    images
        Images behind `top1` and `kl_nats`.
    dominated_speedup, dominated_energy
        Whether some point of the front of this setting is at least as good in speedup
        (energy) and top-1 and better in one; costs within 0.05 % of each other count as
        equal. False without a top-1, which cannot be compared.
    is_dense
        Whether this is the network before pruning.
    directory
        Where it lies; "" where unknown.
    """

    setting: int
    label: str
    block: str
    score: str
    allocate: str
    compensate: str
    budgets: str
    seed: int | None
    sparsity: float
    cycles_total: float
    latency_s: float
    energy_pj: float
    macs: float
    speedup: float
    energy_ratio: float
    top1: float | None
    top1_drop_points: float | None
    kl_nats: float | None
    images: int
    dominated_speedup: bool
    dominated_energy: bool
    is_dense: bool
    directory: str

    @property
    def method(self) -> str:
        """What the colours show: the score and, where there is one, the compensation."""
        if self.is_dense:
            return DENSE
        return self.score if self.compensate == "none" else f"{self.score} + {self.compensate}"

    def x(self, objective: Objective) -> float:
        """Return the speedup or the energy ratio."""
        return self.speedup if objective == "speedup" else self.energy_ratio

    def dominated(self, objective: Objective) -> bool:
        """Return the flag of one plane."""
        return self.dominated_speedup if objective == "speedup" else self.dominated_energy


@dataclass(frozen=True)
class Front:
    """Every point of a study, dense ones included.

    Attributes
    ----------
    settings
        More than one only where points were mixed on purpose.
    points
        By setting; in each the dense point first, then from slow to fast.
    """

    settings: tuple[Setting, ...]
    points: tuple[FrontPoint, ...]

    @cached_property
    def measured(self) -> tuple[FrontPoint, ...]:
        """Points with a top-1 accuracy: those that can be drawn."""
        return tuple(point for point in self.points if point.top1 is not None)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Methods by name, without the dense network."""
        return tuple(sorted({point.method for point in self.points if not point.is_dense}))

    def best(self, objective: Objective, setting: int = 0) -> tuple[FrontPoint, ...]:
        """Return the points of one setting that no other dominates, least gain first."""
        sign = 1 if objective == "speedup" else -1
        kept = [
            point
            for point in self.measured
            if point.setting == setting and not point.dominated(objective)
        ]
        return tuple(sorted(kept, key=lambda point: sign * point.x(objective)))

    def rows(self) -> list[dict[str, Any]]:
        """Return one plain row per point, columns with their units in their names."""
        return [self._row(point) for point in self.points]

    def _row(self, point: FrontPoint) -> dict[str, Any]:
        setting = self.settings[point.setting]
        names = {"model": setting.model, "data": setting.data, "hardware": setting.hardware}
        return names | {key: x for key, x in asdict(point).items() if key != "setting"}


COLUMNS: tuple[str, ...] = (
    "model",
    "data",
    "hardware",
    *(field.name for field in fields(FrontPoint) if field.name != "setting"),
)
"""Columns of the CSV."""


def front_csv(data: Front) -> str:
    """Return one CSV line per point; what is not known is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(data.rows())
    return text.getvalue()


_NAMES = {
    "model": "model",
    "data": "data",
    "hardware": "hardware",
    "label": "point",
    "method": "method",
    "allocate": "allocation",
    "block": "block",
    "seed": "seed",
}
"""Columns of text and their headers."""
_ALWAYS = ("label", "method")
_TELLING = ("speedup", "top-1", "method", "energy", "front", "KL (nats)", "drop", "removed")
"""Columns that stay longest where the terminal is narrow."""


def front_table(data: Front) -> FittedTable:
    """Return the points as a table, those on a front in bold.

    What all pruned networks have in common is in the title.
    """
    names = [_names(data, point) for point in data.points]
    pruned = [row for row, point in zip(names, data.points, strict=True) if not point.is_dense]
    shown = [key for key in _NAMES if key in _ALWAYS or len({row[key] for row in pruned}) > 1]
    settings = ", ".join(
        pruned[0][key] for key in ("model", "data", "hardware") if key not in shown
    )
    common = [
        f"{_NAMES[key]} {pruned[0][key]}"
        for key in ("allocate", "block", "seed")
        if key not in shown
    ]
    table = FittedTable("; ".join(filter(None, [settings, *common])), telling=_TELLING)
    for key in shown:
        table.add_column(_NAMES[key])
    for header in ("removed", "speedup", "energy", "top-1", "drop", "KL (nats)"):
        table.add_column(header, justify="right")
    table.add_column("front")
    for row, point in zip(names, data.points, strict=True):
        best = [x for x in OBJECTIVES if point.top1 is not None and not point.dominated(x)]
        table.add_row(
            *(row[key] for key in shown),
            *_figures(point),
            "both" if len(best) == len(OBJECTIVES) else "".join(best),
            style="bold" if best else "",
        )
    return table


def _names(data: Front, point: FrontPoint) -> dict[str, str]:
    """Return the text cells of one row by key."""
    setting = data.settings[point.setting]
    return {
        "model": setting.model,
        "data": setting.data,
        "hardware": setting.hardware,
        "label": point.label,
        "method": "" if point.is_dense else point.method,
        "allocate": point.allocate,
        "block": point.block,
        "seed": "" if point.seed is None else str(point.seed),
    }


def _figures(point: FrontPoint) -> tuple[str, ...]:
    """Return the figures of one row."""
    drop = point.top1_drop_points
    return (
        percent(point.sparsity),
        f"{point.speedup:.2f}x",
        percent(point.energy_ratio),
        "-" if point.top1 is None else f"{100 * point.top1:.2f} %",
        "-" if drop is None else f"{drop:.2f}",
        nats(point.kl_nats),
    )

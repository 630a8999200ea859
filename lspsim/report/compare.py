"""Two runs side by side: where the time and the energy of the second went."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.text import Text

from lspsim.errors import ResultError
from lspsim.report.grouping import group_layers
from lspsim.report.quantities import percent, ratio, si
from lspsim.report.summary import RunSummary
from lspsim.simulate.columns import BUCKETS
from lspsim.simulate.result import LayerResult
from lspsim.table import FittedTable

SCHEMA = "lspsim/comparison/v1"

TOTALS: tuple[tuple[str, str, str], ...] = (
    ("cycles_total", "cycles", ""),
    ("latency_s", "latency", "s"),
    ("throughput_images_per_s", "throughput", "images/s"),
    ("energy_j", "energy", "J"),
    ("energy_low_j", "energy, low", "J"),
    ("energy_high_j", "energy, high", "J"),
    ("power_w", "average power", "W"),
    ("utilization", "utilisation", ""),
    ("macs_executed", "MACs executed", ""),
    ("macs_dense", "MACs dense", ""),
    ("dram_read_bytes", "DRAM read", "bytes"),
    ("dram_write_bytes", "DRAM write", "bytes"),
    ("area_mm2", "chip area", "mm2"),
    ("area_low_mm2", "chip area, low", "mm2"),
    ("area_high_mm2", "chip area, high", "mm2"),
)
"""What is compared of the whole network: name, what tables call it, unit.

All are fields of `Totals`, but the throughput: images of a batch over the latency.
"""
_CALLED = {name: called for name, called, _ in TOTALS}


@dataclass(frozen=True, slots=True)
class TotalsRow:
    """One whole-network figure of both runs."""

    name: str
    unit: str
    a: float
    b: float

    @property
    def ratio_b_to_a(self) -> float | None:
        """`b / a`; None where a is 0."""
        return self.b / self.a if self.a else None


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """One operator that both runs have, or several identical ones summed.

    Times are chip time: core-cycles of a bucket divided by the cores, in
    nanoseconds by each run's own clock, so that the buckets' differences sum to
    the layer's.
    """

    label: str
    layers: tuple[str, ...]
    cycles_a: int
    cycles_b: int
    time_a_ns: float
    time_b_ns: float
    bucket_difference_ns: dict[str, float]
    """b minus a, per bucket."""
    energy_a_pj: float
    energy_b_pj: float

    @property
    def difference_ns(self) -> float:
        """Time of b minus time of a."""
        return self.time_b_ns - self.time_a_ns


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences between two runs; `a` is the reference.

    Attributes
    ----------
    a, b
        Labels of the runs.
    work_a, work_b
        Model and batch of each.
    notes
        Where the runs did different work, so that not all difference is the design's.
    totals, layers
        Whole-network figures, and the operators that both runs have.
    only_a, only_b
        Operators that one run has alone.
    bucket_difference_ns
        b minus a over the whole network, unmatched operators included.
    """

    a: str
    b: str
    work_a: str
    work_b: str
    notes: tuple[str, ...]
    totals: tuple[TotalsRow, ...]
    layers: tuple[LayerDifference, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    bucket_difference_ns: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as one JSON object."""
        data = {"schema": SCHEMA, **asdict(self)}
        for row, source in zip(data["totals"], self.totals, strict=True):
            row["ratio_b_to_a"] = source.ratio_b_to_a
        return data


def compare(
    a: RunSummary,
    b: RunSummary,
    *,
    label_a: str | None = None,
    label_b: str | None = None,
    collapse: bool = True,
) -> Comparison:
    """Compare two runs operator by operator.

    Operators are matched by name; those of one run only are listed and count in
    the totals alone.

    Parameters
    ----------
    a, b
        Reference and variation.
    label_a, label_b
        What to call them; default: model and hardware.
    collapse
        Sum the identical operators of repeated blocks.

    Raises
    ------
    ResultError
        When the two have no operator in common.
    """
    in_a = {layer.name: layer for layer in a.layers}
    in_b = {layer.name: layer for layer in b.layers}
    if not in_a.keys() & in_b.keys():
        raise ResultError(
            f"nothing to compare: {a.label} and {b.label} have no operator name in common; "
            "compare two runs of the same model family"
        )
    ns_a, ns_b = _core_cycle_ns(a), _core_cycle_ns(b)
    rows = group_layers((x for x in a.layers if x.name in in_b), collapse=collapse)
    return Comparison(
        a=label_a or a.label,
        b=label_b or b.label,
        work_a=a.work,
        work_b=b.work,
        notes=_notes(a, b, [(in_a[name], in_b[name]) for name in in_a if name in in_b]),
        totals=tuple(
            TotalsRow(name, unit, _total(a, name), _total(b, name)) for name, _, unit in TOTALS
        ),
        layers=tuple(
            _difference(
                row.label,
                [in_a[name] for name in row.members],
                [in_b[name] for name in row.members],
                ns_a,
                ns_b,
            )
            for row in rows
        ),
        only_a=tuple(name for name in in_a if name not in in_b),
        only_b=tuple(name for name in in_b if name not in in_a),
        bucket_difference_ns={
            bucket: _spent(b.layers, bucket) * ns_b - _spent(a.layers, bucket) * ns_a
            for bucket in BUCKETS
        },
    )


def _total(run: RunSummary, name: str) -> float:
    """Return one whole-network figure."""
    if name == "throughput_images_per_s":
        return run.batch / run.totals.latency_s if run.totals.latency_s else 0.0
    value: float = getattr(run.totals, name)
    return value


def _notes(
    a: RunSummary, b: RunSummary, pairs: Sequence[tuple[LayerResult, LayerResult]]
) -> tuple[str, ...]:
    """Say what is not the same work."""
    notes = []
    if a.work != b.work:
        notes.append(f"a ran {a.work}, b ran {b.work}: layers are matched by name only")
    other = sum(_shape(x) != _shape(y) for x, y in pairs)
    if other:
        notes.append(f"{other} of {len(pairs)} matched layers differ in shape")
    return tuple(notes)


def _shape(layer: LayerResult) -> tuple[str, int, int, int, int]:
    return layer.kind, layer.m, layer.k, layer.n, layer.batch


def _difference(
    label: str, a: Sequence[LayerResult], b: Sequence[LayerResult], ns_a: float, ns_b: float
) -> LayerDifference:
    """Compare one row's operators; `ns_*` is the chip time of one core-cycle."""
    return LayerDifference(
        label=label,
        layers=tuple(layer.name for layer in a),
        cycles_a=sum(layer.cycles_total for layer in a),
        cycles_b=sum(layer.cycles_total for layer in b),
        time_a_ns=sum(_spent(a, bucket) for bucket in BUCKETS) * ns_a,
        time_b_ns=sum(_spent(b, bucket) for bucket in BUCKETS) * ns_b,
        bucket_difference_ns={
            bucket: _spent(b, bucket) * ns_b - _spent(a, bucket) * ns_a for bucket in BUCKETS
        },
        energy_a_pj=sum(sum(layer.energy_pj.values()) for layer in a),
        energy_b_pj=sum(sum(layer.energy_pj.values()) for layer in b),
    )


def _spent(layers: Iterable[LayerResult], bucket: str) -> int:
    """Core-cycles of one bucket over `layers`."""
    return sum(layer.cycles[bucket] for layer in layers)


def _core_cycle_ns(run: RunSummary) -> float:
    """Chip time of one core-cycle: 1 / (cores x clock), in ns."""
    return 1e9 / (run.clock_hz * run.cores) if run.clock_hz else 0.0


def heading(comparison: Comparison) -> Text:
    """Return what ran on which two designs, and where that was not the same work."""
    same = comparison.work_a == comparison.work_b
    lines = [comparison.work_a] if same else []
    for name, label, work in (
        ("a", comparison.a, comparison.work_a),
        ("b", comparison.b, comparison.work_b),
    ):
        lines.append(f"{name}: {label}" if same else f"{name}: {work}: {label}")
    return Text("\n".join([*lines, *(f"note: {note}" for note in comparison.notes)]))


def comparison_totals_table(comparison: Comparison) -> FittedTable:
    """Return the whole-network figures of both runs and their ratio."""
    table = FittedTable("totals", boxed=True, whole="--format json")
    table.add_column("")
    for header in ("a", "b", "b / a"):
        table.add_column(header, justify="right")
    for row in comparison.totals:
        table.add_row(
            _CALLED[row.name],
            _figure(row.a, row.unit),
            _figure(row.b, row.unit),
            ratio(row.a, row.b),
        )
    return table


_TELLING = ("a", "b", "b / a", "b - a", "energy b / a")


def comparison_layer_table(comparison: Comparison) -> FittedTable:
    """Return the per-layer differences, time by bucket; buckets without any are left out."""
    shown = [
        bucket
        for bucket in BUCKETS
        if any(x.bucket_difference_ns[bucket] for x in comparison.layers)
        or comparison.bucket_difference_ns[bucket]
    ]
    table = FittedTable("time, us; right of b - a by bucket", boxed=True, telling=_TELLING)
    table.add_column("layer")
    buckets = [bucket.replace("_", " ") for bucket in shown]
    for header in ("a", "b", "b / a", "b - a", *buckets, "energy b / a"):
        table.add_column(header, justify="right")
    for layer in comparison.layers:
        table.add_row(
            layer.label,
            _us(layer.time_a_ns),
            _us(layer.time_b_ns),
            ratio(layer.time_a_ns, layer.time_b_ns),
            _signed_us(layer.difference_ns),
            *(_signed_us(layer.bucket_difference_ns[bucket]) for bucket in shown),
            ratio(layer.energy_a_pj, layer.energy_b_pj),
        )
    table.add_section()
    latency = next(row for row in comparison.totals if row.name == "latency_s")
    energy = next(row for row in comparison.totals if row.name == "energy_j")
    table.add_row(
        "total",
        _us(latency.a * 1e9),
        _us(latency.b * 1e9),
        ratio(latency.a, latency.b),
        _signed_us((latency.b - latency.a) * 1e9),
        *(_signed_us(comparison.bucket_difference_ns[bucket]) for bucket in shown),
        ratio(energy.a, energy.b),
        style="bold",
    )
    return table


def unmatched_lines(comparison: Comparison) -> list[str]:
    """Return one line per run that names the operators the other lacks."""
    return [
        f"only in {label}: {', '.join(names)}"
        for label, names in (("a", comparison.only_a), ("b", comparison.only_b))
        if names
    ]


def _figure(value: float, unit: str) -> str:
    """Format one total: counts and bytes in full, physical quantities with a prefix."""
    if isinstance(value, int):
        return f"{value:,} {unit}".rstrip()
    if unit == "images/s":
        return f"{value:,.1f} {unit}"
    if unit == "mm2":
        return f"{value:.3g} {unit}"
    return si(value, unit) if unit else percent(value)


def _us(time_ns: float) -> str:
    """Nanoseconds as microseconds."""
    return f"{time_ns / 1e3:,.1f}"


def _signed_us(time_ns: float) -> str:
    """Nanoseconds as signed microseconds; a dot where nothing changed."""
    return f"{time_ns / 1e3:+,.1f}" if abs(time_ns) >= 50 else "."

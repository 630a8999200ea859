"""Tables of predictions for the terminal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich.table import Table

from lspsim.gpu.model.inference import GpuLayer, GpuPrediction
from lspsim.report.grouping import common_name
from lspsim.report.quantities import binary_size, percent, si
from lspsim.report.tables import name_value_table
from lspsim.table import FittedTable


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """One kernel, or those of repeated blocks that differ in number only, summed."""

    name: str
    members: tuple[GpuLayer, ...]

    @property
    def latency_s(self) -> float:
        """Sum over the members."""
        return sum(layer.time.latency_s for layer in self.members)

    @property
    def bound_by(self) -> str:
        """What bounds the members, the most frequent first."""
        counts = Counter(layer.time.bound_by for layer in self.members).most_common()
        return ", ".join(bound for bound, _ in counts)


def group_kernels(prediction: GpuPrediction, *, collapse: bool = True) -> list[LayerGroup]:
    """Return the rows of a table, in order of first appearance.

    Parameters
    ----------
    prediction
        One inference.
    collapse
        False: one row per kernel.
    """
    groups: dict[str, dict[str, list[GpuLayer]]] = {}
    for layer in prediction.layers:
        parts = ("*" if part.isdigit() else part for part in layer.name.split("."))
        place = ".".join(parts) if collapse else layer.name
        groups.setdefault(place, {}).setdefault(layer.kind, []).append(layer)
    return [
        LayerGroup(common_name([layer.name for layer in members]), tuple(members))
        for kinds in groups.values()
        for members in kinds.values()
    ]


TELLING = ("latency", "share", "if dense", "bound by", "energy*", "kernel", "roofline")
"""Columns that stay longest where the terminal is narrow."""


def prediction_table(prediction: GpuPrediction, *, collapse: bool = True) -> FittedTable:
    """Return latency, energy and rooflines per layer."""
    title = (
        f"Predicted: {prediction.model} on {prediction.gpu}, batch {prediction.batch}, "
        f"{prediction.dtype}, {prediction.framework}"
    )
    table = FittedTable(title, boxed=True, telling=TELLING)
    table.caption = (
        f"* energy ({prediction.energy_basis}). Rooflines move every byte through DRAM; a kernel "
        "whose operands L2 holds can be faster."
    )
    table.show_footer = True
    table.add_column("layer", footer="total")
    table.add_column("kernel")
    table.add_column("bound by")
    footers = {
        "latency": si(prediction.latency_s, "s"),
        "share": percent(1.0),
        "if dense": "",
        "energy*": si(prediction.energy_j, "J"),
        "FLOPs": si(sum(layer.time.flops for layer in prediction.layers), ""),
        "DRAM": binary_size(round(sum(layer.time.dram_bytes for layer in prediction.layers))),
        "roofline": si(prediction.roofline_s, "s"),
        "0.8 + 3 us": si(prediction.derated_roofline_s, "s"),
    }
    for header, footer in footers.items():
        table.add_column(header, justify="right", footer=footer)
    for group in group_kernels(prediction, collapse=collapse):
        table.add_row(*_cells(group, prediction.latency_s))
    return table


def _cells(group: LayerGroup, total_s: float) -> tuple[str, ...]:
    members = group.members
    first = members[0]
    count = f" x{len(members)}" if len(members) > 1 else ""
    dense = [layer.dense_latency_s for layer in members if layer.dense_latency_s is not None]
    return (
        group.name + count,
        first.kind,
        group.bound_by,
        si(group.latency_s, "s"),
        percent(group.latency_s / total_s),
        si(sum(dense), "s") if dense else "",
        si(sum(layer.energy_j for layer in members), "J"),
        si(sum(layer.time.flops for layer in members), ""),
        binary_size(round(sum(layer.time.dram_bytes for layer in members))),
        si(sum(layer.roofline_s for layer in members), "s"),
        si(sum(layer.derated_roofline_s for layer in members), "s"),
    )


def totals_table(prediction: GpuPrediction) -> Table:
    """Return the figures of the whole network."""
    latency_s = prediction.latency_s
    lasting = (
        [("", f"{si(prediction.sustained_s, 's')} under lasting load, by the power limit")]
        if prediction.power_limited
        else []
    )
    return name_value_table(
        [
            ("latency", si(latency_s, "s")),
            *lasting,
            ("throughput", f"{prediction.batch / latency_s:,.1f} images/s"),
            ("energy", f"{si(prediction.energy_j, 'J')} ({prediction.energy_basis})"),
            ("average power", si(prediction.power_w, "W")),
            ("kernels", f"{sum(layer.time.kernels for layer in prediction.layers):,}"),
            ("roofline", f"{si(prediction.roofline_s, 's')} (data sheet)"),
            ("", f"{si(prediction.derated_roofline_s, 's')} (0.8 of the peaks, 3 us per kernel)"),
            ("parameters", prediction.parameters),
        ]
    )

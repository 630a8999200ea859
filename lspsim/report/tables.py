"""Tables of one run for the terminal, and its CSV form."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from lspsim.report.grouping import LayerRow, group_layers
from lspsim.report.quantities import binary_size, percent, si
from lspsim.report.summary import RunSummary
from lspsim.simulate.result import SimulationResult
from lspsim.table import FittedTable

HEADERS = (
    "layer",
    "kind",
    "M",
    "K",
    "N",
    "density",
    "tiles live/total",
    "cycles",
    "share",
    "bound by",
    "energy",
    "DRAM",
)
"""Columns of the per-layer table."""
TEXTS = ("layer", "kind", "bound by")
TELLING = ("cycles", "share", "bound by", "energy", "density", "DRAM", "tiles live/total")
"""Columns that stay longest where the terminal is narrow."""


def layer_table(run: RunSummary, *, collapse: bool = True) -> FittedTable:
    """Return the per-layer table of a run.

    Parameters
    ----------
    run
        The run.
    collapse
        Show the identical operators of repeated blocks as one row, summed.
    """
    rows = group_layers(run.layers, collapse=collapse)
    table = FittedTable(run.label, boxed=True, telling=TELLING)
    for header in HEADERS:
        table.add_column(header, justify="left" if header in TEXTS else "right")
    for row in rows:
        table.add_row(*layer_cells(row, run.totals.cycles_total))
    table.show_footer = True
    footer = {
        "layer": "total",
        "tiles live/total": f"{sum(r.tiles_live for r in rows):,}/"
        f"{sum(r.tiles_total for r in rows):,}",
        "cycles": f"{run.totals.cycles_total:,}",
        "share": percent(1.0),
        "energy": si(run.totals.energy_j, "J"),
        "DRAM": binary_size(run.totals.dram_read_bytes + run.totals.dram_write_bytes),
    }
    for column in table.columns:
        column.footer = footer.get(str(column.header), "")
    return table


def layer_cells(row: LayerRow, cycles_total: int) -> tuple[str, ...]:
    """Return one row of the per-layer table; `cycles_total` is that of the run."""
    is_gemm = row.kind == "gemm"
    batch = f"{row.batch} x " if row.batch > 1 else ""
    bound = row.bound_by
    if row.bound_share:
        bound += f" {100 * row.bound_share:.0f} %"
    return (
        row.label,
        row.kind,
        f"{batch}{row.m:,}",
        f"{row.k:,}" if is_gemm else "-",
        f"{row.n:,}",
        f"{row.density:.3f}" if is_gemm else "-",
        f"{row.tiles_live:,}/{row.tiles_total:,}" if is_gemm else "-",
        f"{row.cycles_total:,}",
        percent(row.cycles_total / cycles_total if cycles_total else 0.0),
        bound,
        si(row.energy_total_pj * 1e-12, "J"),
        binary_size(row.dram_read_bytes + row.dram_write_bytes),
    )


def totals_rows(run: RunSummary) -> list[tuple[str, str]]:
    """Return the whole-network figures as (name, value with unit)."""
    totals = run.totals
    bound = " (lower bound)" if run.lower_bound else ""
    band = f"{si(totals.energy_low_j, 'J')} to {si(totals.energy_high_j, 'J')}"
    executed = totals.macs_executed / totals.macs_dense if totals.macs_dense else 0.0
    rows = [
        ("engine", run.engine),
        ("cycles", f"{totals.cycles_total:,}{bound}"),
        ("latency", f"{si(totals.latency_s, 's')}{bound}"),
        ("energy", f"{si(totals.energy_j, 'J')} ({band})"),
        ("average power", si(totals.power_w, "W")),
        ("utilisation", percent(totals.utilization)),
        ("MACs executed", f"{totals.macs_executed:,} ({percent(executed)} of dense)"),
        ("MACs dense", f"{totals.macs_dense:,}"),
        ("DRAM read", binary_size(totals.dram_read_bytes)),
        ("DRAM write", binary_size(totals.dram_write_bytes)),
        (
            "chip area",
            f"{totals.area_mm2:.3g} mm2 ({totals.area_low_mm2:.3g} to "
            f"{totals.area_high_mm2:.3g} mm2)",
        ),
    ]
    if totals.latency_s:
        throughput = run.batch / totals.latency_s
        rows.insert(3, ("throughput", f"{throughput:,.1f} images/s"))
    return rows


def totals_table(run: RunSummary) -> Table:
    """Return the whole-network figures as a table."""
    return name_value_table(totals_rows(run))


def name_value_table(rows: Sequence[tuple[str, str]]) -> Table:
    """Return a two-column table without a header."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in rows:
        table.add_row(name, value)
    return table


def layers_csv(result: SimulationResult) -> str:
    """Return one CSV line per operator, columns with their units in their names."""
    text: str = result.layer_frame().to_csv(index=False, lineterminator="\n")
    return text

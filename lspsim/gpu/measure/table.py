"""Rows of measurements as a table for the terminal, and flat for CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from lspsim.gpu.measure.store import Row
from lspsim.report.quantities import si


def measurement_table(rows: Sequence[Row]) -> Table:
    """Return one line per row; CPU rows say so."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    if any(row["kind"].startswith("cpu-") for row in rows):
        table.title = "CPU timings: they say nothing about a GPU"
    for header in ("what", "batch", "variant", "density", "regime"):
        table.add_column(header)
    for header in ("latency", "IQR", "speedup", "energy", "net", "error"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("status")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def flat(row: Row) -> dict[str, Any]:
    """Return a row without its provenance."""
    return {key: value for key, value in row.items() if key != "provenance"}


def _cells(row: Row) -> tuple[str, ...]:
    block = f" {row['block_out']}x{row['block_in']}" if row["block_out"] else ""
    error, speedup = row["correct_max_error"], row["speedup"]
    return (
        f"{row['model']} {row['layer'] or ''}".strip(),
        str(row["batch"]),
        row["variant"] + block,
        "-" if row["density"] is None else f"{row['density']:.3f}",
        row["regime"],
        _quantity(row["latency_s"], "s"),
        _quantity(row["latency_iqr_s"], "s"),
        "-" if speedup is None else f"{speedup:.2f}x",
        _quantity(row["energy_j"], "J"),
        _quantity(row["energy_net_j"], "J"),
        "-" if error is None else f"{error:.1e}",
        row["status"],
    )


def _quantity(value: float | None, unit: str) -> str:
    return "-" if value is None else si(value, unit)

"""Rows of measurements as a table for the terminal, and flat for CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lspsim.gpu.measure.store import Row
from lspsim.report.quantities import si
from lspsim.table import FittedTable

TELLING = ("latency", "speedup", "variant", "status", "batch", "density", "energy")
"""Columns that stay longest where the terminal is narrow."""


def measurement_table(rows: Sequence[Row]) -> FittedTable:
    """Return one line per row; CPU rows say so."""
    on_cpu = any(row["kind"].startswith("cpu-") for row in rows)
    title = "CPU timings: they say nothing about a GPU" if on_cpu else None
    table = FittedTable(title, telling=TELLING)
    for header in ("what", "batch", "variant", "density", "regime"):
        table.add_column(header)
    for header in ("latency", "IQR", "speedup", "energy", "net", "error"):
        table.add_column(header, justify="right")
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

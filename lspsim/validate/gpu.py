"""GPU predictions against tables, published networks and own measurements (docs/gpu.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lspsim.arrays import FloatArray
from lspsim.gpu.config.load import load_gpu
from lspsim.gpu.config.schema import Dtype
from lspsim.gpu.fit.accuracy import Accuracy
from lspsim.gpu.fit.fit_dense import check_possible
from lspsim.gpu.fit.gemm_table import read_gemm_table
from lspsim.gpu.fit.measured import read_measurements, shipped_measurements
from lspsim.gpu.fit.networks import network_rows
from lspsim.gpu.model.dense import chip_of
from lspsim.validate.gpu_groups import (
    Group,
    network_groups,
    own_groups,
    speedup_groups,
    table_groups,
    table_transfer,
)


@dataclass(frozen=True, slots=True)
class GpuReport:
    """All groups, and what they show."""

    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    title = "GPU predictions"
    columns = (
        "what",
        "role",
        "quantity",
        "rows",
        "mean_error",
        "p90_error",
        "worst_error",
        "rank_correlation",
        "roofline_error",
        "derated_roofline_error",
    )

    def rows(self) -> list[tuple[str | float | int | None, ...]]:
        """Return the table, a tuple per group in the order of `columns`."""
        return [_row(group) for group in self.groups]


def validate_gpu(
    tables: Sequence[tuple[str, Path]] = (),
    hold_out: frozenset[tuple[int, int]] = frozenset(),
    measurements: Sequence[Path] | None = None,
    dtype: Dtype = "bf16",
) -> GpuReport:
    """Compare predictions with everything that is there.

    Parameters
    ----------
    tables
        GPU and file of GEMM latencies; rows with M >= 128 count.
    hold_out
        Weights `(n, k)` that the shipped parameters were not fitted to; they get a row of
        their own.
    measurements
        Files of `lspsim gpu measure`; None: those that ship with the package.
    dtype
        Number format of the tables' rows.

    Raises
    ------
    ResultError
        When a file cannot be read, or a table has rows that its GPU cannot have reached.
    """
    groups: list[Group] = []
    notes: list[str] = []
    read = [(load_gpu(name), read_gemm_table(path, dtype)) for name, path in tables]
    for gpu, table in read:
        check_possible(chip_of(gpu, dtype), table)
        groups += table_groups(gpu, table, dtype, hold_out)
    groups += [
        table_transfer(gpu, table, dtype, source)
        for gpu, table in read
        for source, _ in read
        if source.name != gpu.name
    ]
    if not tables:
        notes.append(
            "No GEMM table was given (--table GPU=FILE); the shipped parameters' sources name "
            "theirs with the errors found there: lspsim gpu list"
        )
    groups += network_groups(network_rows())
    groups += speedup_groups(network_rows())
    files = shipped_measurements() if measurements is None else tuple(measurements)
    rows = read_measurements(files)
    groups += own_groups(rows)
    if not rows and measurements:
        notes.append("Own measurements: the given files hold no finished row of a GPU")
    elif not rows:
        notes.append("Own measurements: none are there yet (lspsim gpu measure writes them)")
    return GpuReport(tuple(groups), tuple(notes))


def evidence(report: GpuReport) -> list[tuple[str, FloatArray, FloatArray]]:
    """Return what is worth drawing: latencies that nothing was fitted to, without transfers.

    Returns
    -------
    list of tuple
        Name, measured and predicted seconds; held-out and other networks of one GPU and
        framework together.
    """
    merged: dict[str, list[Group]] = {}
    for group in report.groups:
        if group.quantity == "latency (s)" and group.role in ("held out", "predicted"):
            merged.setdefault(group.name, []).append(group)
    return [
        (
            name,
            np.concatenate([group.measured for group in groups]),
            np.concatenate([group.predicted for group in groups]),
        )
        for name, groups in merged.items()
    ]


def _row(group: Group) -> tuple[str | float | int | None, ...]:
    found = group.accuracy
    others = [
        None if other is None else Accuracy.of(other, group.measured).mean
        for other in (group.roofline, group.derated)
    ]
    return (
        group.name,
        group.role,
        group.quantity,
        found.rows,
        found.mean,
        found.p90,
        found.worst,
        found.spearman,
        *others,
    )

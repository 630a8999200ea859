"""The golden table: SCALE-Sim 3.0.0's own figures beside the closed forms.

`data/scalesim_golden.csv` has a row per layer of DeiT-B and dataflow on a 32x32 array.
The columns `published_*` are SCALE-Sim's output; all others are computed from the
layer by `lspsim.validate.closed_forms`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from importlib import resources
from typing import cast

from lspsim.errors import ResultError
from lspsim.validate.closed_forms import Dataflow, scalesim_counts

NAME = "scalesim_golden.csv"


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """One layer on one dataflow."""

    layer: str
    m: int
    n: int
    k: int
    rows: int
    cols: int
    dataflow: Dataflow
    folds: int
    cycles_per_fold: int
    total_cycles: int
    """As SCALE-Sim would report it, by the closed form."""
    ifmap_reads: int
    filter_reads: int
    ofmap_writes: int
    published_total_cycles: int
    published_stall_cycles: int
    published_ifmap_reads: int
    published_filter_reads: int
    published_ofmap_writes: int


COLUMNS = tuple(field.name for field in fields(GoldenRow))


def golden_rows() -> tuple[GoldenRow, ...]:
    """Read the golden table.

    Raises
    ------
    ResultError
        If its columns are not those of `GoldenRow`.
    """
    text = (resources.files("lspsim.validate") / "data" / NAME).read_text(encoding="utf-8")
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ResultError(f"{NAME} has the columns {reader.fieldnames}; it needs {list(COLUMNS)}")
    return tuple(_parse(line) for line in reader)


def golden_text(published: Iterable[Mapping[str, str]]) -> str:
    """Compute the text of the golden table.

    Parameters
    ----------
    published
        SCALE-Sim's figures, a mapping per row as in its summary: `layer`, `M`, `N`, `K`,
        `array` (the side of a square array), `dataflow`, `total_cycles`, `stall_cycles`,
        `sram_ifmap_reads`, `sram_filter_reads`, `sram_ofmap_writes`.

    Returns
    -------
    str
        CSV with the columns of `GoldenRow`.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in published:
        m, n, k, side = (int(line[key]) for key in ("M", "N", "K", "array"))
        dataflow = _dataflow(line["dataflow"])
        counts = scalesim_counts(m, n, k, side, side, dataflow)
        figures = (
            line["total_cycles"],
            line["stall_cycles"],
            line["sram_ifmap_reads"],
            line["sram_filter_reads"],
            line["sram_ofmap_writes"],
        )
        writer.writerow(
            (
                *(line["layer"], m, n, k, side, side, dataflow),
                *(counts.folds, counts.cycles_per_fold, counts.reported_cycles),
                *(counts.ifmap_reads, counts.filter_reads, counts.ofmap_writes),
                *(int(float(figure)) for figure in figures),
            )
        )
    return out.getvalue()


def _parse(line: Mapping[str, str]) -> GoldenRow:
    figures = {name: int(line[name]) for name in COLUMNS if name not in ("layer", "dataflow")}
    return GoldenRow(layer=line["layer"], dataflow=_dataflow(line["dataflow"]), **figures)


def _dataflow(name: str) -> Dataflow:
    if name not in ("ws", "os", "is"):
        raise ResultError(f"unknown dataflow {name!r} in a SCALE-Sim table; use ws, os or is")
    return cast("Dataflow", name)

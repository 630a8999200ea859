"""The golden table: SCALE-Sim 3.0.0's own figures beside the closed forms.

`data/scalesim_golden.csv` has a row per layer of DeiT-B and dataflow on a 32x32 array.
The columns `published_*` are SCALE-Sim's output; all others are computed from the
layer by `lspsim.validate.closed_forms`; a test makes the file again and compares.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from typing import cast

from lspsim.errors import ResultError
from lspsim.validate.closed_forms import Dataflow

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


def _parse(line: Mapping[str, str]) -> GoldenRow:
    figures = {name: int(line[name]) for name in COLUMNS if name not in ("layer", "dataflow")}
    return GoldenRow(layer=line["layer"], dataflow=_dataflow(line["dataflow"]), **figures)


def _dataflow(name: str) -> Dataflow:
    if name not in ("ws", "os", "is"):
        raise ResultError(f"unknown dataflow {name!r} in a SCALE-Sim table; use ws, os or is")
    return cast("Dataflow", name)

"""Our serial folds against SCALE-Sim: its figures, its closed forms, and random GEMMs."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lspsim.errors import LspsimError, ResultError
from lspsim.simulate import simulate
from lspsim.validate import golden, scalesim
from lspsim.validate.closed_forms import Dataflow, scalesim_counts, scalesim_cycles
from lspsim.validate.golden import COLUMNS, golden_rows
from lspsim.validate.scalesim import serial_hardware, validate_scalesim
from lspsim.workload import Gemm, Workload

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = Path(
    os.environ.get(
        "LSPSIM_SCALESIM_CSV",
        ROOT.parent / "shared" / "data" / "scalesim" / "scalesim_3.0.0_deit_b_32x32.csv",
    )
)


def golden_text(published: Iterable[Mapping[str, str]]) -> str:
    """Make the golden table of SCALE-Sim's figures, a mapping per row as in its summary."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in published:
        m, n, k, side = (int(line[key]) for key in ("M", "N", "K", "array"))
        counts = scalesim_counts(m, n, k, side, side, cast("Dataflow", line["dataflow"]))
        figures = (
            line["total_cycles"],
            line["stall_cycles"],
            line["sram_ifmap_reads"],
            line["sram_filter_reads"],
            line["sram_ofmap_writes"],
        )
        writer.writerow(
            (
                *(line["layer"], m, n, k, side, side, line["dataflow"]),
                *(counts.folds, counts.cycles_per_fold, counts.reported_cycles),
                *(counts.ifmap_reads, counts.filter_reads, counts.ofmap_writes),
                *(int(float(figure)) for figure in figures),
            )
        )
    return out.getvalue()


def golden_as_published() -> list[dict[str, str]]:
    """SCALE-Sim's part of the golden table, under the names SCALE-Sim's summary has."""
    return [
        {
            "layer": row.layer,
            "M": str(row.m),
            "N": str(row.n),
            "K": str(row.k),
            "array": str(row.rows),
            "dataflow": row.dataflow,
            "total_cycles": str(row.published_total_cycles),
            "stall_cycles": str(row.published_stall_cycles),
            "sram_ifmap_reads": str(row.published_ifmap_reads),
            "sram_filter_reads": str(row.published_filter_reads),
            "sram_ofmap_writes": str(row.published_ofmap_writes),
        }
        for row in golden_rows()
    ]


def test_golden_table_is_what_the_closed_forms_give() -> None:
    stored = (ROOT / "lspsim" / "validate" / "data" / golden.NAME).read_text(encoding="utf-8")
    assert stored == golden_text(golden_as_published())


def test_golden_table_holds_every_layer_on_every_dataflow() -> None:
    layers = ["patch", "qkv", "qk", "av", "proj", "fc1", "fc2", "head"]
    expected = [(layer, dataflow) for dataflow in ("ws", "os", "is") for layer in layers]
    assert [(row.layer, row.dataflow) for row in golden_rows()] == expected


def test_closed_forms_give_scalesims_own_figures() -> None:
    for row in golden_rows():
        counts = scalesim_counts(row.m, row.n, row.k, row.rows, row.cols, row.dataflow)
        assert row.published_total_cycles - row.published_stall_cycles == counts.reported_cycles
        assert row.published_ifmap_reads == counts.ifmap_reads
        assert row.published_filter_reads == counts.filter_reads
        assert row.published_ofmap_writes == counts.ofmap_writes


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="SCALE-Sim's own output is not at hand")
def test_carried_figures_are_scalesims_output() -> None:
    with PUBLISHED.open(encoding="utf-8", newline="") as lines:
        published = list(csv.DictReader(lines))
    assert golden_text(published) == golden_text(golden_as_published())


@pytest.mark.parametrize("engine", ["event", "analytic"])
def test_every_row_agrees_with_our_run(engine: Any) -> None:
    report = validate_scalesim(engine)
    assert report.engine == engine
    assert [row for row in report.entries if not row.agrees] == []
    assert report.agrees
    assert {row.difference for row in report.entries} == {3}
    assert report.notes[0] == "24 of 24 rows agree."


def test_report_is_a_table() -> None:
    report = validate_scalesim("analytic")
    rows = report.rows()
    assert len(rows) == len(report.entries) == 24
    assert {len(row) for row in rows} == {len(report.columns)}
    first = dict(zip(report.columns, rows[0], strict=True))
    assert first["layer"] == "patch"
    assert first["lspsim_cycles"] == 167042


def test_a_wrong_figure_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    good = golden_rows()[0]
    wrong = (
        replace(good, published_total_cycles=good.published_total_cycles + 1),
        replace(good, published_ifmap_reads=good.published_ifmap_reads + 1),
        replace(good, published_ofmap_writes=good.published_ofmap_writes - 1),
    )
    monkeypatch.setattr(scalesim, "golden_rows", lambda: (*wrong, good))
    report = validate_scalesim("analytic")
    assert [row.agrees for row in report.entries] == [False, False, False, True]
    assert not report.agrees
    assert report.notes[0] == "1 of 4 rows agree."


@settings(max_examples=60, deadline=None)
@given(
    m=st.integers(1, 70),
    n=st.integers(1, 70),
    k=st.integers(1, 70),
    rows=st.integers(1, 20),
    cols=st.integers(1, 20),
    dataflow=st.sampled_from(["ws", "os", "is"]),
)
def test_serial_folds_equal_the_closed_form(
    m: int, n: int, k: int, rows: int, cols: int, dataflow: Dataflow
) -> None:
    """`cycles_array` = F P + 2 = what SCALE-Sim prints + 3, for any GEMM and array."""
    hardware = serial_hardware(rows, cols, dataflow, max(m, n))
    workload = Workload([Gemm("g", m=m, n=n, k=k)])
    cycles = int(simulate(workload, hardware, "analytic").table.cycles_array[0])
    assert cycles == scalesim_counts(m, n, k, rows, cols, dataflow).cycles_array
    assert cycles == scalesim_cycles(m, n, k, rows, cols, dataflow) + 3


@pytest.mark.parametrize(
    ("dataflow", "folds", "per_fold", "writes"),
    [("ws", 2 * 3, 2 * 4 + 2 + 5 - 2, 5 * 6 * 2), ("os", 2 * 3, 4 + 2 + 7 - 2, 5 * 6 + 6 * 6)],
)
def test_closed_forms_by_hand(dataflow: Dataflow, folds: int, per_fold: int, writes: int) -> None:
    counts = scalesim_counts(5, 6, 7, 4, 2, dataflow)
    assert (counts.folds, counts.cycles_per_fold) == (folds, per_fold)
    assert counts.ofmap_writes == writes
    assert scalesim_cycles(5, 6, 7, 4, 2, dataflow) == folds * per_fold - 1


def test_input_stationary_by_hand() -> None:
    counts = scalesim_counts(5, 6, 7, 4, 2, "is")
    assert (counts.folds, counts.cycles_per_fold) == (2 * 3, 2 * 4 + 2 + 6 - 2)
    assert (counts.ifmap_reads, counts.filter_reads) == (35, 42 * 3)


def test_bad_input_is_named() -> None:
    with pytest.raises(LspsimError, match="unknown dataflow 'ns'; use ws, os or is"):
        scalesim_cycles(1, 1, 1, 1, 1, "ns")  # type: ignore[arg-type]
    with pytest.raises(LspsimError, match="k is 0"):
        scalesim_cycles(1, 1, 0, 1, 1, "ws")


def test_a_golden_table_with_another_dataflow_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = golden_text(golden_as_published())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / golden.NAME).write_text(text.replace(",ws,", ",rs,", 1))
    monkeypatch.setattr(golden.resources, "files", lambda package: tmp_path)
    with pytest.raises(ResultError, match="unknown dataflow 'rs'"):
        golden_rows()


def test_a_golden_table_with_other_columns_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / golden.NAME).write_text(",".join(COLUMNS[:-1]) + "\n")
    monkeypatch.setattr(golden.resources, "files", lambda package: tmp_path)
    with pytest.raises(ResultError, match="it needs"):
        golden_rows()

from __future__ import annotations

import csv
import io

import pytest

from lspsim.report.grouping import group_layers
from lspsim.report.summary import RunSummary
from lspsim.report.tables import (
    layer_cells,
    layer_table,
    layers_csv,
    totals_rows,
    totals_table,
)
from lspsim.simulate.result import SimulationResult
from tests.report.helpers import assert_whole, text_of


def test_cells(run: RunSummary) -> None:
    rows = {row.name: row for row in group_layers(run.layers)}
    qkv = rows["blocks.*.attn.qkv"]
    cells = layer_cells(qkv, run.totals.cycles_total)
    assert cells[:5] == ("blocks.*.attn.qkv x3", "gemm", "197", "128", "384")
    assert cells[5] == f"{qkv.density:.3f}"
    assert cells[6] == "21/36"
    assert cells[7] == f"{qkv.cycles_total:,}"
    assert cells[8] == f"{100 * qkv.cycles_total / run.totals.cycles_total:.1f} %"
    assert layer_cells(rows["blocks.*.attn.qk"], 1)[2] == "2 x 197"
    norm = layer_cells(rows["blocks.*.norm1"], 1)
    assert (norm[1], norm[3], norm[5], norm[6]) == ("layernorm", "-", "-", "-")
    assert layer_cells(rows["blocks.*.mlp.act"], 1)[9] == "fused"


def test_table_has_a_row_per_group_and_totals(run: RunSummary) -> None:
    table = layer_table(run)
    assert table.row_count == len(group_layers(run.layers)) < len(run.layers)
    assert layer_table(run, collapse=False).row_count == len(run.layers)
    text = text_of(table)
    last = [line for line in text.splitlines() if "total" in line][-1]
    assert f"{run.totals.cycles_total:,}" in last
    assert "100.0 %" in last
    assert "tiny on edge_32x32" in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("collapse", [True, False])
def test_narrow_terminals_see_whole_names_and_numbers(
    run: RunSummary, width: int, collapse: bool
) -> None:
    rows = group_layers(run.layers, collapse=collapse)
    table = layer_table(run, collapse=collapse)
    text = assert_whole(table, width, [row.label for row in rows] + ["total"])
    for row in rows:
        assert any(
            row.label in line and f"{row.cycles_total:,}" in line for line in text.splitlines()
        )
    assert ("bound by" in text) == (width >= 80)
    assert ("tiles live/total" in text) == (width == 200)


def test_totals(run: RunSummary) -> None:
    rows = dict(totals_rows(run))
    assert rows["cycles"] == f"{run.totals.cycles_total:,}"
    assert rows["energy"].count("J") == 3
    assert rows["MACs dense"] == f"{run.totals.macs_dense:,}"
    assert rows["throughput"].endswith("images/s")
    assert all(name in text_of(totals_table(run)) for name in rows)


def test_a_lower_bound_says_so(run: RunSummary) -> None:
    from dataclasses import replace

    rows = dict(totals_rows(replace(run, lower_bound=True)))
    assert rows["cycles"].endswith("(lower bound)")
    assert rows["latency"].endswith("(lower bound)")


def test_csv_has_every_operator_with_its_cycles(result: SimulationResult) -> None:
    rows = list(csv.DictReader(io.StringIO(layers_csv(result))))
    assert [row["name"] for row in rows] == [layer.name for layer in result.layers]
    assert sum(int(row["cycles_total"]) for row in rows) == result.totals.cycles_total

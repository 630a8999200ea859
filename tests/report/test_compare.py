from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from lspsim.errors import ResultError
from lspsim.hardware import Hardware
from lspsim.report.compare import (
    compare,
    comparison_layer_table,
    comparison_totals_table,
    heading,
    unmatched_lines,
)
from lspsim.report.summary import RunSummary
from lspsim.report.tables import totals_rows
from lspsim.simulate.result import SimulationResult
from lspsim.workload import Gemm, Workload
from tests.report.helpers import assert_whole, text_of


@pytest.fixture(scope="module")
def other(new_result: Callable[..., SimulationResult], hardware: Hardware) -> RunSummary:
    """The same network on four cores at twice the clock."""
    chip = hardware.with_values({"cores": 4, "clock": "2 GHz", "noc": {"bandwidth": "32 GB/s"}})
    return RunSummary.of(new_result(seed=1, hardware=chip))


@pytest.mark.parametrize("collapse", [True, False])
def test_buckets_sum_to_layers_and_layers_to_totals(
    run: RunSummary, other: RunSummary, collapse: bool
) -> None:
    found = compare(run, other, collapse=collapse)
    for layer in found.layers:
        assert sum(layer.bucket_difference_ns.values()) == pytest.approx(
            layer.difference_ns, abs=1e-6
        )
    latency = other.totals.latency_s - run.totals.latency_s
    assert sum(x.difference_ns for x in found.layers) == pytest.approx(latency * 1e9)
    assert sum(found.bucket_difference_ns.values()) == pytest.approx(latency * 1e9)
    assert sum(x.cycles_b for x in found.layers) == other.totals.cycles_total
    assert sum(x.energy_a_pj for x in found.layers) == pytest.approx(run.totals.energy_j * 1e12)


def test_a_run_differs_from_itself_in_nothing(run: RunSummary) -> None:
    found = compare(run, run)
    assert all(row.a == row.b for row in found.totals)
    assert not any(found.bucket_difference_ns.values())
    assert all(layer.difference_ns == 0 for layer in found.layers)


def test_ratios(run: RunSummary, other: RunSummary) -> None:
    rows = {row.name: row for row in compare(run, other).totals}
    assert rows["latency_s"].ratio_b_to_a == other.totals.latency_s / run.totals.latency_s
    assert rows["dram_write_bytes"].ratio_b_to_a is None


def test_the_totals_are_those_of_simulate(run: RunSummary, other: RunSummary) -> None:
    found = compare(run, other)
    rows = {row.name: row for row in found.totals}
    assert set(rows) - {"throughput_images_per_s"} == set(run.totals._fields)
    for name, value in run.totals._asdict().items():
        assert rows[name].a == value
    assert rows["throughput_images_per_s"].b == 1 / other.totals.latency_s
    text = text_of(comparison_totals_table(found))
    for name, value in totals_rows(run):
        if name in ("throughput", "latency", "average power", "utilisation"):
            line = next(line for line in text.splitlines() if name in line)
            assert value in line
    assert f"{run.totals.area_mm2:.3g} mm2" in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_narrow_terminals_see_whole_names_and_numbers(
    run: RunSummary, other: RunSummary, width: int
) -> None:
    found = compare(run, other, label_a="runs/of/a/very/long/name" * 3)
    layers = assert_whole(comparison_layer_table(found), width, [x.label for x in found.layers])
    assert "b / a" in layers
    totals = assert_whole(comparison_totals_table(found), width, ["MACs executed"])
    assert f"{run.totals.macs_executed:,}" in totals


def test_different_work_is_said(run: RunSummary) -> None:
    found = compare(run, replace(run, batch=8))
    assert heading(found).plain.splitlines() == [
        "a: tiny, batch 1: tiny on edge_32x32",
        "b: tiny, batch 8: tiny on edge_32x32, batch 8",
        "note: a ran tiny, batch 1, b ran tiny, batch 8: layers are matched by name only",
    ]
    assert found.to_dict()["notes"] == found.notes
    longer = [layer._replace(m=2 * layer.m) for layer in run.layers[:2]]
    found = compare(run, replace(run, layers=(*longer, *run.layers[2:])))
    assert found.notes == (f"2 of {len(run.layers)} matched layers differ in shape",)
    assert compare(run, run).notes == ()


def test_layers_of_one_run_only_are_listed(
    run: RunSummary,
    new_result: Callable[..., SimulationResult],
    new_workload: Callable[..., Workload],
) -> None:
    longer = RunSummary.of(new_result(new_workload(blocks=4)))
    found = compare(run, longer)
    assert found.only_a == ()
    assert found.only_b == tuple(x.name for x in longer.layers if x.name.startswith("blocks.3."))
    assert unmatched_lines(found) == [f"only in b: {', '.join(found.only_b)}"]
    difference = longer.totals.latency_s - run.totals.latency_s
    assert sum(found.bucket_difference_ns.values()) == pytest.approx(difference * 1e9)


def test_nothing_in_common_is_an_error(
    run: RunSummary, new_result: Callable[..., SimulationResult]
) -> None:
    stranger = RunSummary.of(new_result(Workload([Gemm("x", 8, 64, 64)], model="stranger")))
    with pytest.raises(ResultError, match="stranger on edge_32x32 have no operator name"):
        compare(run, stranger)


def test_labels_tables_and_json(run: RunSummary, other: RunSummary) -> None:
    found = compare(run, other, label_a="slow", label_b="fast")
    assert heading(found).plain == "tiny, batch 1\na: slow\nb: fast"
    totals = text_of(comparison_totals_table(found))
    assert f"{run.totals.cycles_total:,}" in totals
    layers = text_of(comparison_layer_table(found))
    assert "blocks.*.attn.qkv x3" in layers
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["schema"] == "lspsim/comparison/v1"
    assert data["totals"][0]["ratio_b_to_a"] == other.totals.cycles_total / run.totals.cycles_total

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from lspsim.errors import ResultError
from lspsim.hardware import Hardware
from lspsim.report.compare import (
    compare,
    comparison_layer_table,
    comparison_totals_table,
    unmatched_lines,
)
from lspsim.report.summary import RunSummary
from lspsim.simulate.result import SimulationResult
from lspsim.workload import Gemm, Workload
from tests.report.helpers import text_of


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
    totals = text_of(comparison_totals_table(found))
    assert "a: slow" in totals
    assert "b: fast" in totals
    assert f"{run.totals.cycles_total:,}" in totals
    layers = text_of(comparison_layer_table(found))
    assert "blocks.*.attn.qkv x3" in layers
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["schema"] == "lspsim/comparison/v1"
    assert data["totals"][0]["ratio_b_to_a"] == other.totals.cycles_total / run.totals.cycles_total

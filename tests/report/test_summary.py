from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from lspsim.errors import ResultError
from lspsim.report.summary import RunSummary
from lspsim.simulate.result import SimulationResult


@pytest.fixture
def data(result: SimulationResult) -> Any:
    return json.loads(json.dumps(result.to_dict()))


def test_json_loses_nothing(result: SimulationResult, data: Any) -> None:
    assert RunSummary.from_dict(data, "x") == RunSummary.of(result)


def test_cores_and_clock(run: RunSummary, result: SimulationResult) -> None:
    assert run.cores == result.hardware.cores
    assert run.clock_hz == pytest.approx(result.hardware.clock_hz)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema="lspsim/result/v0"), "schema is 'lspsim/result/v0'"),
        (lambda d: d.pop("totals"), "f.json: lacks totals"),
        (lambda d: d.update(extra=1), "f.json: has unknown extra"),
        (lambda d: d["totals"].pop("latency_s"), "f.json: totals: lacks latency_s"),
        (lambda d: d["layers"][2].pop("cycles"), r"f.json: layers\[2\]: lacks cycles"),
        (lambda d: d.update(layers={}), "'layers' must be a list"),
        (lambda d: d.update(totals=[]), "totals: expected an object, got list"),
    ],
)
def test_damage_is_named(data: Any, change: Any, message: str) -> None:
    broken = copy.deepcopy(data)
    change(broken)
    with pytest.raises(ResultError, match=message):
        RunSummary.from_dict(broken, "f.json")


def test_not_an_object() -> None:
    with pytest.raises(ResultError, match="expected a JSON object, got list"):
        RunSummary.from_dict([], "f.json")

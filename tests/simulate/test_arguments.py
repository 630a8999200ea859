"""What is no workload or no hardware is refused with the call that makes one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import lspsim
from lspsim import Gemm, LspsimError, Workload, WorkloadError

GEMM = Gemm("fc", m=4, k=8, n=8)
WORKLOAD = Workload([GEMM])
EDGE = lspsim.load_hardware("edge_32x32")


@pytest.mark.parametrize(
    ("workload", "cure"),
    [
        ("deit_base_patch16_224", "lspsim.workload_from_model('deit_base_patch16_224')"),
        ([GEMM], "got a list; put its operators into one: lspsim.Workload([...])"),
        ((GEMM,), "got a tuple; put its operators into one: lspsim.Workload([...])"),
        (GEMM, "got the operator 'fc'; put it into one: lspsim.Workload([operator])"),
        (None, "got NoneType; make one with lspsim.workload_from_model(model)"),
    ],
)
@pytest.mark.parametrize("hardware", [EDGE, "edge_32x32"])
def test_no_workload(workload: Any, cure: str, hardware: Any) -> None:
    with pytest.raises(WorkloadError, match=re.escape(cure)):
        lspsim.simulate(workload, hardware)


@pytest.mark.parametrize(
    ("hardware", "cure"),
    [
        ("edge_32x32", "got the name 'edge_32x32'; write lspsim.load_hardware('edge_32x32')"),
        (Path("a/b.yaml"), "write lspsim.load_hardware('a/b.yaml')"),
        ({"name": "mine"}, "got dict; load one with lspsim.load_hardware(name or path)"),
    ],
)
def test_no_hardware(hardware: Any, cure: str) -> None:
    with pytest.raises(LspsimError, match=re.escape(cure)):
        lspsim.simulate(WORKLOAD, hardware)


@pytest.mark.parametrize(
    ("workload", "hardware"),
    [
        (EDGE, WORKLOAD),
        ("edge_32x32", WORKLOAD),
        (EDGE, "deit_base_patch16_224"),
    ],
)
def test_swapped(workload: Any, hardware: Any) -> None:
    with pytest.raises(LspsimError, match=r"workload comes first; write simulate\(workload, hard"):
        lspsim.simulate(workload, hardware)


def test_what_is_right_passes() -> None:
    assert lspsim.simulate(WORKLOAD, EDGE).totals.cycles_total > 0

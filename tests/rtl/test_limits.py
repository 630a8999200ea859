"""Where core and event engine part, shown on the smallest cases (docs/validation.md, "RTL")."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lspsim.hardware import Hardware
from lspsim.rtl import Simulator, build_simulator
from lspsim.validate.rtl import RtlCase, RtlRow, make_case, run_cases
from lspsim.workload import BlockMask, Gemm
from tests.rtl.live import needs_verilator
from tests.rtl.tier import Build

pytestmark = needs_verilator
GATHERING = Build(4, 4, 0, 4, 64)
OUTPUT = Build(4, 4, 0, 1, 64, 1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rtl")


def chip(build: Build, **values: object) -> Hardware:
    """Return a chip with 1-byte bursts and no latency; double underscores stand for dots."""
    chosen: dict[str, object] = {
        "memory.dram.efficiency": 1.0,
        "memory.dram.latency": "0 ns",
        "memory.dram.burst": "1 B",
        "memory.prefetch_across_layers": False,
    }
    chosen |= {name.replace("__", "."): value for name, value in values.items()}
    return build.hardware().with_values(chosen)


def run_one(simulator: Simulator, case: RtlCase) -> RtlRow:
    (row,) = run_cases(simulator, [case])
    return row


@pytest.mark.parametrize(("bandwidth", "late"), [("4 GB/s", 0), ("8 GB/s", 8)])
def test_a_bank_is_read_row_by_row(cache: Path, bandwidth: str, late: int) -> None:
    """16 rows of 4 bytes leave in 16 cycles, also where the channel could take them in 8."""
    simulator = build_simulator(GATHERING.parameters(), cache)
    hardware = chip(GATHERING, memory__dram__bandwidth=bandwidth)
    case = make_case("c", Gemm("g", 16, 4, 4), hardware, simulator.parameters, x_on_chip=True)
    row = run_one(simulator, case)
    assert row.results_equal
    assert row.measured.cycles - row.expected.cycles == late
    assert row.wide_writes == (late > 0)


@pytest.mark.parametrize(("latency", "right"), [("0 ns", False), ("3 ns", True)])
def test_gathering_reads_behind_the_last_row(cache: Path, latency: str, right: bool) -> None:
    """Lane g reads token t - g: a half of the X buffer is read G - 1 cycles after `consumed`."""
    simulator = build_simulator(GATHERING.parameters(), cache)
    hardware = chip(
        GATHERING,
        memory__dram__latency=latency,
        memory__dram__bandwidth="64 GB/s",
        memory__channels="separate",
        memory__shares={"weights": 0.5, "activations": 0.25, "writeback": 0.25},
        buffers__activation="64 B",  # chunks of 4 rows
    )
    mask = BlockMask(np.array([[1, 0, 1, 1, 0, 1, 0, 0]], bool), 4, 1, (4, 8))
    case = make_case("c", Gemm("g", 16, 8, 4, mask=mask), hardware, simulator.parameters)
    assert len(case.case.chunks) == 4
    assert run_one(simulator, case).results_equal == right


@pytest.mark.parametrize("m", [4, 7])
def test_output_stationary_ends_when_the_first_row_is_there(cache: Path, m: int) -> None:
    """The last tile's other rows follow one by one; `end` does not count them."""
    simulator = build_simulator(OUTPUT.parameters(), cache)
    hardware = OUTPUT.hardware().with_values({"memory.ideal": True})
    case = make_case("c", Gemm("g", m, 9, 8), hardware, simulator.parameters)
    (result,) = simulator.run([case.case], [1000])
    assert result.cycles == case.expected.cycles
    rows = case.case.folds[-1].rows
    assert result.last_write == result.cycles + rows - 1
    assert np.array_equal(result.y, case.case.product())


def test_cases_differ_by_nothing_else(cache: Path) -> None:
    """The same case with another seed takes the same cycles."""
    simulator = build_simulator(OUTPUT.parameters(), cache)
    hardware = OUTPUT.hardware()
    first, second = (
        make_case("c", Gemm("g", 9, 9, 9), hardware, simulator.parameters, seed=seed)
        for seed in (1, 2)
    )
    assert not np.array_equal(first.case.x, second.case.x)
    rows = run_cases(simulator, [first, second])
    assert dataclasses.replace(rows[0].measured) == rows[1].measured

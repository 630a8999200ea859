"""What hardware cannot do faster, on the smallest cases: core and event engine agree on it.

Each was once a difference between them (docs/decisions/0009).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lspsim.hardware import Hardware
from lspsim.rtl import build_simulator
from lspsim.schedule.build import build_program
from lspsim.simulate.event import run_event
from lspsim.validate.rtl import RtlCase, RtlRow, make_case, run_cases
from lspsim.workload import BlockMask, Gemm, Workload
from tests.rtl.faults import DOUBLE, OUTPUT
from tests.rtl.live import needs_verilator
from tests.rtl.tier import Build

pytestmark = needs_verilator


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


def separate(weights: int, activations: int, writeback: int) -> dict[str, object]:
    """Return the fields of three channels with so many bytes per cycle (1 GHz)."""
    total = weights + activations + writeback
    shares = {"weights": weights, "activations": activations, "writeback": writeback}
    return {
        "memory__dram__bandwidth": f"{total} GB/s",
        "memory__channels": "separate",
        "memory__shares": {name: f"{part}/{total}" for name, part in shares.items()},
    }


def run_one(cache: Path, build: Build, case: RtlCase) -> RtlRow:
    (row,) = run_cases(build_simulator(build.parameters(), cache), [case])
    return row


def test_a_bank_is_read_row_by_row(rtl_cache: Path) -> None:
    """16 rows of 4 bytes leave in 16 cycles, also where the channel could take them in 2."""
    cycles = []
    for writeback in (1, 4, 8, 32):
        hardware = chip(DOUBLE, **separate(4, 4, writeback))
        case = make_case(
            "c", Gemm("g", 16, 4, 4, bias=True), hardware, DOUBLE.parameters(), x_on_chip=True
        )
        row = run_one(rtl_cache, DOUBLE, case)
        assert row.agrees
        cycles.append(row.measured.cycles)
    assert cycles == [cycles[1] + 48, cycles[1], cycles[1], cycles[1]]


@pytest.mark.parametrize("latency", [0, 2, 3, 9])
def test_gathering_reads_behind_the_last_row(rtl_cache: Path, latency: int) -> None:
    """Row r of the array reads token t - r at the latest: a half of X stays for so long."""
    parameters = DOUBLE.parameters()
    hardware = chip(
        DOUBLE,
        **separate(32, 16, 16),
        memory__dram__latency=f"{latency} ns",
        buffers__activation="64 B",  # chunks of 4 rows
    )
    mask = BlockMask(np.array([[1, 0, 1, 1]], bool), 4, 2, (4, 8))
    gemm = Gemm("g", 16, 8, 4, mask=mask)
    case = make_case("c", gemm, hardware, parameters)
    assert len(case.case.chunks) == 4
    row = run_one(rtl_cache, DOUBLE, case)
    assert row.agrees
    program = build_program(Workload([gemm]), hardware)
    assert program.read_behind_cycles == DOUBLE.rows - 1
    soon = run_event(dataclasses.replace(program, read_behind_cycles=0))
    assert (soon.end[-1] < row.measured.cycles) == (latency == 9)  # else it is in time anyway


@pytest.mark.parametrize("m", [5, 6, 7, 8])
def test_two_folds_meet_in_a_bank(rtl_cache: Path, m: int) -> None:
    """Folds follow without a gap; with an odd number of rows both want the bank of token 0."""
    hardware = chip(DOUBLE, memory__ideal=True)
    mask = BlockMask(np.array([[1, 0, 1, 1, 1, 0]], bool), 4, 2, (4, 12))
    case = make_case("c", Gemm("g", m, 12, 4, mask=mask), hardware, DOUBLE.parameters())
    assert len(case.case.folds) == 2
    assert case.expected.cycles == DOUBLE.rows + 2 * m + DOUBLE.rows + DOUBLE.cols
    assert run_one(rtl_cache, DOUBLE, case).agrees


@pytest.mark.parametrize("m", [1, 4, 7])
def test_the_end_of_output_stationary(rtl_cache: Path, m: int) -> None:
    """The last sum ends one edge before `end`; the tile's rows enter the bank from `end` on."""
    hardware = chip(OUTPUT, memory__ideal=True)
    case = make_case("c", Gemm("g", m, 9, 8), hardware, OUTPUT.parameters())
    (result,) = build_simulator(OUTPUT.parameters(), rtl_cache).run([case.case], [1000])
    assert result.cycles == case.expected.cycles
    assert result.last_sum == result.cycles - 1
    assert result.last_write == result.cycles + case.case.folds[-1].rows - 1
    assert np.array_equal(result.y, case.case.product())


@pytest.mark.parametrize("on_chip", [False, True])
def test_output_stationary_rows_leave_behind_their_arrival(rtl_cache: Path, on_chip: bool) -> None:
    """A channel that could take the whole tile at `end` gets rows as they come, none too soon."""
    hardware = chip(OUTPUT, **separate(64, 64, 64))
    gemm = Gemm("g", 11, 9, 7, bias=True)
    case = make_case("c", gemm, hardware, OUTPUT.parameters(), y_on_chip=on_chip)
    assert run_one(rtl_cache, OUTPUT, case).agrees


def test_operands_do_not_change_cycles(rtl_cache: Path) -> None:
    """The same case with another seed takes the same cycles."""
    first, second = (
        make_case("c", Gemm("g", 9, 9, 9), OUTPUT.hardware(), OUTPUT.parameters(), seed=seed)
        for seed in (1, 2)
    )
    assert not np.array_equal(first.case.x, second.case.x)
    rows = run_cases(build_simulator(OUTPUT.parameters(), rtl_cache), [first, second])
    assert rows[0] == rows[1]

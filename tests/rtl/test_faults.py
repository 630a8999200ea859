"""Seeded faults: each is caught, and by what it should be."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from lspsim.rtl import build_simulator
from lspsim.validate.rtl import RtlCase, random_case, run_cases
from tests.rtl.faults import COUNTS, CYCLES, FAULTS, RESULTS, Fault
from tests.rtl.live import full_tier, needs_verilator
from tests.rtl.tier import Build, cases_of

QUICK = ("loader one cycle late",)
STALLED = 100


def test_fault_lines_exist() -> None:
    for fault in FAULTS:
        assert fault.files()[fault.file].count(fault.wrong) == 1


def cases_for(build: Build) -> list[RtlCase]:
    """Return the build's cases of the tier, and more with stalled memory."""
    hardware, parameters = build.hardware(), build.parameters()
    more = [
        random_case(random.Random(f"fault {i}"), hardware, parameters, ideal=False)
        for i in range(STALLED)
    ]
    return cases_of(build) + more


def check(fault: Fault, cache: Path) -> None:
    parameters = fault.build.parameters()
    rows = run_cases(build_simulator(parameters, cache, fault.files()), cases_for(fault.build))
    results = sum(not row.results_equal for row in rows)
    cycles = sum(row.measured.cycles != row.expected.cycles for row in rows)
    counts = sum(replace(row.measured, cycles=0) != replace(row.expected, cycles=0) for row in rows)
    shown = {RESULTS: results, CYCLES: cycles, COUNTS: counts}
    assert shown[fault.shown_by] > 0, shown
    if fault.harmless:
        assert results == counts == 0, shown


@full_tier
@needs_verilator
@pytest.mark.parametrize("build", sorted({f.build for f in FAULTS}, key=str), ids=lambda b: b.name)
def test_without_a_fault_the_same_cases_agree(build: Build, rtl_cache: Path) -> None:
    rows = run_cases(build_simulator(build.parameters(), rtl_cache), cases_for(build))
    assert [row for row in rows if not row.agrees] == []


@needs_verilator
@pytest.mark.parametrize("fault", [f for f in FAULTS if f.name in QUICK], ids=lambda f: f.name)
def test_a_fault_that_only_cycles_show(fault: Fault, rtl_cache: Path) -> None:
    check(fault, rtl_cache)


@needs_verilator
@full_tier
@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_every_fault_is_caught(fault: Fault, rtl_cache: Path) -> None:
    check(fault, rtl_cache)

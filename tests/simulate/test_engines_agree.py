"""The fast event engine gives what the SimPy reference gives, to the cycle and to the bucket."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lspsim.errors import ScheduleError
from lspsim.schedule.build import build_program
from lspsim.simulate.event import run_event
from lspsim.simulate.reference import run_reference
from tests.simulate.program_cases import first_difference, random_program
from tests.simulate.workload_cases import random_hardware, random_workload

PROGRAMS = 2400
WORKLOADS = 800
BATCHES = 8


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_programs(batch: int) -> None:
    for seed in range(batch, PROGRAMS, BATCHES):
        program = random_program(random.Random(seed))
        difference = first_difference(run_reference(program), run_event(program))
        assert not difference, f"seed {seed} (reference != event): {difference}"


def compare_on_a_workload(rng: random.Random) -> bool:
    """Schedule a random workload, compare the engines; False = it cannot be scheduled."""
    hardware = random_hardware(rng)
    workload = random_workload(rng, hardware)
    try:
        program = build_program(workload, hardware)
    except ScheduleError as error:
        if "buffer" not in str(error):
            raise
        return False
    difference = first_difference(run_reference(program), run_event(program))
    assert not difference, f"reference != event: {difference}\n{workload.ops}\n{hardware}"
    return True


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_workloads(batch: int) -> None:
    ran = 0
    for seed in range(batch, WORKLOADS, BATCHES):
        try:
            ran += compare_on_a_workload(random.Random(seed))
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
    assert ran >= 0.7 * WORKLOADS / BATCHES, f"only {ran} workloads of this batch fit"


@settings(max_examples=60, deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_drawn_workloads(rng: random.Random) -> None:
    compare_on_a_workload(rng)

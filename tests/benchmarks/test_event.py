"""The event engine per live tile, and against the SimPy reference, in one run."""

import time

import pytest

from lspsim.schedule import build_program
from lspsim.simulate.event import run_event
from lspsim.simulate.reference import run_reference
from tests.benchmarks.conftest import FOUR_CORES, SEPARATE, best_of

STREAMED = {"buffers.activation": "256 KiB"}


def measured(program):
    seconds = best_of(lambda: run_event(program), 20)
    start = time.perf_counter()
    run_reference(program)
    slow = time.perf_counter() - start
    folds = int(program.visit_folds.sum())
    nanoseconds = seconds / folds * 1e9
    print(
        f"\n{folds} folds: event {seconds * 1e6:.0f} us, {nanoseconds:.1f} ns per "
        f"live tile; reference {slow:.2f} s, {slow / seconds:.0f} times as long"
    )
    return nanoseconds, slow / seconds


@pytest.mark.parametrize(
    ("changes", "most_ns", "least_ratio"),
    [
        pytest.param(SEPARATE, 3.0, 500, id="one core, separate channels"),
        pytest.param(STREAMED, 60.0, 500, id="one core, shared channel, streamed"),
        pytest.param(
            {**FOUR_CORES, **STREAMED}, 60.0, 300, id="four cores, shared channel, streamed"
        ),
    ],
)
def test_time_per_live_tile(edge, deit_b, changes, most_ns, least_ratio):
    program = build_program(deit_b, edge.with_values(changes))
    nanoseconds, ratio = measured(program)
    assert nanoseconds <= most_ns
    assert ratio >= least_ratio

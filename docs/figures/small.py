"""Arrays small enough to count every cycle by eye, and what they were busy with."""

from __future__ import annotations

from typing import NamedTuple

from lspsim.hardware import Hardware, load_hardware
from lspsim.schedule.build import build_program
from lspsim.schedule.program import Program, Timing
from lspsim.simulate.reference import LANES, EventLog, run_reference
from lspsim.workload import Workload

ROWS, COLS = 4, 3


class Span(NamedTuple):
    """A busy interval `[start, end)` in cycles."""

    start: int
    end: int


class Run(NamedTuple):
    """What the reference engine saw on a one-core chip."""

    program: Program
    timing: Timing
    lanes: dict[str, list[Span]]
    """By name of the lane, in order of time."""


def small_chip(**values: object) -> Hardware:
    """Return a one-core chip with a 4x3 array; double underscores stand for dots."""
    chosen: dict[str, object] = {"array.rows": ROWS, "array.cols": COLS}
    chosen |= {name.replace("__", "."): value for name, value in values.items()}
    return load_hardware("edge_32x32").with_values(chosen)


def play(workload: Workload, hardware: Hardware) -> Run:
    """Run a workload on the reference engine and sort its log into lanes."""
    program, log = build_program(workload, hardware), EventLog()
    timing = run_reference(program, log)
    lanes: dict[str, list[Span]] = {name: [] for name in LANES}
    for lane, start, end in zip(log.lane, log.start, log.end, strict=True):
        lanes[LANES[lane]].append(Span(start, end))
    return Run(program, timing, {name: sorted(spans) for name, spans in lanes.items()})

"""What a timeline shows: busy intervals by lane. No file format here."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from lspsim.errors import ResultError
from lspsim.hardware import Hardware
from lspsim.report.trace_counters import Counter, counters_of
from lspsim.schedule.program import Program, Timing
from lspsim.simulate.reference_log import LANES, EventLog
from lspsim.workload import Workload

LAYERS = "layers"
"""Lane of the whole chip: which operators run when."""

LANE_LABELS: dict[str, str] = {
    LAYERS: "layers",
    "dma weights": "DMA weights",
    "dma activations": "DMA activations",
    "dma write-back": "DMA write-back",
    "shift weights": "array: shift weights in",
    "array": "array: stream rows",
    "vector": "vector unit",
}
"""Lanes in the order in which they are shown, and their titles."""


@dataclass(frozen=True, slots=True)
class Span:
    """One busy interval `[start, end)` in cycles."""

    lane: str
    """`LAYERS` or one of `lspsim.simulate.reference_log.LANES`."""
    core: int
    """-1 in the lane of the layers."""
    layer: str
    start: int
    end: int
    visit: int
    """Visit within the core; -1 where there is none or a transfer serves several."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a run that a timeline shows.

    Give a layer, or times; nothing = the whole run.
    """

    layer: str | None = None
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Spans and counters of a window of one run."""

    model: str
    hardware: str
    clock_hz: int
    cores: int
    start: int
    end: int
    """The window in cycles, `[start, end)`; spans that reach over its edge are whole."""
    spans: tuple[Span, ...]
    counters: tuple[Counter, ...]


def timeline(
    program: Program,
    timing: Timing,
    log: EventLog,
    workload: Workload,
    hardware: Hardware,
    window: Window | None = None,
) -> Timeline:
    """Return what happened in a window.

    Parameters
    ----------
    program, workload, hardware
        What ran, on what.
    timing, log
        What `lspsim.simulate.reference.run_reference` returned and recorded.
    window
        A layer or a stretch of time; default: the whole run.

    Raises
    ------
    ResultError
        When the window names an unknown layer, lies outside the run, is empty,
        or nothing happens in it.
    """
    names = segment_names(program, workload)
    ends = [int(end) for end in timing.end]
    start, end = _window_cycles(window or Window(), names, ends, hardware.clock_hz)
    spans = [
        Span(LAYERS, -1, " + ".join(names[i]), t0, t1, -1)
        for i, (t0, t1) in enumerate(zip([0, *ends[:-1]], ends, strict=True))
        if t0 < end and t1 > start and t1 > t0
    ]
    chip = len(spans)
    rows = zip(log.lane, log.core, log.segment, log.visit, log.start, log.end, strict=True)
    spans.extend(
        Span(LANES[lane], core, names[segment][0], s, e, visit)
        for lane, core, segment, visit, s, e in rows
        if s < end and e > start
    )
    if len(spans) == chip:
        raise ResultError(
            f"nothing is busy between cycles {start:,} and {end:,}; choose a window within the "
            f"run, which is over after {_us(ends[-1], hardware.clock_hz)}"
        )
    return Timeline(
        model=workload.model,
        hardware=hardware.name,
        clock_hz=hardware.clock_hz,
        cores=program.cores,
        start=start,
        end=end,
        spans=tuple(spans),
        counters=counters_of(program, log, hardware, start, end),
    )


def segment_names(program: Program, workload: Workload) -> list[tuple[str, ...]]:
    """Return each segment's operators: its first one and those that are fused to it."""
    firsts = [int(op) for op in program.segment_op]
    return [
        tuple(op.name for op in workload.ops[first:last])
        for first, last in zip(firsts, [*firsts[1:], len(workload.ops)], strict=True)
    ]


def _window_cycles(
    window: Window, names: Sequence[tuple[str, ...]], ends: Sequence[int], clock_hz: int
) -> tuple[int, int]:
    """Translate a window into cycles `[start, end)`."""
    over = ends[-1]
    if window.layer is not None:
        if window.start_s is not None or window.end_s is not None:
            raise ResultError("a window is a layer or a stretch of time; give one of the two")
        for i, segment in enumerate(names):
            if window.layer in segment:
                start, end = (ends[i - 1] if i else 0), ends[i]
                if start == end:
                    raise ResultError(f"{window.layer!r} takes no time; choose another layer")
                return start, end
        known = [name for segment in names for name in segment]
        close = difflib.get_close_matches(window.layer, known, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(known[:8])}"
        raise ResultError(f"no layer is called {window.layer!r}; {hint}")
    # Times are floats: a hundredth of a cycle is rounding, not a wish.
    start = 0 if window.start_s is None else math.floor(window.start_s * clock_hz + 0.01)
    end = over if window.end_s is None else math.ceil(window.end_s * clock_hz - 0.01)
    if start < 0 or end <= start or start >= over:
        raise ResultError(
            f"the window from {_us(start, clock_hz)} to {_us(end, clock_hz)} is empty; the run "
            f"lasts from 0 to {_us(over, clock_hz)}"
        )
    return start, min(end, over)


def _us(cycles: int, clock_hz: int) -> str:
    """Cycles as microseconds."""
    return f"{cycles / clock_hz * 1e6:,.3f} us"

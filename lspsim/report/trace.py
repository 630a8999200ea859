"""Timelines for Perfetto (https://ui.perfetto.dev) and chrome://tracing.

The Chrome trace event format: "X" events carry `ts` and `dur` in microseconds,
"C" events carry counters, "M" events name processes and threads.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lspsim.hardware import Hardware
from lspsim.report.files import whole_file
from lspsim.report.trace_spans import LANE_LABELS, Span, Timeline, Window, timeline
from lspsim.schedule.build import build_program
from lspsim.simulate.reference import run_reference
from lspsim.simulate.reference_log import EventLog
from lspsim.workload import Workload

_THREADS = {lane: i for i, lane in enumerate(LANE_LABELS)}
_CHIP = 0
"""Process of the whole chip; core c is process c + 1."""


def trace(workload: Workload, hardware: Hardware, window: Window | None = None) -> Timeline:
    """Play a workload on the reference engine and return its timeline.

    Parameters
    ----------
    workload, hardware
        What to run, on what.
    window
        A layer or a stretch of time; default: the whole run.

    Raises
    ------
    ScheduleError
        When the workload does not fit the hardware.
    ResultError
        When the window is empty or names an unknown layer.
    """
    program = build_program(workload, hardware)
    log = EventLog()
    timing = run_reference(program, log)
    return timeline(program, timing, log, workload, hardware, window)


def write_trace(data: Timeline, path: Path) -> None:
    """Write a timeline as gzipped JSON; the same timeline gives the same bytes.

    Viewers round to nanoseconds.

    Raises
    ------
    ResultError
        When the file cannot be written.
    """
    with (
        whole_file(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text,
    ):
        text.write('{"displayTimeUnit": "ns",\n')
        about = {
            "model": data.model,
            "hardware": data.hardware,
            "clock_hz": data.clock_hz,
            "window_cycles": [data.start, data.end],
        }
        text.write(f'"otherData": {json.dumps(about)},\n"traceEvents": [\n')
        for i, event in enumerate(events(data)):
            text.write(("" if i == 0 else ",\n") + json.dumps(event, separators=(",", ":")))
        text.write("\n]}\n")


def events(data: Timeline) -> Iterator[dict[str, Any]]:
    """Yield the trace events of a timeline."""
    yield from _names(data)
    for span in data.spans:
        yield {
            "ph": "X",
            "pid": span.core + 1,
            "tid": _THREADS[span.lane],
            "name": span.layer,
            "ts": _us(span.start, data.clock_hz),
            "dur": _us(span.end - span.start, data.clock_hz),
            "args": _arguments(span),
        }
    for counter in data.counters:
        for cycle, value in zip(counter.cycles, counter.values, strict=True):
            yield {
                "ph": "C",
                "pid": counter.core + 1,
                "name": f"{counter.name} ({counter.unit})",
                "ts": _us(cycle, data.clock_hz),
                "args": {counter.unit: value},
            }


def _names(data: Timeline) -> Iterator[dict[str, Any]]:
    """Yield the metadata: which process is which core, which thread which lane."""
    processes = [(_CHIP, f"{data.model} on {data.hardware}")]
    processes += [(core + 1, f"core {core}") for core in range(data.cores)]
    for pid, title in processes:
        yield _metadata("process_name", pid, 0, {"name": title})
        yield _metadata("process_sort_index", pid, 0, {"sort_index": pid})
    for core, lane in sorted({(s.core, s.lane) for s in data.spans}, key=_lane_order):
        thread = _THREADS[lane]
        yield _metadata("thread_name", core + 1, thread, {"name": LANE_LABELS[lane]})
        yield _metadata("thread_sort_index", core + 1, thread, {"sort_index": thread})


def _lane_order(lane: tuple[int, str]) -> tuple[int, int]:
    return lane[0], _THREADS[lane[1]]


def _metadata(name: str, pid: int, tid: int, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "M", "pid": pid, "tid": tid, "name": name, "args": arguments}


def _arguments(span: Span) -> dict[str, int]:
    """Return what a viewer shows when a span is selected."""
    found = {"start_cycle": span.start, "cycles": span.end - span.start}
    if span.visit >= 0:
        found["visit"] = span.visit
    return found


def _us(cycles: int, clock_hz: int) -> float:
    """Cycles as microseconds."""
    return cycles * 1_000_000 / clock_hz

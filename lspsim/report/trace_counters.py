"""Counters of a timeline: bytes waiting in the buffers, DRAM throughput."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lspsim.hardware import Hardware
from lspsim.schedule.program import ACTIVATIONS, WEIGHTS, WRITEBACK, Program
from lspsim.simulate.reference_log import ARRAY, SHIFT, VECTOR, EventLog
from lspsim.simulate.reference_visits import Visit, visits_of

BINS = 400
"""Intervals over which DRAM throughput is averaged."""

WEIGHT_FIFO = "weight FIFO"
ACTIVATION_HALVES = "streamed activations"
DRAM = "DRAM"


@dataclass(frozen=True, slots=True)
class Counter:
    """A stepwise value: `values[i]` holds from cycle `cycles[i]` on."""

    name: str
    unit: str
    core: int
    """-1 for the whole chip."""
    cycles: tuple[int, ...]
    values: tuple[float, ...]


def counters_of(
    program: Program, log: EventLog, hardware: Hardware, start: int, end: int
) -> tuple[Counter, ...]:
    """Return the counters of `[start, end)`.

    Weight FIFO: whole tiles between the end of their transfer and the cycle in
    which their slot is free again. Streamed activations: bytes between the end of
    their transfer and the last use of their buffer half; a program knows transfers
    by channel time, so bytes are time x effective bandwidth. DRAM: the same, per
    second, over `BINS` intervals. Counters that stay 0 are left out.
    """
    rates = bytes_per_cycle(hardware)
    counters = [_dram(log, rates, hardware.clock_hz, start, end)]
    for core in range(program.cores):
        visits = visits_of(program, core)
        weights = _weight_steps(program, log, core, visits, hardware.weight_tile_bytes)
        counters.append(_steps(WEIGHT_FIFO, core, weights, start, end))
        activations = _activation_steps(program, log, core, visits, rates[ACTIVATIONS])
        counters.append(_steps(ACTIVATION_HALVES, core, activations, start, end))
    return tuple(counter for counter in counters if any(counter.values))


def bytes_per_cycle(hardware: Hardware) -> tuple[float, float, float]:
    """Return the effective bandwidth of the request classes, in bytes per cycle."""
    dram, shares = hardware.memory.dram, hardware.memory.shares
    whole = float(dram.bandwidth_bytes_per_s * dram.efficiency / hardware.clock_hz)
    if hardware.memory.channels == "shared" or shares is None:
        return whole, whole, whole
    return (
        whole * float(shares.weights),
        whole * float(shares.activations),
        whole * float(shares.writeback),
    )


def _dram(
    log: EventLog, rates: tuple[float, float, float], clock_hz: int, start: int, end: int
) -> Counter:
    """Average throughput of all channels per interval, in GB/s."""
    edges = np.unique(np.linspace(start, end, BINS + 1).round().astype(np.int64))
    lanes = np.asarray(log.lane, np.int64)
    moved = np.zeros(len(edges), np.float64)
    for request in (WEIGHTS, ACTIVATIONS, WRITEBACK):
        mine = lanes == request
        begins = np.asarray(log.start, np.int64)[mine]
        ends = np.asarray(log.end, np.int64)[mine]
        moved += _busy_before(edges, begins, ends) * rates[request]
    throughput = np.diff(moved) / np.diff(edges) * clock_hz / 1e9
    return Counter(
        DRAM,
        "GB/s",
        -1,
        tuple(edges.tolist()),
        (*(round(value, 6) for value in throughput.tolist()), 0.0),
    )


def _busy_before(
    times: NDArray[np.int64], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return, per time, the cycles that intervals (any order) spend before it, summed."""

    def elapsed(points: NDArray[np.int64]) -> NDArray[np.float64]:
        ordered = np.sort(points)
        sums = np.concatenate([[0], np.cumsum(ordered)])
        before = np.searchsorted(ordered, times)
        total: NDArray[np.float64] = (times * before - sums[before]).astype(np.float64)
        return total

    return elapsed(begins) - elapsed(ends)


def _weight_steps(
    program: Program, log: EventLog, core: int, visits: list[Visit], tile_bytes: int
) -> list[tuple[int, float]]:
    """Return (cycle, change in bytes) of one core's weight FIFO."""
    frees_on = ARRAY if program.output_stationary else SHIFT
    changes: list[tuple[int, float]] = []
    for lane, owner, visit, end in zip(log.lane, log.core, log.visit, log.end, strict=True):
        if owner != core:
            continue
        if lane == WEIGHTS:
            changes.append((end, float(tile_bytes)))
        elif lane == frees_on and visits[visit].held and visits[visit].release:
            tiles = visits[visit].held if program.output_stationary else 1
            changes.append((end, -float(tiles * tile_bytes)))
    return changes


def _activation_steps(
    program: Program, log: EventLog, core: int, visits: list[Visit], rate: float
) -> list[tuple[int, float]]:
    """Return (cycle, change in bytes) of one core's streaming buffer.

    Transfers up to a visit's last need are in use until the last visit with that
    need is through.
    """
    consumed: dict[int, int] = defaultdict(int)
    for lane, owner, visit, end in zip(log.lane, log.core, log.visit, log.end, strict=True):
        if owner == core and lane in (ARRAY, VECTOR) and visits[visit].needs:
            vector_visit = visits[visit].is_vector
            if vector_visit == (lane == VECTOR):
                last = visits[visit].needs[-1]
                behind = 0 if vector_visit else program.read_behind_cycles
                consumed[last] = max(consumed[last], end + behind)
    changes: list[tuple[int, float]] = []
    held = 0.0
    transfer = 0
    for lane, owner, start, end in zip(log.lane, log.core, log.start, log.end, strict=True):
        if owner != core or lane != ACTIVATIONS:
            continue
        size = (end - start) * rate
        changes.append((end, size))
        held += size
        if transfer in consumed:
            changes.append((consumed[transfer], -held))
            held = 0.0
        transfer += 1
    return changes


def _steps(
    name: str, core: int, changes: Iterable[tuple[int, float]], start: int, end: int
) -> Counter:
    """Sum changes to a stepwise value in bytes, within `[start, end)`."""
    by_cycle: dict[int, float] = defaultdict(float)
    for cycle, change in changes:
        by_cycle[max(cycle, start)] += change
    level = 0.0
    cycles: list[int] = []
    values: list[float] = []
    for cycle in sorted(by_cycle):
        if cycle >= end:
            break
        level += by_cycle[cycle]
        cycles.append(cycle)
        values.append(round(level, 3) + 0.0)
    return Counter(name, "bytes", core, tuple(cycles), tuple(values))

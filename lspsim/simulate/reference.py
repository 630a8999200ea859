"""The slow, obvious engine: SimPy processes that play a `Program` as docs/model.md defines it.

It shares nothing with the fast engine but the `Program`, and checks it as
an oracle. Read it beside docs/model.md, section "Programs": the names are the same.
Every core runs, through the whole program, one process that fetches weight tiles
and one that streams activations; and per segment the array, the vector unit and the
write-back. Whatever one process waits for is an event that another one signals;
the event's value is the cycle in which it happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import simpy
from simpy.events import ProcessGenerator

from lspsim.errors import ScheduleError
from lspsim.schedule.program import (
    ACTIVATIONS,
    DOUBLE,
    SINGLE,
    WEIGHTS,
    WRITEBACK,
    Program,
    Timing,
)
from lspsim.simulate.reference_channel import Channel
from lspsim.simulate.reference_log import ARRAY, LANES, SHIFT, VECTOR, EventLog
from lspsim.simulate.reference_visits import Visit, activation_transfers_of, visits_of

__all__ = ["LANES", "EventLog", "run_reference"]


def run_reference(program: Program, log: EventLog | None = None) -> Timing:
    """Play a program on SimPy.

    Parameters
    ----------
    program
        What to run.
    log
        Where to append the busy intervals; None = keep none.

    Returns
    -------
    Timing
        In cycles, `[segments]` and `[segments, cores]`.

    Raises
    ------
    ScheduleError
        When the program waits for itself, e.g. for more tiles at once than the
        FIFO has slots; it names who waits for what.
    """
    return _Chip(program, EventLog() if log is None else log).run()


class _Chip:
    """The cores, their channels and the barrier between segments."""

    def __init__(self, program: Program, log: EventLog) -> None:
        self.program = program
        self.log = log
        self.env = simpy.Environment()
        segments = len(program.segment_op)
        self.started = [self.env.event() for _ in range(segments)]
        self.timing = _zero_timing(segments, program.cores)
        one = Channel(self.env)
        self.channels = [one if program.shared_channel else Channel(self.env) for _ in range(3)]
        self.waiting: dict[tuple[int, str], str] = {}
        self.cores = [_Core(self, core) for core in range(program.cores)]

    def run(self) -> Timing:
        finished = self.env.process(self.play_segments())
        while not finished.processed:
            if self.env.peek() == float("inf"):
                raise self.deadlock()
            self.env.step()
        return self.timing

    def play_segments(self) -> ProcessGenerator:
        for segment, started in enumerate(self.started):
            started.succeed()
            yield self.env.all_of([self.env.process(core.play(segment)) for core in self.cores])
            yield self.env.timeout(int(self.program.segment_gather_cycles[segment]))
            self.timing.end[segment] = self.env.now

    def deadlock(self) -> ScheduleError:
        segment = sum(started.triggered for started in self.started) - 1
        waiting = sorted(self.waiting.items())
        waits = "; ".join(f"core {core} {who} waits for {what}" for (core, who), what in waiting)
        return ScheduleError(
            f"segment {segment} (operator {int(self.program.segment_op[segment])}) cannot go on "
            f"after cycle {self.env.now}: {waits}. The program waits for itself; give it more "
            f"than {self.program.fifo_slots} FIFO slots or a larger activation buffer"
        )


class _Core:
    """One core: its queues, its units, and the moments that they signal to each other."""

    def __init__(self, chip: _Chip, index: int) -> None:
        self.chip = chip
        self.env = chip.env
        self.program = chip.program
        self.index = index
        self.visits = visits_of(chip.program, index)
        self.visits_by_segment: dict[int, list[Visit]] = {}
        for visit in self.visits:
            self.visits_by_segment.setdefault(visit.segment, []).append(visit)
        self.act_transfers = activation_transfers_of(chip.program, index)

        tiles = range(sum(visit.acquire for visit in self.visits))
        self.tile_arrived = [self.env.event() for _ in tiles]
        self.slot_free = [self.env.event() for _ in tiles]
        self.act_arrived = [self.env.event() for _ in self.act_transfers]
        self.consumed = [self.env.event() for _ in self.visits]
        self.done = [self.env.event() for _ in self.visits]
        self.vector_end = [self.env.event() for _ in self.visits]
        self.written = [self.env.event() for _ in self.visits]

        self.env.process(self.fetch_weights())
        self.env.process(self.fetch_activations())

    @property
    def now(self) -> int:
        """The current cycle."""
        return int(self.env.now)

    # ---- the two queues that run through the whole program ----

    def fetch_weights(self) -> ProcessGenerator:
        p = self.program
        for visit in self.visits:
            may_run_ahead = p.prefetch and p.segment_prefetchable[visit.segment]
            for i in range(visit.acquire):
                k = visit.base + i
                if k >= p.fifo_slots:
                    what = f"the slot of tile transfer {k - p.fifo_slots} to be freed"
                    yield from self.wait("weight DMA", self.slot_free[k - p.fifo_slots], what)
                if not may_run_ahead:
                    yield self.chip.started[visit.segment]
                cycles = int(p.segment_tile_cycles[visit.segment])
                cycles += visit.header if i == 0 else 0
                yield from self.transfer(WEIGHTS, visit.segment, visit.index, cycles)
                self.signal_in(p.latency_cycles, self.tile_arrived[k])

    def fetch_activations(self) -> ProcessGenerator:
        for k, transfer in enumerate(self.act_transfers):
            yield self.chip.started[transfer.segment]
            if transfer.after_visit is not None:
                what = f"visit {transfer.after_visit} to free its half of the activation buffer"
                yield from self.wait("activation DMA", self.consumed[transfer.after_visit], what)
            yield from self.transfer(ACTIVATIONS, transfer.segment, -1, transfer.cycles)
            self.signal_in(self.program.latency_cycles, self.act_arrived[k])

    # ---- one segment ----

    def play(self, segment: int) -> ProcessGenerator:
        """Run the core's visits of one segment; end with its last result and write-back."""
        timing, here = self.chip.timing, (segment, self.index)
        t0 = self.now
        visits = self.visits_by_segment.get(segment, [])
        worked = [visit for visit in visits if visit.is_vector or visit.vector > 0]
        write_back = self.env.process(self.write_back(visits))
        if any(visit.is_vector for visit in visits):
            yield self.env.process(self.run_vector_visits(visits))
            array_end = t0
        else:
            vector = self.env.process(self.run_fused_vector(worked))
            yield self.env.process(self.run_array(visits))
            array_end = self.now if any(visit.folds for visit in visits) else t0
            timing.array_cycles[here] = self.array_cycles_alone(visits)
            yield vector
        vector_end = _when(self.vector_end[worked[-1].index]) if worked else array_end
        yield write_back
        timing.core_end[here] = self.now
        if not any(visit.is_vector for visit in visits):
            timing.vector[here] += max(0, vector_end - array_end)
        timing.stall_writeback[here] += self.now - max(array_end, vector_end)

    def run_array(self, visits: Sequence[Visit]) -> ProcessGenerator:
        """Run the folds; end when the last result has left the array."""
        for visit in visits:
            if visit.folds == 0:
                self.done[visit.index].succeed(self.now)
        folds = self.output_stationary if self.program.output_stationary else self.weight_stationary
        yield from folds(visits)
        worked = [visit for visit in visits if visit.folds > 0]
        if worked:
            yield self.done[worked[-1].index]

    def weight_stationary(self, visits: Sequence[Visit]) -> ProcessGenerator:
        """Folds of WS and IS: shift a tile in from `w`, stream the rows from `s`."""
        p = self.program
        w_base = self.now
        s_end = self.now
        for visit in visits:
            for i in range(visit.folds):
                s_base = max(w_base + p.rows, s_end)
                yield from self.until(w_base)
                tile = self.tile_arrived[visit.base + i] if visit.held else None
                yield from self.wait_for_tile(visit, visit.base + i, tile)
                w = self.now
                yield self.env.timeout(p.rows)
                if visit.held and visit.release:
                    self.slot_free[visit.base + i].succeed(self.now)
                yield from self.until(s_end)
                yield from self.wait_for_activations(visit, i)
                if i == 0:
                    yield from self.wait_for_bank(visit)
                s = self.now
                self.record(SHIFT, visit.segment, visit.index, w, w + p.rows)
                weights = _when(tile) + p.rows if tile is not None else None
                self.start_fold(visit, i, s_base, weights)
                s_end = s + visit.length
                if p.overlap == DOUBLE:
                    w_base = max(s, w + p.rows)
                elif p.overlap == SINGLE:
                    w_base = max(s_end, w + p.rows)
                else:
                    w_base = s_end + p.rows + p.cols - 2

    def output_stationary(self, visits: Sequence[Visit]) -> ProcessGenerator:
        """Folds of OS: weights and activations stream together from `s`."""
        p = self.program
        s_end: int | None = None
        for visit in visits:
            for i in range(visit.folds):
                if s_end is None:
                    s_base = self.now
                elif p.overlap == DOUBLE:
                    s_base = s_end + max(0, p.rows - visit.length)
                else:
                    s_base = s_end + p.rows + p.cols - 2
                yield from self.until(s_base)
                last = visit.base + visit.held - 1
                tile = self.tile_arrived[last] if visit.held else None
                yield from self.wait_for_tile(visit, last, tile)
                yield from self.wait_for_activations(visit, i)
                yield from self.wait_for_bank(visit)
                self.start_fold(visit, i, s_base, _when(tile) if tile is not None else None)
                s_end = self.now + visit.length
                if visit.release:
                    for k in range(visit.base, visit.base + visit.held):
                        self.signal_in(visit.length, self.slot_free[k])

    def start_fold(self, visit: Visit, fold: int, s_base: int, weights: int | None) -> None:
        """Stream a fold's rows from now on; attribute its wait.

        `weights` is when its tile alone would have let it start; None = not waited for.
        """
        p, timing, here = self.program, self.chip.timing, (visit.segment, self.index)
        s = self.now
        timing.compute[here] += visit.length
        self.record(ARRAY, visit.segment, visit.index, s, s + visit.length)
        if fold == visit.folds - 1:
            read = visit.length + p.read_behind_cycles
            self.signal_in(read, self.consumed[visit.index])
            self.signal_in(visit.length + p.rows + p.cols, self.done[visit.index])
        if s == s_base:
            return
        wait = s - s_base
        if weights == s:
            index = min(wait, visit.header) if fold == 0 else 0
            timing.index[here] += index
            timing.stall_weights[here] += wait - index
        elif visit.needs and _when(self.act_arrived[visit.needs[fold]]) == s:
            timing.stall_activations[here] += wait
        else:
            timing.stall_writeback[here] += wait

    def run_vector_visits(self, visits: Sequence[Visit]) -> ProcessGenerator:
        """Visits of a vector operator, one after the other."""
        timing = self.chip.timing
        for visit in visits:
            here = (visit.segment, self.index)
            could_start = self.now
            yield from self.wait_for_activations(visit, 0)
            yield from self.wait_for_bank(visit)
            start = self.now
            if start > could_start:
                if visit.needs and _when(self.act_arrived[visit.needs[0]]) == start:
                    timing.stall_activations[here] += start - could_start
                else:
                    timing.stall_writeback[here] += start - could_start
            yield from self.work_vector(visit)
            timing.vector[here] += visit.vector
            self.consumed[visit.index].succeed(self.now)

    def run_fused_vector(self, visits: Sequence[Visit]) -> ProcessGenerator:
        """Elementwise operators behind the array: results are served in visit order."""
        for visit in visits:
            yield from self.wait("vector unit", self.done[visit.index], f"visit {visit.index}")
            yield from self.work_vector(visit)

    def work_vector(self, visit: Visit) -> ProcessGenerator:
        start = self.now
        yield self.env.timeout(visit.vector)
        self.record(VECTOR, visit.segment, visit.index, start, self.now)
        self.vector_end[visit.index].succeed(self.now)

    def write_back(self, visits: Sequence[Visit]) -> ProcessGenerator:
        """Write every visit's result, in order: channel, then drain. Posted: no latency."""
        for visit in visits:
            worked = visit.is_vector or visit.vector > 0
            ready = self.vector_end[visit.index] if worked else self.done[visit.index]
            yield from self.wait("write-back DMA", ready, f"the result of visit {visit.index}")
            if visit.writeback_request > 0:
                yield from self.transfer(
                    WRITEBACK, visit.segment, visit.index, visit.writeback_request
                )
            yield self.env.timeout(visit.drain)
            self.written[visit.index].succeed(self.now)

    def array_cycles_alone(self, visits: Sequence[Visit]) -> int:
        """Cycles of the segment's folds on this core when everything is ready."""
        p = self.program
        r, c = p.rows, p.cols
        end: int | None = None  # s + L of the previous fold
        s = 0
        for visit in visits:
            for _ in range(visit.folds):
                if p.output_stationary:
                    gap = max(0, r - visit.length) if p.overlap == DOUBLE else r + c - 2
                    s = 0 if end is None else end + gap
                elif end is None:
                    s = r
                elif p.overlap == DOUBLE:
                    s = max(s + r, end)
                elif p.overlap == SINGLE:
                    s = end + r
                else:
                    s = end + r + c - 2 + r
                end = s + visit.length
        return 0 if end is None else end + r + c

    # ---- waiting and signalling ----

    def wait(self, who: str, event: simpy.Event, what: str) -> ProcessGenerator:
        """Wait for an event, and say so if it never comes."""
        self.chip.waiting[self.index, who] = what
        yield event
        del self.chip.waiting[self.index, who]

    def wait_for_tile(self, visit: Visit, k: int, tile: simpy.Event | None) -> ProcessGenerator:
        if tile is not None:
            yield from self.wait("array", tile, f"tile transfer {k} (visit {visit.index})")

    def wait_for_activations(self, visit: Visit, i: int) -> ProcessGenerator:
        if visit.needs:
            k = visit.needs[i]
            what = f"activation transfer {k} (visit {visit.index})"
            yield from self.wait(_worker(visit), self.act_arrived[k], what)

    def wait_for_bank(self, visit: Visit) -> ProcessGenerator:
        if visit.bank_freed_by is not None:
            what = f"the write-back of visit {visit.bank_freed_by}"
            yield from self.wait(_worker(visit), self.written[visit.bank_freed_by], what)

    def until(self, time: int) -> ProcessGenerator:
        if time > self.now:
            yield self.env.timeout(time - self.now)

    def signal_in(self, delay: int, event: simpy.Event) -> None:
        """Let `event` happen in `delay` cycles."""
        self.env.process(self._signal_in(delay, event))

    def _signal_in(self, delay: int, event: simpy.Event) -> ProcessGenerator:
        yield self.env.timeout(delay)
        event.succeed(self.now)

    def transfer(self, lane: int, segment: int, visit: int, cycles: int) -> ProcessGenerator:
        """Hold the channel of the request's class for `cycles`."""
        start: int = yield self.chip.channels[lane].request(lane, self.index, cycles)
        self.record(lane, segment, visit, start, self.now)

    def record(self, lane: int, segment: int, visit: int, start: int, end: int) -> None:
        self.chip.log.add(lane, self.index, segment, visit, start, end)


def _when(event: simpy.Event) -> int:
    """Return the cycle in which a signalled event happened."""
    return cast(int, event.value)


def _worker(visit: Visit) -> str:
    return "vector unit" if visit.is_vector else "array"


def _zero_timing(segments: int, cores: int) -> Timing:
    def zeros() -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return np.zeros((segments, cores), np.int64)

    return Timing(
        end=np.zeros(segments, np.int64),
        core_end=zeros(),
        array_cycles=zeros(),
        compute=zeros(),
        stall_weights=zeros(),
        stall_activations=zeros(),
        stall_writeback=zeros(),
        index=zeros(),
        vector=zeros(),
    )

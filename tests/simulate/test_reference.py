"""The SimPy reference against closed forms and programs traced by hand."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from lspsim.errors import ScheduleError
from lspsim.schedule.program import (
    ACTIVATIONS,
    DOUBLE,
    SERIAL,
    SINGLE,
    WEIGHTS,
    WRITEBACK,
    Program,
    Timing,
)
from lspsim.simulate.reference import LANES, EventLog, run_reference
from lspsim.simulate.reference_log import ARRAY, SHIFT, VECTOR
from tests.simulate.program_cases import (
    ActCase,
    ChipCase,
    CoreCase,
    SegmentCase,
    VisitCase,
    first_difference,
    make_program,
    random_program,
)

R, C = 4, 3
CHIP = ChipCase(rows=R, cols=C)


def play(
    chip: ChipCase, segments: list[SegmentCase], *cores: CoreCase
) -> tuple[Timing, list[tuple[int, ...]]]:
    """Run; return the timing and the intervals (lane, core, segment, visit, start, end)."""
    log = EventLog()
    timing = run_reference(make_program(chip, segments, cores), log)
    rows = zip(log.lane, log.core, log.segment, log.visit, log.start, log.end, strict=True)
    return timing, sorted(rows)


def spans(
    intervals: list[tuple[int, ...]], lane: int, core: int | None = None
) -> list[tuple[int, int]]:
    return [(i[4], i[5]) for i in intervals if i[0] == lane and core in (None, i[1])]


def buckets(timing: Timing, segment: int = 0, core: int = 0) -> dict[str, int]:
    names = ("stall_weights", "stall_activations", "stall_writeback", "index", "vector")
    values = {name: int(getattr(timing, name)[segment, core]) for name in names}
    return {name: value for name, value in values.items() if value}


# ---- closed forms: everything ready ------------------------------------------------------

SHAPES = [(1, 1, 1, 1), (3, 4, 2, 5), (7, 4, 9, 2), (2, 5, 5, 1), (5, 6, 3, 40), (9, 1, 7, 3)]
"""Folds, rows, columns, streamed rows."""


def ideal(shape: tuple[int, int, int, int], overlap: int, os: bool, visits: int = 1) -> Timing:
    n, rows, cols, length = shape
    chip = ChipCase(rows, cols, output_stationary=os, overlap=overlap, ideal=True)
    folds = 1 if os else n
    count = n if os else visits
    core = CoreCase([VisitCase(folds=folds, length=length, writeback=9, drain=9)] * count)
    return run_reference(make_program(chip, [SegmentCase(tile_cycles=5)], [core]))


@pytest.mark.parametrize("shape", SHAPES)
class TestClosedForms:
    """Cycles of n folds of M rows on an R x C array."""

    def test_double_buffered(self, shape: tuple[int, int, int, int]) -> None:
        n, rows, cols, m = shape
        expected = n * max(m, rows) + min(m, rows) + rows + cols
        timing = ideal(shape, DOUBLE, os=False)
        assert timing.end[0] == timing.array_cycles[0, 0] == expected
        assert timing.compute[0, 0] == n * m
        assert buckets(timing) == {}

    def test_single_buffered(self, shape: tuple[int, int, int, int]) -> None:
        n, rows, cols, m = shape
        timing = ideal(shape, SINGLE, os=False)
        assert timing.end[0] == timing.array_cycles[0, 0] == n * (m + rows) + rows + cols

    def test_serial(self, shape: tuple[int, int, int, int]) -> None:
        n, rows, cols, m = shape
        timing = ideal(shape, SERIAL, os=False)
        expected = n * (2 * rows + cols + m - 2) + 2
        assert timing.end[0] == timing.array_cycles[0, 0] == expected

    def test_split_into_visits_changes_nothing(self, shape: tuple[int, int, int, int]) -> None:
        n, rows, cols, m = shape
        timing = ideal(shape, DOUBLE, os=False, visits=3)
        assert timing.end[0] == 3 * n * max(m, rows) + min(m, rows) + rows + cols

    def test_output_stationary_double(self, shape: tuple[int, int, int, int]) -> None:
        n, rows, cols, k = shape
        timing = ideal(shape, DOUBLE, os=True)
        expected = k + (n - 1) * max(k, rows) + rows + cols
        assert timing.end[0] == timing.array_cycles[0, 0] == expected

    def test_output_stationary_serial(self, shape: tuple[int, int, int, int]) -> None:
        n, rows, cols, k = shape
        timing = ideal(shape, SERIAL, os=True)
        assert timing.end[0] == timing.array_cycles[0, 0] == n * (rows + cols + k - 2) + 2


def test_output_stationary_columns_of_different_length() -> None:
    lengths = [2, 9, 1, 4, 6]
    chip = replace(CHIP, output_stationary=True, ideal=True)
    core = CoreCase([VisitCase(folds=1, length=k) for k in lengths])
    timing = run_reference(make_program(chip, [SegmentCase()], [core]))
    assert timing.end[0] == lengths[0] + sum(max(k, R) for k in lengths[1:]) + R + C


# ---- traced by hand --------------------------------------------------------------------

TWO_FOLDS = VisitCase(folds=2, length=5, acquire=2, held=2)


def test_weights_late() -> None:
    chip = replace(CHIP, latency_cycles=2)
    timing, intervals = play(chip, [SegmentCase(tile_cycles=10)], CoreCase([TWO_FOLDS]))
    assert spans(intervals, WEIGHTS) == [(0, 10), (10, 20)]
    assert spans(intervals, SHIFT) == [(12, 16), (22, 26)]
    assert spans(intervals, ARRAY) == [(16, 21), (26, 31)]
    assert timing.end[0] == 31 + R + C
    assert buckets(timing) == {"stall_weights": 12 + 5}
    assert timing.array_cycles[0, 0] == 2 * 5 + R + R + C


def test_header_rides_on_the_first_tile_and_is_index() -> None:
    chip = replace(CHIP, latency_cycles=2)
    visit = replace(TWO_FOLDS, header=3)
    timing, intervals = play(chip, [SegmentCase(tile_cycles=10)], CoreCase([visit]))
    assert spans(intervals, WEIGHTS) == [(0, 13), (13, 23)]
    assert timing.end[0] == 41
    assert buckets(timing) == {"index": 3, "stall_weights": 12 + 5}


def test_a_short_wait_is_all_index() -> None:
    visits = [VisitCase(folds=1, length=20, acquire=1, held=1), replace(TWO_FOLDS, header=30)]
    timing, intervals = play(CHIP, [SegmentCase(tile_cycles=1)], CoreCase(visits))
    assert spans(intervals, WEIGHTS) == [(0, 1), (1, 32), (32, 33)]
    assert spans(intervals, ARRAY)[:2] == [(5, 25), (36, 41)]
    assert buckets(timing) == {"stall_weights": 1, "index": 11}


def test_one_slot_is_fetched_after_the_tile_before_was_shifted() -> None:
    chip = replace(CHIP, latency_cycles=2, fifo_slots=1)
    timing, intervals = play(chip, [SegmentCase(tile_cycles=10)], CoreCase([TWO_FOLDS]))
    assert spans(intervals, WEIGHTS) == [(0, 10), (16, 26)]
    assert spans(intervals, SHIFT) == [(12, 16), (28, 32)]
    assert timing.end[0] == 32 + 5 + R + C


def test_held_tiles_are_fetched_once_and_freed_by_the_last_chunk() -> None:
    chip = replace(CHIP, fifo_slots=2)
    column = [
        VisitCase(folds=1, length=6, acquire=1, held=1, release=0),
        VisitCase(folds=1, length=6, held=1, release=0),
        VisitCase(folds=1, length=6, held=1, release=1),
    ]
    others = [VisitCase(folds=1, length=6, acquire=1, held=1)] * 2
    _, intervals = play(chip, [SegmentCase(tile_cycles=1)], CoreCase([*column, *others]))
    shifts = spans(intervals, SHIFT)
    assert len(shifts) == 5
    assert spans(intervals, WEIGHTS) == [(0, 1), (1, 2), (shifts[2][1], shifts[2][1] + 1)]


def test_output_stationary_needs_all_slices_and_frees_them_after_its_stream() -> None:
    chip = replace(CHIP, output_stationary=True, fifo_slots=3, latency_cycles=1)
    visits = [VisitCase(folds=1, length=9, acquire=3, held=3)] * 2
    timing, intervals = play(chip, [SegmentCase(tile_cycles=10)], CoreCase(visits))
    assert spans(intervals, ARRAY) == [(31, 40), (71, 80)]
    assert spans(intervals, WEIGHTS)[3:] == [(40, 50), (50, 60), (60, 70)]
    assert buckets(timing) == {"stall_weights": 31 + 31}
    assert timing.end[0] == 80 + R + C


@pytest.mark.parametrize(("prefetch", "stored"), [(True, 1), (True, 0), (False, 1), (False, 0)])
def test_only_stored_weights_run_ahead_of_their_segment(prefetch: bool, stored: int) -> None:
    chip = replace(CHIP, prefetch=prefetch)
    visits = [replace(TWO_FOLDS, length=30), replace(TWO_FOLDS, segment=1)]
    segments = [SegmentCase(tile_cycles=2), SegmentCase(tile_cycles=2, prefetchable=stored)]
    timing, intervals = play(chip, segments, CoreCase(visits))
    ahead = prefetch and stored
    assert spans(intervals, WEIGHTS)[2][0] == (4 if ahead else timing.end[0])
    assert spans(intervals, SHIFT)[2][0] == timing.end[0] + (0 if ahead else 2)


def test_ties_are_served_by_class_then_core() -> None:
    chip = replace(CHIP, shared_channel=True)
    visit = VisitCase(folds=1, length=1, acquire=1, held=1, needs=[0])
    cores = [CoreCase([visit], [ActCase(cycles=5)]) for _ in range(2)]
    _, intervals = play(chip, [SegmentCase(tile_cycles=10)], *cores)
    assert spans(intervals, WEIGHTS, 0) == [(0, 10)]
    assert spans(intervals, WEIGHTS, 1) == [(10, 20)]
    assert spans(intervals, ACTIVATIONS, 0) == [(20, 25)]
    assert spans(intervals, ACTIVATIONS, 1) == [(25, 30)]


def test_an_earlier_request_goes_before_a_higher_class() -> None:
    chip = replace(CHIP, shared_channel=True)
    cores = [
        CoreCase([VisitCase(folds=2, length=1, acquire=2, held=2)]),
        CoreCase([VisitCase(writeback=7)] * 2),
    ]
    _, intervals = play(chip, [SegmentCase(tile_cycles=10)], *cores)
    # At 0 the weights win; at 10 their next tile is younger than the write-back of 0;
    # at 17 the next write-back is younger than that tile.
    assert spans(intervals, WEIGHTS) == [(0, 10), (17, 27)]
    assert spans(intervals, WRITEBACK) == [(10, 17), (27, 34)]


def test_separate_channels_do_not_meet() -> None:
    visit = VisitCase(folds=1, length=1, acquire=1, held=1, needs=[0])
    cores = [CoreCase([visit], [ActCase(cycles=5)]) for _ in range(2)]
    timing, intervals = play(CHIP, [SegmentCase(tile_cycles=10)], *cores)
    assert spans(intervals, ACTIVATIONS) == [(0, 5), (5, 10)]
    assert spans(intervals, WEIGHTS) == [(0, 10), (10, 20)]
    assert list(timing.stall_weights[0]) == [10, 20]


def test_the_last_arriver_gets_the_whole_wait() -> None:
    visit = VisitCase(folds=1, length=1, acquire=1, held=1, needs=[0])
    act = ActCase(cycles=17)
    timing, _ = play(CHIP, [SegmentCase(tile_cycles=10)], CoreCase([visit], [act]))
    assert buckets(timing) == {"stall_activations": 17 - R}
    timing, _ = play(CHIP, [SegmentCase(tile_cycles=13)], CoreCase([visit], [act]))
    assert buckets(timing) == {"stall_weights": 13}, "a tie goes to the weights: 13 + R = 17"


def test_two_banks_and_the_tail() -> None:
    visits = [VisitCase(folds=1, length=1, writeback=20)] * 3
    timing, intervals = play(CHIP, [SegmentCase()], CoreCase(visits))
    assert spans(intervals, ARRAY) == [(4, 5), (8, 9), (32, 33)]
    assert spans(intervals, WRITEBACK) == [(12, 32), (32, 52), (52, 72)]
    assert buckets(timing) == {"stall_writeback": 20 + (72 - 40)}
    assert timing.end[0] == timing.core_end[0, 0] == 72


def test_empty_visits_take_no_bank() -> None:
    full, empty = VisitCase(folds=1, length=1, drain=20), VisitCase()
    timing, intervals = play(CHIP, [SegmentCase()], CoreCase([full, empty, empty, full]))
    assert spans(intervals, ARRAY) == [(4, 5), (8, 9)]
    assert timing.end[0] == 12 + 20 + 20


def test_drain_holds_the_bank_without_the_channel() -> None:
    visits = [VisitCase(folds=1, length=1, drain=20)] * 3
    timing, intervals = play(CHIP, [SegmentCase()], CoreCase(visits))
    assert spans(intervals, WRITEBACK) == []
    assert spans(intervals, ARRAY)[2] == (32, 33)
    assert timing.end[0] == 72


def test_fused_vector_serves_in_order_before_the_write_back() -> None:
    visits = [VisitCase(folds=1, length=1, vector=10, writeback=3, drain=2)] * 2
    timing, intervals = play(CHIP, [SegmentCase()], CoreCase(visits))
    assert spans(intervals, VECTOR) == [(12, 22), (22, 32)]
    assert spans(intervals, WRITEBACK) == [(22, 25), (32, 35)]
    assert buckets(timing) == {"vector": 32 - 16, "stall_writeback": 5}
    assert timing.end[0] == 37


def test_an_empty_column_writes_its_header_and_result_at_once() -> None:
    visits = [VisitCase(header=3, writeback=5), VisitCase(header=3), VisitCase(folds=1, length=1)]
    timing, intervals = play(CHIP, [SegmentCase()], CoreCase(visits))
    assert spans(intervals, WRITEBACK) == [(0, 8), (8, 11)]
    assert timing.end[0] == 12


def test_streamed_vector_operator() -> None:
    visits = [VisitCase(is_vector=1, vector=4, needs=[i]) for i in range(3)]
    acts = [ActCase(cycles=10), ActCase(cycles=10), ActCase(cycles=10, after_visit=0)]
    chip = replace(CHIP, latency_cycles=5)
    timing, intervals = play(chip, [SegmentCase()], CoreCase(visits, acts))
    assert spans(intervals, ACTIVATIONS) == [(0, 10), (10, 20), (20, 30)]
    assert spans(intervals, VECTOR) == [(15, 19), (25, 29), (35, 39)]
    assert buckets(timing) == {"stall_activations": 15 + 6 + 6, "vector": 12}
    assert timing.array_cycles[0, 0] == 0


def test_vector_operator_waits_for_its_bank() -> None:
    visits = [VisitCase(is_vector=1, vector=4, writeback=10)] * 3
    timing, intervals = play(CHIP, [SegmentCase()], CoreCase(visits))
    assert spans(intervals, VECTOR) == [(0, 4), (4, 8), (14, 18)]
    assert spans(intervals, WRITEBACK) == [(4, 14), (14, 24), (24, 34)]
    assert buckets(timing) == {"vector": 12, "stall_writeback": 6 + (34 - 18)}


def test_a_chunk_reuses_the_half_that_was_consumed() -> None:
    visits = [VisitCase(folds=1, length=20, needs=[i]) for i in range(3)]
    acts = [ActCase(cycles=3), ActCase(cycles=3), ActCase(cycles=3, after_visit=0)]
    _, intervals = play(CHIP, [SegmentCase()], CoreCase(visits, acts))
    assert spans(intervals, ARRAY)[0] == (4, 24)
    assert spans(intervals, ACTIVATIONS) == [(0, 3), (3, 6), (24, 27)]


def test_segments_wait_for_the_slowest_core_and_the_gather() -> None:
    visits = [VisitCase(folds=1, length=1), VisitCase(segment=1, folds=1, length=1)]
    slow = CoreCase([VisitCase(folds=1, length=50)])
    segments = [SegmentCase(gather=6), SegmentCase()]
    timing, intervals = play(CHIP, segments, CoreCase(visits), slow)
    assert list(timing.core_end[0]) == [12, 61]
    assert list(timing.end) == [67, 67 + 12]
    assert list(timing.core_end[1]) == [79, 67]
    assert spans(intervals, ARRAY, 0) == [(4, 5), (71, 72)]


# ---- what holds for every program --------------------------------------------------------


def deadlocked(chip: ChipCase, core: CoreCase) -> Program:
    return make_program(chip, [SegmentCase(tile_cycles=1)], [CoreCase(), core])


def test_too_few_slots_is_an_error_that_names_the_wait() -> None:
    chip = replace(CHIP, output_stationary=True, fifo_slots=2)
    program = deadlocked(chip, CoreCase([VisitCase(folds=1, length=9, acquire=3, held=3)]))
    message = (
        r"segment 0 .*core 1 array waits for tile transfer 2 .*"
        r"core 1 weight DMA waits for the slot of tile transfer 0 "
    )
    with pytest.raises(ScheduleError, match=message):
        run_reference(program)


def test_a_buffer_half_that_is_never_consumed_is_an_error() -> None:
    core = CoreCase(
        [VisitCase(), VisitCase(folds=1, length=9, needs=[0])], [ActCase(after_visit=0)]
    )
    with pytest.raises(ScheduleError, match="activation DMA waits for visit 0 to free its half"):
        run_reference(deadlocked(CHIP, core))


def test_parts_sum_to_the_time_of_each_core() -> None:
    for seed in range(300):
        t = run_reference(random_program(random.Random(seed)))
        start = np.concatenate([[0], t.end[:-1]])[:, None]
        waits = t.stall_weights + t.stall_activations + t.stall_writeback + t.index
        parts = t.array_cycles + waits + t.vector
        assert np.array_equal(parts, t.core_end - start), f"seed {seed}"
        assert (t.core_end.max(axis=1) <= t.end).all(), f"seed {seed}"
        assert (t.compute <= t.array_cycles).all(), f"seed {seed}"


def test_the_log_shows_what_was_timed() -> None:
    for seed in range(300):
        program = random_program(random.Random(seed))
        log = EventLog()
        timing = run_reference(program, log)
        assert first_difference(timing, run_reference(program)) == "", f"seed {seed}"
        rows = list(zip(log.lane, log.core, log.segment, log.start, log.end, strict=True))
        assert set(log.lane) <= set(range(len(LANES)))
        compute = np.zeros_like(timing.compute)
        busy: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for lane, core, segment, start, end in rows:
            assert 0 <= start < end
            if lane == ARRAY:
                compute[segment, core] += end - start
            if lane in (WEIGHTS, ACTIVATIONS, WRITEBACK):
                server = (0,) if program.shared_channel else (lane,)
            else:
                server = (lane, core)
            busy.setdefault(server, []).append((start, end))
        assert np.array_equal(compute, timing.compute), f"seed {seed}"
        for server, times in busy.items():
            times.sort()
            for (_, end), (start, _) in pairwise(times):
                assert end <= start, f"seed {seed}: {LANES[server[0]]} does two things at once"
        if program.ideal:
            assert not {WEIGHTS, ACTIVATIONS, WRITEBACK} & set(log.lane), f"seed {seed}"


def test_random_programs_reach_every_corner() -> None:
    """The generator is worth something only if its programs wait for everything."""
    programs = [random_program(random.Random(seed)) for seed in range(300)]
    timings = [run_reference(program) for program in programs]
    for name in ("stall_weights", "stall_activations", "stall_writeback", "index", "vector"):
        hit = sum(bool(getattr(timing, name).any()) for timing in timings)
        assert hit > 60, f"only {hit} of 300 programs have {name}"
    for name in ("output_stationary", "ideal", "shared_channel", "prefetch"):
        assert 10 < sum(bool(getattr(program, name)) for program in programs) < 290, name
    assert {program.overlap for program in programs} == {DOUBLE, SINGLE, SERIAL}
    assert {program.cores for program in programs} == {1, 2, 3, 4}
    held = [((p.visit_acquire == 0) & (p.visit_held > 0)).any() for p in programs]
    empty = [((p.visit_folds == 0) & (p.visit_is_vector == 0)).any() for p in programs]
    assert sum(held) > 30
    assert sum(empty) > 60

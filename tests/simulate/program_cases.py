"""Small programs for tests: built from readable records, or drawn at random."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from lspsim.schedule.program import DOUBLE, SERIAL, SINGLE, Program, Timing


@dataclass
class VisitCase:
    """One row of the visit arrays; `needs` are activation transfers of the core."""

    segment: int = 0
    folds: int = 0
    length: int = 0
    acquire: int = 0
    held: int = 0
    release: int = 1
    header: int = 0
    vector: int = 0
    is_vector: int = 0
    writeback: int = 0
    drain: int = 0
    needs: list[int] = field(default_factory=list)


@dataclass
class ActCase:
    """One row of the activation-transfer arrays."""

    segment: int = 0
    cycles: int = 1
    after_visit: int = -1


@dataclass
class CoreCase:
    """What one core does."""

    visits: list[VisitCase] = field(default_factory=list)
    acts: list[ActCase] = field(default_factory=list)


@dataclass
class SegmentCase:
    """One row of the segment arrays."""

    tile_cycles: int = 0
    prefetchable: int = 1
    gather: int = 0


@dataclass
class ChipCase:
    """The scalars of a program."""

    rows: int = 4
    cols: int = 3
    output_stationary: bool = False
    overlap: int = DOUBLE
    ideal: bool = False
    shared_channel: bool = False
    prefetch: bool = True
    fifo_slots: int = 4
    latency_cycles: int = 0
    read_behind_cycles: int = 0


def ints(values: Sequence[int]) -> np.ndarray:
    return np.array(values, np.int64)


def make_program(
    chip: ChipCase, segments: Sequence[SegmentCase], cores: Sequence[CoreCase]
) -> Program:
    visits = [visit for core in cores for visit in core.visits]
    acts = [act for core in cores for act in core.acts]
    fold_start: list[int] = []
    fold_needs: list[int] = []
    for visit in visits:
        fold_start.append(len(fold_needs) if visit.needs else -1)
        fold_needs.extend(visit.needs)
    return Program(
        cores=len(cores),
        rows=chip.rows,
        cols=chip.cols,
        output_stationary=chip.output_stationary,
        overlap=chip.overlap,
        ideal=chip.ideal,
        shared_channel=chip.shared_channel,
        prefetch=chip.prefetch,
        fifo_slots=chip.fifo_slots,
        latency_cycles=chip.latency_cycles,
        read_behind_cycles=chip.read_behind_cycles,
        segment_op=ints(range(len(segments))),
        segment_tile_cycles=ints([s.tile_cycles for s in segments]),
        segment_prefetchable=ints([s.prefetchable for s in segments]),
        segment_gather_cycles=ints([s.gather for s in segments]),
        visit_start=ints([0, *np.cumsum([len(core.visits) for core in cores])]),
        visit_segment=ints([v.segment for v in visits]),
        visit_folds=ints([v.folds for v in visits]),
        visit_length=ints([v.length for v in visits]),
        visit_acquire=ints([v.acquire for v in visits]),
        visit_held=ints([v.held for v in visits]),
        visit_release=ints([v.release for v in visits]),
        visit_header_cycles=ints([v.header for v in visits]),
        visit_vector_cycles=ints([v.vector for v in visits]),
        visit_is_vector=ints([v.is_vector for v in visits]),
        visit_writeback_cycles=ints([v.writeback for v in visits]),
        visit_drain_cycles=ints([v.drain for v in visits]),
        visit_fold_start=ints(fold_start),
        fold_needs=ints(fold_needs),
        act_start=ints([0, *np.cumsum([len(core.acts) for core in cores])]),
        act_segment=ints([a.segment for a in acts]),
        act_cycles=ints([a.cycles for a in acts]),
        act_after_visit=ints([a.after_visit for a in acts]),
    )


def first_difference(a: Timing, b: Timing) -> str:
    """Say where two timings differ first, by segment and then by field; "" = nowhere."""
    for segment in range(len(a.end)):
        for f in fields(Timing):
            left, right = getattr(a, f.name)[segment], getattr(b, f.name)[segment]
            if not np.array_equal(left, right):
                return f"segment {segment}, {f.name}: {left} != {right}"
    shapes = [(f.name, getattr(a, f.name).shape, getattr(b, f.name).shape) for f in fields(Timing)]
    return "".join(f"{name}: shape {x} != {y}; " for name, x, y in shapes if x != y)


# ---- random programs -------------------------------------------------------------------


def random_program(rng: random.Random) -> Program:
    """Draw a small valid program: 1 to 4 cores, 1 to 6 segments, all features of docs/model.md."""
    chip = ChipCase(
        rows=rng.randint(1, 6),
        cols=rng.randint(1, 6),
        output_stationary=rng.random() < 0.35,
        ideal=rng.random() < 0.08,
        shared_channel=rng.random() < 0.5,
        prefetch=rng.random() < 0.6,
        fifo_slots=rng.choice([1, 1, 2, 2, 3, 4, 6, 9, 20]),
        latency_cycles=rng.choice([0, 0, 1, 3, 10, 40]),
        read_behind_cycles=rng.choice([0, 0, 1, 5]),
    )
    while chip.cols == chip.rows and rng.random() < 0.9:
        chip.cols = rng.randint(1, 6)
    overlaps = [DOUBLE, SERIAL] if chip.output_stationary else [DOUBLE, SINGLE, SERIAL]
    chip.overlap = rng.choice(overlaps)
    cores = [CoreCase() for _ in range(rng.choice([1, 1, 2, 2, 3, 4]))]
    segments: list[SegmentCase] = []
    for index in range(rng.randint(1, 6)):
        if rng.random() < 0.25:
            segments.append(_vector_segment(rng, cores, index))
        else:
            segments.append(_gemm_segment(rng, chip, cores, index))
        if len(cores) > 1 and rng.random() < 0.3:
            segments[-1].gather = rng.randint(1, 12)
    return make_program(chip, segments, cores)


def _cycles(rng: random.Random, slow: bool) -> int:
    """Channel cycles of something: short beside a fold, or long."""
    return rng.randint(5, 40) if slow else rng.randint(1, 4)


def _gemm_segment(
    rng: random.Random, chip: ChipCase, cores: Sequence[CoreCase], index: int
) -> SegmentCase:
    slow = rng.random() < 0.4
    from_sram = rng.random() < 0.25
    segment = SegmentCase(
        tile_cycles=0 if from_sram else _cycles(rng, slow), prefetchable=int(rng.random() < 0.7)
    )
    style = _Style(
        segment=index,
        chunks=rng.choice([1, 1, 2, 3]),
        tiles_max=rng.choice([1, 2, 4]),
        length_max=rng.choice([1, 4, 9, 25]),
        empty=rng.choice([0.0, 0.0, 0.3, 0.8]),
        header=rng.choice([0.0, 0.5, 1.0]),
        vector=rng.choice([0, 0, 3, 30]),
        writeback=rng.choice([0, 0, 3, 30]),
        drain=rng.choice([0, 2, 9]),
        act=_cycles(rng, rng.random() < 0.4) if rng.random() < 0.4 else 0,
        from_sram=from_sram,
    )
    for core in cores:
        columns = rng.choice([0, 1, 2, 3, 5])
        if style.act:
            _streamed_columns(rng, chip, core, style, columns)
        else:
            _resident_columns(rng, chip, core, style, columns)
    return segment


@dataclass
class _Style:
    segment: int
    chunks: int
    tiles_max: int
    length_max: int
    empty: float
    header: float
    vector: int
    writeback: int
    drain: int
    act: int
    from_sram: bool


def _visit(rng: random.Random, chip: ChipCase, style: _Style) -> VisitCase:
    """Draw a visit that fetches, uses and frees its own tiles."""
    visit = VisitCase(
        segment=style.segment,
        header=rng.randint(1, 5) if rng.random() < style.header else 0,
        vector=rng.randint(1, style.vector) if style.vector and rng.random() < 0.9 else 0,
        writeback=rng.randint(1, style.writeback) if style.writeback else 0,
        drain=rng.randint(0, style.drain),
    )
    if rng.random() >= style.empty:
        visit.length = rng.randint(1, style.length_max)
        if chip.output_stationary:
            visit.length = min(visit.length, chip.rows * chip.fifo_slots)
            visit.folds, tiles = 1, -(-visit.length // chip.rows)
        else:
            visit.folds = tiles = rng.randint(1, style.tiles_max)
        if not style.from_sram:
            visit.acquire = visit.held = tiles
    return visit


def _resident_columns(
    rng: random.Random, chip: ChipCase, core: CoreCase, style: _Style, columns: int
) -> None:
    """X is on chip: column -> chunk; a column's tiles may stay for all its chunks."""
    for _ in range(columns):
        first = _visit(rng, chip, style)
        fits = first.held * (1 if chip.output_stationary else 2) <= chip.fifo_slots
        hold = first.held > 0 and style.chunks > 1 and fits and rng.random() < 0.8
        for chunk in range(style.chunks):
            visit = _visit(rng, chip, style) if chunk else first
            visit.folds, visit.held, visit.acquire = first.folds, first.held, first.held
            if chip.output_stationary or first.folds == 0:
                visit.length = first.length
            elif visit.length == 0:
                visit.length = max(1, first.length - 1)
            if hold:
                visit.acquire = first.held if chunk == 0 else 0
                visit.release = int(chunk == style.chunks - 1)
                if chunk and rng.random() < 0.8:
                    visit.header = 0
            core.visits.append(visit)


def _streamed_columns(
    rng: random.Random, chip: ChipCase, core: CoreCase, style: _Style, columns: int
) -> None:
    """X is streamed: chunk -> column; a chunk overwrites the one before the last."""
    last_user: list[int] = []
    for chunk in range(style.chunks):
        pieces = rng.randint(1, 3)
        first = len(core.acts)
        for _ in range(pieces):
            after = last_user[chunk - 2] if chunk >= 2 else -1
            core.acts.append(ActCase(style.segment, rng.randint(1, style.act), after))
        user = last_user[-1] if last_user else -1
        needed = first
        for _ in range(columns):
            visit = _visit(rng, chip, style)
            if visit.folds:
                user = len(core.visits)
                for _ in range(visit.folds):
                    needed = rng.randint(needed, first + pieces - 1)
                    visit.needs.append(needed)
                if rng.random() < 0.5:  # the usual case: a column needs the whole chunk
                    needed = first + pieces - 1
                    visit.needs[-1] = needed
            core.visits.append(visit)
        last_user.append(user)


def _vector_segment(rng: random.Random, cores: Sequence[CoreCase], index: int) -> SegmentCase:
    streamed = rng.random() < 0.5
    writeback = rng.choice([0, 3, 30])
    work = rng.choice([2, 8, 30])
    for core in cores:
        count = rng.choice([0, 1, 1, 3, 6])
        before = len(core.visits)
        for i in range(count):
            visit = VisitCase(
                segment=index,
                is_vector=1,
                vector=rng.randint(1, work),
                writeback=rng.randint(1, writeback) if writeback else 0,
                drain=rng.choice([0, 0, 3]),
            )
            if streamed:
                visit.needs.append(len(core.acts))
                after = before + i - 2 if i >= 2 else -1
                core.acts.append(ActCase(index, rng.randint(1, 20), after))
            core.visits.append(visit)
    return SegmentCase()

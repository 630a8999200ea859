"""A scheduler in plain Python, from docs/model.md: the oracle of `build_program`.

Slow on purpose: loops over units, chunks and folds, lists and sets. It shares no
code with `lspsim.schedule.build`, only the records of the inputs and of the result.
What a mask keeps of a tile column comes from the element-wise oracle of the counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from lspsim.hardware import Hardware
from lspsim.schedule.program import DOUBLE, SERIAL, SINGLE, Program
from lspsim.workload import Gemm, VectorOp, Workload
from lspsim.workload.workload import Op
from tests.simulate.oracle_counts import column_tiles, columns_of, live_units, split
from tests.simulate.program_cases import (
    ActCase,
    ChipCase,
    CoreCase,
    SegmentCase,
    VisitCase,
    make_program,
)

FUSABLE = ("add", "gelu", "relu", "silu", "scale")


class DoesNotFitError(Exception):
    """A streamed row, or a column that output-stationary must keep, exceeds its buffer."""


def whole_bytes(values: int, bits: int) -> int:
    return -(-values * bits // 8)


@dataclass
class Widths:
    """Bits of a GEMM's operands: its own, or those that the array is built for."""

    weight: int
    activation: int
    accumulator: int


def widths_of(gemm: Gemm, hardware: Hardware) -> Widths:
    built = hardware.precision
    return Widths(
        gemm.weight_bits or built.weight_bits,
        gemm.activation_bits or built.activation_bits,
        gemm.accumulator_bits or built.accumulator_bits,
    )


# ---- segments: what is fused, what stays on chip -------------------------------------------


@dataclass
class Segment:
    """A GEMM with what is fused to it, or one vector operator."""

    first: int
    ops: list[Op]
    inputs: tuple[str, ...]
    """Of the first operator."""
    on_chip: frozenset[str]
    """Tensors in the activation buffer while it runs, its own result not among them."""
    stays: bool
    """Whether its result stays in the activation buffer."""


def result_size(op: Op) -> int:
    """Elements of the tensor that an operator produces."""
    if isinstance(op, Gemm):
        return op.batch * op.m * op.n
    return (op.rows if op.out_rows is None else op.out_rows) * op.cols


def result_bits(op: Op, hardware: Hardware) -> int:
    """Width at which an operator stores its result: that of its own activations."""
    if isinstance(op, Gemm):
        return widths_of(op, hardware).activation
    return hardware.precision.activation_bits


def result_bytes(op: Op, hardware: Hardware) -> int:
    return whole_bytes(result_size(op), result_bits(op, hardware))


def segments_of(workload: Workload, hardware: Hardware) -> list[Segment]:
    ops = workload.ops
    inputs = workload.resolved_inputs()
    readers: dict[str, list[int]] = {op.name: [] for op in ops}
    for i, names in enumerate(inputs):
        for name in names:
            readers.setdefault(name, []).append(i)
    size = {op.name: result_bytes(op, hardware) for op in ops}

    def joins(chain: list[Op], i: int, on_chip: set[str]) -> bool:
        op, previous = ops[i], chain[-1].name
        return (
            isinstance(op, VectorOp)
            and op.kind in FUSABLE
            and op.parameters == 0
            and op.rows * op.cols == result_size(chain[0])
            and previous in inputs[i]
            and len(readers[previous]) == 1
            and all(name == previous or name in on_chip for name in inputs[i])
        )

    out: list[Segment] = []
    on_chip: set[str] = set()
    i = 0
    while i < len(ops):
        first = i
        chain = [ops[i]]
        i += 1
        if isinstance(chain[0], Gemm) and hardware.vector.overlap:
            while i < len(ops) and joins(chain, i, on_chip):
                chain.append(ops[i])
                i += 1
        result = chain[-1].name
        used = sum(size[name] for name in on_chip)
        stays = bool(readers[result]) and used + size[result] <= hardware.buffers.activation_bytes
        out.append(Segment(first, chain, inputs[first], frozenset(on_chip), stays))
        if stays:
            on_chip.add(result)
        on_chip = {name for name in on_chip if readers[name][-1] >= i}
    return out


# ---- the channel ---------------------------------------------------------------------------


@dataclass
class Channel:
    """Cycles that transfers hold the channel, by class."""

    hardware: Hardware

    def cycles(self, share: str, size: int) -> int:
        memory = self.hardware.memory
        if memory.ideal or size == 0:
            return 0
        fraction = getattr(memory.shares, share) if memory.channels == "separate" else Fraction(1)
        burst = memory.dram.burst_bytes
        moved = -(-size // burst) * burst
        rate = memory.dram.bandwidth_bytes_per_s * memory.dram.efficiency * fraction
        return max(1, ceil(moved * self.hardware.clock_hz / rate))

    def weights(self, size: int) -> int:
        return self.cycles("weights", size)

    def activations(self, size: int) -> int:
        return self.cycles("activations", size)

    def writeback(self, size: int) -> int:
        return self.cycles("writeback", size)

    def gather(self, size: int) -> int:
        hardware = self.hardware
        if hardware.cores == 1 or hardware.memory.ideal:
            return 0
        assert hardware.noc is not None
        return ceil(Fraction(size * hardware.clock_hz, hardware.noc.bandwidth_bytes_per_s))


# ---- a GEMM as the array sees it -----------------------------------------------------------


@dataclass
class Column:
    """One work unit: a tile column of one instance."""

    instance: int
    width: int
    """Real columns."""
    folds: list[list[int]]
    """K values that each fold reads (OS: of the only fold, if any)."""
    tiles: int
    """R x C tiles of its stationary operand."""
    header_bytes: int


@dataclass
class Shape:
    """A GEMM with the input-stationary dataflow's transposition done."""

    columns: list[list[Column]]
    """By instance."""
    chunks: list[list[int]]
    """Real rows of every visit of each chunk: one for WS and IS, the M tiles for OS."""
    tile_bits: int
    stream_bits: int
    stream_on_chip: bool
    tiles_on_chip: bool
    prefetchable: bool


def header_bytes(gemm: Gemm, hardware: Hardware, columns: list[int], first: bool) -> int:
    """Index and bias of one tile column."""
    array = hardware.array
    bias_bits = widths_of(gemm, hardware).accumulator
    if gemm.rhs == "activation":
        return 0
    if array.dataflow == "input-stationary":
        biases = gemm.n if first else 0
        return whole_bytes(biases, bias_bits) if gemm.bias else 0
    size = whole_bytes(len(columns), bias_bits) if gemm.bias else 0
    if array.sparsity == "none":
        return size
    if array.index == "bsr":
        return size + 4 + 2 * len(live_units(gemm, hardware, columns))
    unit = array.rows
    masked = gemm.mask is not None and not gemm.mask.keep.all()
    if masked and (array.packing == "k-compact" or array.dataflow == "output-stationary"):
        assert gemm.mask is not None
        unit = gemm.mask.block_in
    return size + -(-ceil(Fraction(gemm.k, unit)) // 8)


def shape_of(gemm: Gemm, hardware: Hardware, segment: Segment) -> Shape:
    array, widths, buffers = hardware.array, widths_of(gemm, hardware), hardware.buffers
    swapped = array.dataflow == "input-stationary"
    computed = gemm.rhs == "activation"
    x_on_chip = segment.inputs[0] in segment.on_chip
    w_on_chip = computed and segment.inputs[1] in segment.on_chip
    w_bits = widths.activation if computed else widths.weight
    x_bits = widths.activation

    columns: list[list[Column]] = [[] for _ in range(gemm.batch)]
    for number, values in enumerate(columns_of(gemm, hardware)):
        folds = column_tiles(gemm, hardware, values)
        tiles = len(folds)
        if array.dataflow == "output-stationary" and folds:
            tiles = -(-len(folds[0]) // array.rows)
        head = header_bytes(gemm, hardware, values, number == 0)
        for instance in range(gemm.batch):
            columns[instance].append(Column(instance, len(values), folds, tiles, head))

    streamed_rows = gemm.n if swapped else gemm.m
    stream_bits = w_bits if swapped else x_bits
    stream_on_chip = w_on_chip if swapped else x_on_chip
    buffer = buffers.weight_bytes if swapped and not computed else buffers.activation_bytes
    fit = buffer // 2 * 8 // (gemm.k * stream_bits)
    """Rows of the streamed operand that fit half of its buffer."""
    if array.dataflow == "output-stationary":
        tiles_of_m = [min(array.rows, gemm.m - at) for at in range(0, gemm.m, array.rows)]
        chunks = [tiles_of_m]
        if not stream_on_chip:
            tiles_fit = fit // array.rows
            if tiles_fit == 0:
                raise DoesNotFitError(gemm.name)
            chunks = []
            for count in split(len(tiles_of_m), ceil(Fraction(len(tiles_of_m), tiles_fit))):
                at = sum(map(len, chunks))
                chunks.append(tiles_of_m[at : at + count])
    else:
        most = array.accumulator_rows
        if not stream_on_chip:
            most = min(most, fit)
        if most == 0:
            raise DoesNotFitError(gemm.name)
        q = ceil(Fraction(streamed_rows, most))
        chunks = [[rows] for rows in split(streamed_rows, q)]
    return Shape(
        columns=columns,
        chunks=chunks,
        tile_bits=x_bits if swapped else w_bits,
        stream_bits=stream_bits,
        stream_on_chip=stream_on_chip,
        tiles_on_chip=x_on_chip if swapped else w_on_chip,
        prefetchable=not swapped and not computed,
    )


def deal(columns: Iterable[Column], hardware: Hardware) -> list[list[Column]]:
    """Give every column to a core; a core's columns in order of their numbers."""
    numbered = list(enumerate(columns))
    cores: list[list[tuple[int, Column]]] = [[] for _ in range(hardware.cores)]
    if hardware.array.assignment == "round-robin":
        for number, column in numbered:
            cores[number % hardware.cores].append((number, column))
    else:
        load = [0] * hardware.cores
        for number, column in sorted(numbered, key=lambda nc: (-len(nc[1].folds), nc[0])):
            core = load.index(min(load))
            load[core] += len(column.folds)
            cores[core].append((number, column))
    return [[column for _, column in sorted(core, key=lambda nc: nc[0])] for core in cores]


# ---- visits --------------------------------------------------------------------------------


class GemmScheduler:
    """Emits the visits and transfers of one GEMM on every core."""

    def __init__(self, number: int, segment: Segment, hardware: Hardware) -> None:
        gemm = segment.ops[0]
        assert isinstance(gemm, Gemm)
        self.number, self.segment, self.hardware, self.gemm = number, segment, hardware, gemm
        self.shape = shape_of(gemm, hardware, segment)
        self.channel = Channel(hardware)
        self.ideal = hardware.memory.ideal
        self.os = hardware.array.dataflow == "output-stationary"
        self.slots = chip_of(hardware).fifo_slots
        self.tiles_move = not self.shape.tiles_on_chip and not self.ideal

    def emit(self, cores: list[CoreCase]) -> SegmentCase:
        columns = [column for instance in self.shape.columns for column in instance]
        if self.os and self.tiles_move and max(c.tiles for c in columns) > self.slots:
            raise DoesNotFitError(self.gemm.name)
        for core, mine in zip(cores, deal(columns, self.hardware), strict=True):
            if self.shape.stream_on_chip:
                for column in mine:
                    for chunk in range(len(self.shape.chunks)):
                        core.visits += self.visits(column, chunk)
            else:
                self.emit_streamed(core, mine)
        array = self.hardware.array
        tile = whole_bytes(array.rows * array.cols, self.shape.tile_bits)
        result = result_bytes(self.segment.ops[-1], self.hardware)
        return SegmentCase(
            tile_cycles=self.channel.weights(tile) if self.tiles_move else 0,
            prefetchable=int(self.shape.prefetchable and self.tiles_move),
            gather=self.channel.gather(result) if self.segment.stays else 0,
        )

    def emit_streamed(self, core: CoreCase, mine: list[Column]) -> None:
        """Emit instance -> chunk -> column, each chunk with its own activation transfers."""
        last_users: list[int] = []
        for instance in range(self.gemm.batch):
            here = [column for column in mine if column.instance == instance]
            for chunk in range(len(self.shape.chunks)):
                after = last_users[-2] if len(last_users) >= 2 else -1
                pieces = self.transfer(core, here, chunk, after)
                user = -1
                for column in here:
                    for part, visit in enumerate(self.visits(column, chunk)):
                        if visit.folds and not self.ideal:
                            for fold in column.folds:
                                piece = part if self.os else fold[-1] // self.hardware.array.rows
                                visit.needs.append(pieces[piece])
                        if visit.folds:
                            user = len(core.visits)
                        core.visits.append(visit)
                if user >= 0:
                    last_users.append(user)

    def transfer(
        self, core: CoreCase, here: list[Column], chunk: int, after: int
    ) -> dict[int, int]:
        """Append the transfers of one chunk; return their numbers by M tile (OS) or K slice."""
        if self.ideal:
            return {}
        array = self.hardware.array
        read = {k for column in here for fold in column.folds for k in fold}
        sizes: dict[int, int] = {}
        if read and self.os:
            sizes = {i: rows * self.gemm.k for i, rows in enumerate(self.shape.chunks[chunk])}
        elif read:
            (rows,) = self.shape.chunks[chunk]
            for piece in sorted({k // array.rows for k in read}):
                height = min(array.rows, self.gemm.k - piece * array.rows)
                sizes[piece] = height * rows
        numbers = {}
        for piece, values in sizes.items():
            numbers[piece] = len(core.acts)
            cycles = self.channel.activations(whole_bytes(values, self.shape.stream_bits))
            core.acts.append(ActCase(self.number, cycles, after))
        return numbers

    def visits(self, column: Column, chunk: int) -> list[VisitCase]:
        """One visit per part of a chunk, activation transfers left out."""
        parts, last_chunk = self.shape.chunks[chunk], len(self.shape.chunks) - 1
        moved = column.tiles if self.tiles_move else 0
        stays = (
            not self.os and self.shape.stream_on_chip and last_chunk > 0 and 2 * moved <= self.slots
        )
        out = []
        for part, rows in enumerate(parts):
            fetch = part == 0 and (chunk == 0 or not stays)
            leave = part == len(parts) - 1 and (chunk == last_chunk or not stays)
            values = rows * column.width
            result = whole_bytes(values, result_bits(self.segment.ops[-1], self.hardware))
            header = column.header_bytes if chunk == 0 and part == 0 else 0
            share = "weights" if moved else "writeback"
            writeback = 0 if self.segment.stays else self.channel.writeback(result)
            out.append(
                VisitCase(
                    segment=self.number,
                    folds=len(column.folds),
                    length=sum(map(len, column.folds)) if self.os else rows,
                    acquire=moved if fetch else 0,
                    held=moved,
                    release=int(leave),
                    header=self.channel.cycles(share, header),
                    vector=sum(self.vector_cycles(values) for _ in self.segment.ops[1:]),
                    writeback=writeback,
                    drain=0 if self.ideal else max(0, rows - writeback),
                )
            )
        return out

    def vector_cycles(self, values: int) -> int:
        vector = self.hardware.vector
        return vector.passes.elementwise * -(-values // vector.lanes) + vector.latency_cycles


def emit_vector(
    number: int, segment: Segment, hardware: Hardware, cores: list[CoreCase]
) -> SegmentCase:
    """Emit the visits and transfers of a serial vector operator on every core."""
    (op,) = segment.ops
    assert isinstance(op, VectorOp)
    channel, vector = Channel(hardware), hardware.vector
    bits = hardware.precision.activation_bits
    passes = {"layernorm": vector.passes.layernorm, "softmax": vector.passes.softmax}
    out_rows = op.rows if op.out_rows is None else op.out_rows
    streamed = len({name for name in segment.inputs if name not in segment.on_chip})
    for p, core in enumerate(cores):
        at, end = op.rows * p // len(cores), op.rows * (p + 1) // len(cores)
        share = end - at
        chunks = split(share, ceil(Fraction(share, hardware.array.accumulator_rows)))
        for chunk, rows in enumerate(chunks):
            values = rows * op.cols
            parameters = op.parameters if chunk == 0 else 0
            read = streamed * whole_bytes(values, bits) + whole_bytes(parameters, bits)
            written = out_rows * (at + rows) // op.rows - out_rows * at // op.rows
            visit = VisitCase(
                segment=number,
                is_vector=1,
                release=0,
                vector=passes.get(op.kind, vector.passes.elementwise) * -(-values // vector.lanes)
                + vector.latency_cycles,
            )
            if not segment.stays:
                visit.writeback = channel.writeback(whole_bytes(written * op.cols, bits))
            if read and not hardware.memory.ideal:
                visit.needs.append(len(core.acts))
                after = len(core.visits) - 2 if chunk >= 2 else -1
                cycles = channel.activations(read)
                core.acts.append(ActCase(number, cycles, after))
            core.visits.append(visit)
            at += rows
    gather = channel.gather(result_bytes(op, hardware))
    return SegmentCase(prefetchable=0, gather=gather if segment.stays else 0)


# ---- the program ---------------------------------------------------------------------------


def chip_of(hardware: Hardware) -> ChipCase:
    array, memory = hardware.array, hardware.memory
    overlaps = {"double-buffered": DOUBLE, "single-buffered": SINGLE, "none": SERIAL}
    tile_bits = array.rows * array.cols * hardware.precision.weight_bits
    gathers = array.packing == "k-compact" and array.dataflow == "weight-stationary"
    return ChipCase(
        rows=array.rows,
        cols=array.cols,
        output_stationary=array.dataflow == "output-stationary",
        overlap=overlaps[array.fold_overlap],
        ideal=memory.ideal,
        shared_channel=memory.channels == "shared",
        prefetch=memory.prefetch_across_layers,
        fifo_slots=hardware.buffers.weight_bytes * 8 // tile_bits,
        latency_cycles=0 if memory.ideal else ceil(memory.dram.latency_s * hardware.clock_hz),
        read_behind_cycles=array.rows - 1 if gathers else 0,
    )


def oracle_program(workload: Workload, hardware: Hardware) -> Program:
    """Schedule `workload` on `hardware`, slowly."""
    cores = [CoreCase() for _ in range(hardware.cores)]
    cases = []
    segments = segments_of(workload, hardware)
    gemms = {  # all of them first: a row that is too long is reported before a column that is
        number: GemmScheduler(number, segment, hardware)
        for number, segment in enumerate(segments)
        if isinstance(segment.ops[0], Gemm)
    }
    for number, segment in enumerate(segments):
        if number in gemms:
            cases.append(gemms[number].emit(cores))
        else:
            cases.append(emit_vector(number, segment, hardware, cores))
    program = make_program(chip_of(hardware), cases, cores)
    return dataclasses.replace(
        program, segment_op=np.array([segment.first for segment in segments], np.int64)
    )

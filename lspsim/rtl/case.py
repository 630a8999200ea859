"""One GEMM as the block lists that the core reads, made from the mask by plain loops.

This shares nothing with `lspsim.schedule` but the rules of docs/model.md, so that
comparing the core with the engines checks the schedule, too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from lspsim.arrays import IntArray
from lspsim.errors import ScheduleError
from lspsim.rtl.parameters import Parameters, finest_block

if TYPE_CHECKING:
    from lspsim.hardware import Hardware
    from lspsim.workload import Gemm


@dataclass(frozen=True, slots=True)
class Fold:
    """An entry of the block list."""

    first: bool
    last: bool
    """Of its visit."""
    stored: bool
    """The tile comes through the FIFO; otherwise it is there."""
    release: bool
    length: int
    row: int
    """First row of X."""
    rows: int
    cols: int
    """Real rows and columns of the tile."""
    need: int
    """Pieces of X that must have arrived."""
    column: int
    """First value of N."""
    units: tuple[int, ...] = ()
    """Sub-block of K for each group of array rows (WS)."""
    held: int = 0
    runs: tuple[tuple[int, int], ...] = ()
    """OS: slices of W that must be there, and (first, length) of the kept values of K."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile transfer."""

    fold: int
    """Whose tile it is."""
    header: int
    """Bytes of index and bias that precede it."""
    slice: int = 0
    """OS: which R kept values of K of the column."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A transfer of X: R values of K for the rows of a chunk (WS), or R rows (OS)."""

    after: int
    """Visits with folds that must have been consumed before it may come."""
    bytes: int
    chunk: int
    key: int
    """Names what it brings: chunk times slices plus slice (WS), or M tile (OS)."""


@dataclass(frozen=True, slots=True)
class Out:
    """What happens to a visit's result."""

    empty: bool
    header: int
    """Bytes of a header that had no tile to ride with."""
    bytes: int
    """Bytes that go to DRAM; 0 = the result stays on chip."""
    rows: int
    cols: int
    column: int
    row: int


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A GEMM with its operands, ready for the test bench."""

    parameters: Parameters
    ideal: bool
    shared: bool
    latency: int
    slots: int
    burst: int
    tile_bytes: int
    rates: tuple[Fraction, Fraction, Fraction]
    """Cycles per byte: weights, activations, write-back."""
    m: int
    k: int
    n: int
    chunks: tuple[int, ...]
    """Rows of each chunk."""
    folds: tuple[Fold, ...]
    tiles: tuple[Tile, ...]
    pieces: tuple[Piece, ...]
    outs: tuple[Out, ...]
    bias: IntArray = field(repr=False)
    x: IntArray = field(repr=False)
    w: IntArray = field(repr=False)

    def product(self) -> IntArray:
        """Return `x @ w.T + bias` as the accumulators hold it: int64 `[m, n]`, wrapped."""
        exact = self.x @ self.w.T + self.bias
        half = 1 << (self.parameters.accumulator_bits - 1)
        return np.asarray((exact + half) % (2 * half) - half, np.int64)

    def text(self, limit: int) -> str:
        """Return the case for the test bench, which gives up after `limit` cycles."""
        operands = (_numbers(a.ravel().tolist()) for a in (self.bias, self.x, self.w))
        return self.lists(limit) + "\n".join(operands) + "\n"

    def lists(self, limit: int) -> str:
        """Return the part of `text` that precedes the operands."""
        lines = [
            f"{limit} {int(self.ideal)} {int(self.shared)} {self.latency} {self.slots} "
            f"{self.burst} {self.tile_bytes}",
            " ".join(f"{rate.numerator} {rate.denominator}" for rate in self.rates),
            f"{self.m} {self.k} {self.n} {len(self.chunks)}",
            _numbers(i for i, rows in enumerate(self.chunks) for _ in range(rows)),
            str(len(self.folds)),
        ]
        for f in self.folds:
            lines.append(
                f"{int(f.first)} {int(f.last)} {int(f.stored)} {int(f.release)} {f.length} "
                f"{f.row} {f.rows} {f.cols} {f.need} {f.column} {f.held}"
            )
            if self.parameters.output_stationary:
                lines.append(_numbers((len(f.runs), *itertools.chain(*f.runs))))
            else:
                lines.append(_numbers(f.units))
        lines.append(str(len(self.tiles)))
        lines += [f"{t.fold} {t.header} {t.slice}" for t in self.tiles]
        lines.append(str(len(self.pieces)))
        lines += [f"{p.after} {p.bytes} {p.chunk} {p.key}" for p in self.pieces]
        lines.append(str(len(self.outs)))
        lines += [
            f"{int(o.empty)} {o.header} {o.bytes} {int(o.bytes > 0)} {o.rows} {o.cols} "
            f"{o.column} {o.row}"
            for o in self.outs
        ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True, eq=False)
class CaseResult:
    """What the core did with a case."""

    cycles: int
    """-1: it did not end within its limit."""
    last_write: int
    """Clock edge of the last accumulator write; 0 = none."""
    last_sum: int
    """OS: clock edge at which the array's last element ended its last sum; 0 = none."""
    weight_reads: int
    activation_reads: int
    accumulator_reads: int
    accumulator_writes: int
    y: IntArray = field(repr=False)


def lower_case(
    gemm: Gemm,
    hardware: Hardware,
    parameters: Parameters,
    *,
    x_on_chip: bool = False,
    y_on_chip: bool = False,
    seed: int = 0,
) -> Case:
    """Lay one GEMM with stored weights out for the core, with random operands.

    Parameters
    ----------
    gemm, hardware
        What runs on what; one core, no vector operators.
    parameters
        Of the build that will run it.
    x_on_chip, y_on_chip
        Whether X is in the activation buffer at the start and Y stays there.
    seed
        Of the operands, drawn over their whole range; pruned weights are zero.

    Raises
    ------
    ScheduleError
        When the build cannot gather the mask's sub-blocks.
    """
    return _Lowering(gemm, hardware, parameters, x_on_chip, y_on_chip).case(seed)


class _Lowering:
    def __init__(
        self, gemm: Gemm, hardware: Hardware, parameters: Parameters, x_here: bool, y_here: bool
    ) -> None:
        self.gemm, self.hardware, self.parameters = gemm, hardware, parameters
        self.x_here, self.y_here = x_here, y_here
        self.stored = not hardware.memory.ideal
        self.streamed = self.stored and not x_here
        self.slots = (
            hardware.buffers.weight_bytes
            * 8
            // (parameters.rows * parameters.cols * hardware.precision.weight_bits)
        )
        self.folds: list[Fold] = []
        self.transfers: list[Tile] = []
        self.pieces: list[Piece] = []
        self.outs: list[Out] = []
        self.rows, self.cols = parameters.rows, parameters.cols
        mask = gemm.mask
        self.skips = mask is not None and not mask.keep.all() and hardware.array.sparsity == "block"
        self.output_stationary = parameters.output_stationary
        packed = hardware.array.packing == "k-compact"
        self.gathers = self.skips and (packed or self.output_stationary)
        self.height = self.rows
        if self.gathers:
            assert mask is not None
            self.height = mask.block_in
            lowest = finest_block(self.rows, parameters.gather)
            if self.height % lowest and not self.output_stationary:
                raise ScheduleError(
                    f"gemm {gemm.name!r}: blocks are {self.height} values of K high, but this "
                    f"build gathers multiples of {lowest}; build it with a larger gather"
                )
        self.kept = np.ones((gemm.n, gemm.k), bool)
        if mask is not None:
            self.kept = np.repeat(np.repeat(mask.keep, mask.block_out, 0), mask.block_in, 1)
            self.kept = self.kept[: gemm.n, : gemm.k]

    def case(self, seed: int) -> Case:
        gemm, memory, bits = self.gemm, self.hardware.memory, self.hardware.precision
        if self.output_stationary:
            self.fill_output_stationary()
        else:
            self.fill_weight_stationary()
        rng = np.random.default_rng(seed)
        bias = np.zeros(gemm.n, np.int64)
        if gemm.bias:
            bias = _integers(rng, bits.accumulator_bits, gemm.n)
        latency = math.ceil(memory.dram.latency_s * self.hardware.clock_hz)
        return Case(
            parameters=self.parameters,
            ideal=memory.ideal,
            shared=memory.channels == "shared",
            latency=0 if memory.ideal else latency,
            slots=self.slots,
            burst=memory.dram.burst_bytes,
            tile_bytes=self.hardware.weight_tile_bytes,
            rates=self.rates(),
            m=gemm.m,
            k=gemm.k,
            n=gemm.n,
            chunks=tuple(self.chunks()),
            folds=tuple(self.folds),
            tiles=tuple(self.transfers),
            pieces=tuple(self.pieces),
            outs=tuple(self.outs),
            bias=bias,
            x=_integers(rng, bits.activation_bits, (gemm.m, gemm.k)),
            w=_integers(rng, bits.weight_bits, (gemm.n, gemm.k)) * self.kept,
        )

    def fill_weight_stationary(self) -> None:
        chunks = self.chunks()
        columns = [self.units(n0) for n0 in range(0, self.gemm.n, self.cols)]
        tiles_of = [self.tiles(units) for units in columns]
        used = sorted({k // self.rows for tiles in tiles_of for tile in tiles for k in tile})
        worked = sum(1 for tiles in tiles_of if tiles)
        slices = -(-self.gemm.k // self.rows)
        if self.streamed:
            self.pieces = [
                Piece(max(0, c - 1) * worked, self.piece_bytes(t, length), c, c * slices + t)
                for c, length in enumerate(chunks)
                for t in used
            ]
        for c, j in self.visits(len(chunks), len(columns)):
            own = tiles_of[j]
            cols = min(self.cols, self.gemm.n - j * self.cols)
            row, length = sum(chunks[:c]), chunks[c]
            hold = self.x_here and len(chunks) > 1 and 2 * len(own) <= self.slots
            header = self.header_bytes(columns[j], cols) if c == 0 else 0
            acquires = self.stored and bool(own) and (c == 0 or not hold)
            for i, tile in enumerate(own):
                need = 0
                if self.streamed:
                    need = c * len(used) + used.index(tile[-1] // self.rows) + 1
                if acquires:
                    self.transfers.append(Tile(len(self.folds), header if i == 0 else 0))
                self.folds.append(
                    Fold(
                        first=i == 0,
                        last=i == len(own) - 1,
                        stored=self.stored,
                        release=not hold or c == len(chunks) - 1,
                        length=length,
                        row=row,
                        rows=len(tile),
                        cols=cols,
                        need=need,
                        column=j * self.cols,
                        units=self.group_units(tile),
                    )
                )
            self.put_out(not own, 0 if acquires else header, row, length, j)

    def fill_output_stationary(self) -> None:
        m, k = self.gemm.m, self.gemm.k
        columns = [self.units(n0) for n0 in range(0, self.gemm.n, self.cols)]
        tiles = [range(row, min(row + self.rows, m)) for row in range(0, m, self.rows)]
        groups = self.tile_groups(len(tiles))
        worked = sum(1 for units in columns if units)
        bits = self.hardware.precision.activation_bits
        if self.streamed and worked:
            before = 0  # visits with folds up to the group before the previous one
            for c, group in enumerate(groups):
                if c >= 2:
                    before += worked * len(groups[c - 2])
                for t in group:
                    size = math.ceil(len(tiles[t]) * k * bits / 8)
                    self.pieces.append(Piece(before, size, c, t))
        for group in groups:
            for j, units in enumerate(columns):
                values = [value for unit in units for value in unit]
                held = -(-len(values) // self.rows) if self.stored else 0
                cols = min(self.cols, self.gemm.n - j * self.cols)
                for t in group:
                    header = self.header_bytes(units, cols) if t == 0 else 0
                    first = t == group[0]
                    if first:
                        self.transfers += [
                            Tile(len(self.folds), header if i == 0 else 0, i) for i in range(held)
                        ]
                    if units:
                        self.folds.append(
                            Fold(
                                first=True,
                                last=True,
                                stored=self.stored,
                                release=t == group[-1],
                                length=len(values),
                                row=tiles[t][0],
                                rows=len(tiles[t]),
                                cols=cols,
                                need=t + 1 if self.streamed else 0,
                                column=j * self.cols,
                                held=held,
                                runs=tuple((unit[0], len(unit)) for unit in units),
                            )
                        )
                    rides = first and held > 0
                    self.put_out(not units, 0 if rides else header, tiles[t][0], len(tiles[t]), j)

    def put_out(self, empty: bool, header: int, row: int, rows: int, j: int) -> None:
        """Append what happens to a visit's result."""
        if not self.stored:
            return
        cols = min(self.cols, self.gemm.n - j * self.cols)
        size = math.ceil(rows * cols * self.hardware.precision.activation_bits / 8)
        self.outs.append(
            Out(empty, header, 0 if self.y_here else size, rows, cols, j * self.cols, row)
        )

    def tile_groups(self, tiles: int) -> list[list[int]]:
        """M tiles (OS) of which half the activation buffer holds a group; all if X is there."""
        count = 1
        if not self.x_here:
            half = self.hardware.buffers.activation_bytes // 2
            bits = self.gemm.k * self.hardware.precision.activation_bits
            count = -(-tiles // (half * 8 // bits // self.rows))
        return [part.tolist() for part in np.array_split(np.arange(tiles), count)]

    def chunks(self) -> list[int]:
        """Rows of each chunk of X."""
        if self.output_stationary:
            return [self.gemm.m]
        array, precision = self.hardware.array, self.hardware.precision
        cap = array.accumulator_rows
        if not self.x_here:
            half = self.hardware.buffers.activation_bytes // 2
            cap = min(cap, half * 8 // (self.gemm.k * precision.activation_bits))
        count = -(-self.gemm.m // cap)
        return [len(part) for part in np.array_split(np.arange(self.gemm.m), count)]

    def visits(self, chunks: int, columns: int) -> Iterator[tuple[int, int]]:
        """Yield (chunk, column) in loop order."""
        if self.x_here:
            yield from ((c, j) for j in range(columns) for c in range(chunks))
        else:
            yield from ((c, j) for c in range(chunks) for j in range(columns))

    def units(self, n0: int) -> list[list[int]]:
        """K values of every live unit of a tile column: a tile's, or a sub-block's."""
        kept = np.asarray(self.kept[n0 : n0 + self.cols].any(axis=0))
        units = [
            list(range(k, min(k + self.height, self.gemm.k)))
            for k in range(0, self.gemm.k, self.height)
        ]
        return [unit for unit in units if not self.skips or kept[unit].any()]

    def tiles(self, units: list[list[int]]) -> list[list[int]]:
        """K values of every tile of a tile column."""
        if not self.gathers:
            return units
        gathered = [k for unit in units for k in unit]
        return [gathered[i : i + self.rows] for i in range(0, len(gathered), self.rows)]

    def group_units(self, tile: list[int]) -> tuple[int, ...]:
        """Sub-block that each group of array rows reads; unused groups read 0."""
        height = self.rows // self.parameters.gather
        firsts = tile[::height]
        return tuple(
            firsts[g] // height if g < len(firsts) else 0 for g in range(self.parameters.gather)
        )

    def piece_bytes(self, slice_: int, length: int) -> int:
        real = min(self.rows, self.gemm.k - slice_ * self.rows)
        return math.ceil(real * length * self.hardware.precision.activation_bits / 8)

    def header_bytes(self, units: list[list[int]], cols: int) -> int:
        """Bytes of a column's index and bias."""
        size = 0
        if self.hardware.array.sparsity == "block":
            if self.hardware.array.index == "bitmap":
                size = math.ceil(math.ceil(self.gemm.k / self.height) / 8)
            else:
                size = 2 * len(units) + 4
        if self.gemm.bias:
            size += math.ceil(cols * self.hardware.precision.accumulator_bits / 8)
        return size

    def rates(self) -> tuple[Fraction, Fraction, Fraction]:
        memory = self.hardware.memory
        base = Fraction(self.hardware.clock_hz) / (
            memory.dram.bandwidth_bytes_per_s * memory.dram.efficiency
        )
        if memory.channels == "shared" or memory.shares is None:
            return base, base, base
        shares = memory.shares
        return base / shares.weights, base / shares.activations, base / shares.writeback


def _integers(rng: np.random.Generator, bits: int, shape: int | tuple[int, int]) -> IntArray:
    half = 1 << (bits - 1)
    return rng.integers(-half, half, shape, dtype=np.int64)


def _numbers(values: Iterable[int]) -> str:
    return " ".join(map(str, values))

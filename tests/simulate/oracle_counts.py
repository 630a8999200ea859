"""Action counts of one weight GEMM on one core, by looking at every element.

Slow on purpose: plain loops over elements, tiles and folds, nothing shared with
lspsim but the mask's `keep` array and the hardware's plain numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lspsim.hardware import Hardware
from lspsim.workload import Gemm


@dataclass
class Fold:
    """One tile's pass: what is in the array, and how many rows stream through it."""

    column: int
    chunk: int
    streamed: int
    """Rows that stream (WS: of X, IS: of W), or reduction length (OS)."""
    real_rows: int
    """Array rows in use."""
    real_cols: int
    kept: int
    """Kept weights in the tile; times the rows of X that meet them = useful multiplies."""
    first: bool
    """The first fold of its accumulation."""


@dataclass
class Oracle:
    """Counts that docs/model.md, "Counts", defines; words and bytes as there."""

    folds: list[Fold] = field(default_factory=list)
    tiles_live: int = 0
    tiles_total: int = 0
    macs_executed: int = 0
    macs_effectual: int = 0
    weight_register_shifts: int = 0
    activation_hops: int = 0
    partial_sum_hops: int = 0
    activation_words_read: int = 0
    weight_words_read: int = 0
    accumulator_reads: int = 0
    accumulator_writes: int = 0
    index_bytes: int = 0
    tile_transfers: int = 0
    header_bytes: list[int] = field(default_factory=list)
    """Index and bias bytes of each column, as one transfer."""
    stream_bytes: list[int] = field(default_factory=list)
    """Bytes of each activation transfer."""
    write_bytes: list[int] = field(default_factory=list)
    """Bytes of each write-back."""


def split(total: int, parts: int) -> list[int]:
    """Sizes of `parts` chunks, the first `total mod parts` one longer."""
    return [total // parts + (1 if i < total % parts else 0) for i in range(parts)]


def is_kept(op: Gemm, n: int, k: int) -> bool:
    if op.mask is None:
        return True
    return bool(op.mask.keep[n // op.mask.block_out, k // op.mask.block_in])


def skipping(op: Gemm, hardware: Hardware) -> bool:
    """Whether dead parts are skipped; a full mask is no mask."""
    return op.mask is not None and not op.mask.keep.all() and hardware.array.sparsity == "block"


def gathering(hardware: Hardware) -> bool:
    """Whether a column's kept sub-blocks are gathered along K."""
    array = hardware.array
    if array.dataflow == "weight-stationary":
        return array.packing == "k-compact"
    return array.dataflow == "output-stationary"


def live_units(op: Gemm, hardware: Hardware, columns: list[int]) -> list[list[int]]:
    """Return the K values of every index unit that a tile column keeps.

    The unit is the tile's R values, or the mask's sub-block where they are gathered.
    """
    height = hardware.array.rows
    if skipping(op, hardware) and gathering(hardware):
        assert op.mask is not None
        height = op.mask.block_in
    units = []
    for start in range(0, op.k, height):
        unit = list(range(start, min(start + height, op.k)))
        if not skipping(op, hardware) or any(is_kept(op, n, k) for n in columns for k in unit):
            units.append(unit)
    return units


def column_tiles(op: Gemm, hardware: Hardware, columns: list[int]) -> list[list[int]]:
    """K values of each tile of a column, in the order of the folds."""
    units = live_units(op, hardware, columns)
    if not gathering(hardware):
        return units
    gathered = [k for unit in units for k in unit]
    if hardware.array.dataflow == "output-stationary":
        return [gathered] if gathered else []
    rows = hardware.array.rows
    return [gathered[i : i + rows] for i in range(0, len(gathered), rows)]


def columns_of(op: Gemm, hardware: Hardware) -> list[list[int]]:
    """Group what lies along the array's width: values of N, or of M (IS)."""
    width = op.m if hardware.array.dataflow == "input-stationary" else op.n
    cols = hardware.array.cols
    return [list(range(at, min(at + cols, width))) for at in range(0, width, cols)]


def chunks_of(op: Gemm, hardware: Hardware, streamed: bool) -> list[int]:
    """Rows of each chunk of the streamed operand (WS: X, IS: W), or of each M tile (OS)."""
    array, buffers = hardware.array, hardware.buffers
    if array.dataflow == "output-stationary":
        return [min(array.rows, op.m - at) for at in range(0, op.m, array.rows)]
    if array.dataflow == "input-stationary":
        rows, half, bits = op.n, buffers.weight_bytes // 2, hardware.precision.weight_bits
    else:
        rows, half, bits = op.m, buffers.activation_bytes // 2, hardware.precision.activation_bits
    cap = array.accumulator_rows
    if streamed:
        while cap * op.k * bits > half * 8:
            cap -= 1
    return split(rows, -(-rows // cap))


def folds_of(op: Gemm, hardware: Hardware, chunks: list[int]) -> Iterator[Fold]:
    """Every fold, columns outermost."""
    dataflow = hardware.array.dataflow
    for j, columns in enumerate(columns_of(op, hardware)):
        for chunk, rows in enumerate(chunks):
            for i, tile in enumerate(column_tiles(op, hardware, columns)):
                if dataflow == "input-stationary":
                    kept = len(columns) * len(tile)  # values of X: every weight is kept
                else:
                    kept = sum(is_kept(op, n, k) for n in columns for k in tile)
                if dataflow == "output-stationary":
                    yield Fold(j, chunk, len(tile), rows, len(columns), kept, True)
                else:
                    yield Fold(j, chunk, rows, len(tile), len(columns), kept, i == 0)


def count(op: Gemm, hardware: Hardware, x_resident: bool, y_resident: bool) -> Oracle:
    """Count everything that one weight GEMM makes the chip do.

    Parameters
    ----------
    op
        A weight GEMM; the input-stationary dataflow takes it dense.
    hardware
        One core, real memory.
    x_resident, y_resident
        Whether X lies in the activation buffer, and whether Y stays there.
    """
    array, precision = hardware.array, hardware.precision
    rows, cols, dataflow = array.rows, array.cols, array.dataflow
    streamed = dataflow == "input-stationary" or not x_resident
    chunks = chunks_of(op, hardware, streamed)
    out = Oracle()
    columns = columns_of(op, hardware)
    k_tiles = -(-op.k // rows)
    out.tiles_total = len(columns) * k_tiles

    for fold in folds_of(op, hardware, chunks):
        out.folds.append(fold)
        m, r, c = fold.streamed, fold.real_rows, fold.real_cols
        out.macs_executed += m * r * c
        out.activation_hops += m * r * cols
        if dataflow == "output-stationary":
            out.macs_effectual += r * fold.kept
            out.weight_register_shifts += m * rows * c  # each weight passes all rows
            # a sum is updated in place, then all columns shift their results out
            out.partial_sum_hops += m * r * c + cols * sum(range(1, rows + 1))
            out.activation_words_read += m * r
            out.weight_words_read += m * c
            out.accumulator_writes += r * c
            continue
        out.macs_effectual += m * fold.kept
        out.weight_register_shifts += sum(cols for row in range(rows) for _ in range(row + 1))
        out.partial_sum_hops += m * rows * c
        if dataflow == "input-stationary":
            out.activation_words_read += r * c
            out.weight_words_read += m * r
        else:
            out.activation_words_read += m * r
            out.weight_words_read += r * c
        out.accumulator_writes += m * c
        out.accumulator_reads += 0 if fold.first else m * c

    slots = hardware.buffers.weight_bytes * 8 // (rows * cols * precision.weight_bits)
    for j, column in enumerate(columns):
        tiles = column_tiles(op, hardware, column)
        units = live_units(op, hardware, column)
        if dataflow == "output-stationary":
            slices = sum(-(-len(tile) // rows) for tile in tiles)
            # one fetch serves all M tiles that are visited without leaving the column
            out.tile_transfers += slices * len(stream_groups(op, hardware, x_resident))
            out.tiles_live += slices
        else:
            held = not streamed and len(chunks) > 1 and 2 * len(tiles) <= slots
            fetches = 1 if held else len(chunks)
            from_dram = dataflow == "weight-stationary" or not x_resident
            out.tile_transfers += len(tiles) * fetches if from_dram else 0
            out.tiles_live += len(tiles)
        index = 0
        if array.sparsity == "block" and dataflow != "input-stationary":
            if array.index == "bsr":
                index = 4 + sum(2 for _ in units)
            else:
                height = rows
                if skipping(op, hardware) and gathering(hardware):
                    assert op.mask is not None
                    height = op.mask.block_in
                bits = -(-op.k // height)
                index = -(-bits // 8)
        out.index_bytes += index
        bias = 0
        if op.bias and dataflow != "input-stationary":
            bias = -(-len(column) * precision.accumulator_bits // 8)
        elif op.bias and j == 0:
            bias = -(-op.n * precision.accumulator_bits // 8)
        out.header_bytes.append(index + bias)
    out.stream_bytes = stream_transfers(op, hardware, chunks, x_resident)
    if not y_resident:
        for column in columns:
            for chunk in chunks:
                words = len(column) * chunk
                out.write_bytes.append(-(-words * precision.activation_bits // 8))
    return out


def stream_groups(op: Gemm, hardware: Hardware, x_resident: bool) -> list[list[int]]:
    """OS: M tiles that stay in half the activation buffer together, as row counts."""
    tiles = chunks_of(op, hardware, False)
    if x_resident:
        return [tiles]
    half = hardware.buffers.activation_bytes // 2
    fit = half * 8 // (op.k * hardware.precision.activation_bits) // hardware.array.rows
    sizes = split(len(tiles), -(-len(tiles) // fit))
    return [tiles[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]


def stream_transfers(
    op: Gemm, hardware: Hardware, chunks: list[int], x_resident: bool
) -> list[int]:
    """Bytes of every activation transfer: X in slices of R values of K, those that are used."""
    dataflow, rows = hardware.array.dataflow, hardware.array.rows
    bits = hardware.precision.activation_bits
    if dataflow == "input-stationary":
        bits = hardware.precision.weight_bits
    elif x_resident:
        return []
    used: set[int] = set()
    for column in columns_of(op, hardware):
        used.update(k for tile in column_tiles(op, hardware, column) for k in tile)
    if dataflow == "output-stationary":
        return [-(-m * op.k * bits // 8) for m in chunks] if used else []
    out = []
    for chunk in chunks:
        for at in range(0, op.k, rows):
            piece = range(at, min(at + rows, op.k))
            if used.intersection(piece):
                out.append(-(-chunk * len(piece) * bits // 8))
    return out


def whole_bursts(sizes: list[int], burst: int) -> int:
    """Bytes moved when every transfer is rounded up to whole bursts."""
    return sum(-(-size // burst) * burst for size in sizes)

"""Mask-independent part of the closed forms, once per kind of operator.

`plan` turns workload shapes and a chip into one row per operator; operators of
equal shape and residency share the work. `combine` (lspsim.kernels.analytic)
then needs a few products per operator and mask.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from lspsim.kernels.columns import skips
from lspsim.kernels.counts import (
    ACT_READ,
    ACT_WRITE,
    COUNT_SIZE,
    DRAM_READ,
    DRAM_WRITE,
    INDEX_BYTES,
    LANE_OPS,
    NOC,
    WEIGHT_WRITE,
)
from lspsim.kernels.layout import (
    ACCUMULATOR_ROWS,
    ACTIVATION_GEMM,
    BATCH,
    CHUNKS,
    COLS,
    CORES,
    DATAFLOW,
    FIRST_OP,
    FUSED,
    IDEAL,
    IN0,
    IN1,
    INDEX,
    INPUT_STATIONARY,
    KIND,
    LAST_OP,
    NO_INPUT,
    OUT_ROWS,
    OUTPUT_STATIONARY,
    OVERLAP,
    PARAMETERS,
    PASS_CLASS,
    PASSES,
    PREFETCH,
    ROWS,
    SHAPE,
    SPARSE,
    VECTOR,
    W_RESIDENT,
    X_RESIDENT,
    Y_RESIDENT,
    K,
    M,
    N,
)
from lspsim.kernels.pace import fold_pace
from lspsim.kernels.segments import ceil_div, tensor_bytes
from lspsim.kernels.transfers import (
    activation_bits,
    bias_bytes,
    bursts,
    channel_cycles,
    gather_cycles,
    index_bytes,
    stationary_bits,
    streamed_bits,
    tile_bytes,
    vector_cycles,
)
from lspsim.kernels.visits import chunk_bounds, stationary_from_dram, streamed, units_of

# columns of a plan row; COUNT_SIZE constant counts follow at CONSTANT
(
    FAST,  # 1: a GEMM that `combine` may do in closed form; 0: column by column; 2: vector
    REPEATS,  # batch x streamed rows
    VISITS,  # batch x chunks
    PACE_ALL,  # what one fold per chunk adds to the array's time
    PACE_LAST,
    PACE_LEAST,
    LAST_LENGTH,
    FROM_DRAM,
    HOLDABLE,  # a column's tiles may be held over its chunks
    TILE_BYTES,
    TILE_BURSTS,
    TILE_CYCLES,
    HEADER_FULL,  # channel cycles of a column's header that rides on a tile transfer
    HEADER_LAST,
    LONE_FULL,  # the same on the write-back channel, for an empty column
    LONE_LAST,
    WORK_LONG,  # fused vector cycles of a long visit
    WORK_LAST,  # of a core's last visit, full width
    WORK_RAGGED,  # of the last column's last visit
    STATIONARY_BITS,
    STREAMED_BITS,
    SHIFTS_PER_TILE,
    COLUMNS,
    TILES_ALL,
    CHANNEL_WEIGHTS,  # constant channel cycles per class
    CHANNEL_ACTIVATIONS,
    CHANNEL_WRITEBACK,
    GATHER,
    MAY_PREFETCH,
    BUSY_SUM,  # vector operators: cycles summed over cores
    BUSY_MOST,  # and of the slowest core
    CONSTANT,
) = range(32)
PLAN_SIZE = CONSTANT + COUNT_SIZE


@njit(cache=True, nogil=True)
def classify(ops, segments, class_of):
    """Fill `class_of[g]` with the first operator of the first segment like segment g.

    Two segments are alike when they differ in their masks at most.
    """
    # plain indices, no row views: each view costs a reference count, and this runs per variation
    latest = np.full(ops.shape[0], -1, np.int64)  # last segment of each shape
    for g in range(segments.shape[0]):
        a = segments[g, FIRST_OP]
        shape = ops[a, SHAPE]
        like = latest[shape]
        latest[shape] = g
        class_of[g] = a
        if like < 0:
            continue
        b = segments[like, FIRST_OP]
        same = (
            segments[g, X_RESIDENT] == segments[like, X_RESIDENT]
            and segments[g, W_RESIDENT] == segments[like, W_RESIDENT]
            and segments[g, Y_RESIDENT] == segments[like, Y_RESIDENT]
            and segments[g, CHUNKS] == segments[like, CHUNKS]
            and segments[g, FUSED] == segments[like, FUSED]
        )
        for f in range(segments[g, FUSED] + 1):
            same = (
                same
                and ops[a + f, SHAPE] == ops[b + f, SHAPE]
                and (ops[a + f, IN1] == NO_INPUT) == (ops[b + f, IN1] == NO_INPUT)
                and (ops[a + f, IN1] == ops[a + f, IN0]) == (ops[b + f, IN1] == ops[b + f, IN0])
            )
        if same:
            class_of[g] = class_of[like]


@njit(cache=True, nogil=True)
def plan_stream(op, chip, seg, row):
    """Constant transfers of a streamed dense operand (every core that has a column)."""
    rows = chip[ROWS]
    width, length = units_of(op, chip)
    columns = ceil_div(width, chip[COLS])
    chunks = seg[CHUNKS]
    bits = streamed_bits(op, chip)
    k_tiles = ceil_div(op[K], rows)
    rest = op[K] - (k_tiles - 1) * rows
    _, long_part = chunk_bounds(length, chunks, 0)
    _, short_part = chunk_bounds(length, chunks, chunks - 1)
    longer = length % chunks
    fills = np.int64(0)
    moved = np.int64(0)
    cycles = np.int64(0)
    for part, times in ((long_part, longer), (short_part, chunks - longer)):
        for height, slices in ((rows, k_tiles - 1), (rest, 1)):
            size = ceil_div(height * part * bits, 8)
            fills += times * slices * size
            moved += times * slices * bursts(size, chip)
            cycles += times * slices * channel_cycles(size, chip, 1)
    copies = min(chip[CORES], columns) * op[BATCH]
    row[CONSTANT + DRAM_READ] += copies * moved
    row[CHANNEL_ACTIVATIONS] += copies * cycles
    if chip[DATAFLOW] == INPUT_STATIONARY and op[KIND] != ACTIVATION_GEMM:
        row[CONSTANT + WEIGHT_WRITE] += copies * fills
    else:
        row[CONSTANT + ACT_WRITE] += copies * fills


@njit(cache=True, nogil=True)
def plan_gemm(ops, chip, seg, plan):
    """Fill the plan rows of a GEMM and of the operators fused to it."""
    first = seg[FIRST_OP]
    op = ops[first]
    row = plan[first]
    rows = chip[ROWS]
    cols = chip[COLS]
    cores = chip[CORES]
    overlap = chip[OVERLAP]
    width, length = units_of(op, chip)
    columns = ceil_div(width, cols)
    chunks = seg[CHUNKS]
    batch = op[BATCH]
    stream_order = streamed(seg, chip)
    from_dram = stationary_from_dram(op, seg, chip)
    indexed = chip[SPARSE] and op[KIND] != ACTIVATION_GEMM
    row[FAST] = 1
    if (
        chip[DATAFLOW] == OUTPUT_STATIONARY
        or (indexed and chip[INDEX] == 1 and chip[DATAFLOW] != INPUT_STATIONARY)
        or (stream_order and skips(op, chip))
    ):
        row[FAST] = 0
    last_op = ops[seg[LAST_OP]]
    for f in range(first + 1, seg[LAST_OP] + 1):
        elements = ops[f, M] * ops[f, N]
        plan[f, CONSTANT + LANE_OPS] = elements * chip[PASSES + ops[f, PASS_CLASS]]
        if ops[f, IN1] != NO_INPUT:
            plan[f, CONSTANT + ACT_READ] = ceil_div(elements * activation_bits(ops[f], chip), 8)
        plan[f, FAST] = 3
    if not chip[IDEAL] and cores > 1 and seg[Y_RESIDENT]:
        row[GATHER] = gather_cycles(tensor_bytes(last_op, chip), chip)
    row[MAY_PREFETCH] = (
        chip[PREFETCH] and op[KIND] != ACTIVATION_GEMM and chip[DATAFLOW] != INPUT_STATIONARY
    )
    row[TILE_BYTES] = tile_bytes(op, chip)
    row[TILE_CYCLES] = channel_cycles(row[TILE_BYTES], chip, 0)
    row[FROM_DRAM] = from_dram
    if not row[FAST]:
        return
    _, last_length = chunk_bounds(length, chunks, chunks - 1)
    _, long_length = chunk_bounds(length, chunks, 0)
    longer = length % chunks
    pace_long = fold_pace(overlap, long_length, rows, cols)
    pace_last = fold_pace(overlap, last_length, rows, cols)
    row[REPEATS] = batch * length
    row[VISITS] = batch * chunks
    row[PACE_ALL] = longer * pace_long + (chunks - longer) * pace_last
    row[PACE_LAST] = pace_last
    row[PACE_LEAST] = min(pace_long, pace_last)
    row[LAST_LENGTH] = last_length
    row[HOLDABLE] = chunks > 1 and not stream_order
    row[TILE_BURSTS] = bursts(row[TILE_BYTES], chip)
    row[STATIONARY_BITS] = stationary_bits(op, chip)
    row[STREAMED_BITS] = streamed_bits(op, chip)
    row[SHIFTS_PER_TILE] = batch * chunks * (cols * rows * (rows + 1) // 2)
    row[COLUMNS] = columns
    row[TILES_ALL] = batch * columns * ceil_div(op[K], rows)
    # headers: index (bitmap: the same for every column) and bias
    index = index_bytes(op, chip, 0)
    row[CONSTANT + INDEX_BYTES] = columns * index
    request_class = 0 if from_dram else 2
    if chip[DATAFLOW] == INPUT_STATIONARY:
        header = bias_bytes(op, chip, 0)
        row[CONSTANT + DRAM_READ] += bursts(header, chip)
        row[CHANNEL_WEIGHTS + request_class] += channel_cycles(header, chip, request_class)
    else:
        full = index + bias_bytes(op, chip, 0)
        last = index + bias_bytes(op, chip, columns - 1)
        row[CONSTANT + DRAM_READ] += (columns - 1) * bursts(full, chip) + bursts(last, chip)
        row[HEADER_FULL] = channel_cycles(full, chip, request_class)
        row[HEADER_LAST] = channel_cycles(last, chip, request_class)
        row[LONE_FULL] = channel_cycles(full, chip, 2)
        row[LONE_LAST] = channel_cycles(last, chip, 2)
        if not from_dram:
            row[CHANNEL_WRITEBACK] += (columns - 1) * row[HEADER_FULL] + row[HEADER_LAST]
    # results
    real = width - (columns - 1) * cols
    y_bits = activation_bits(last_op, chip)
    result = tensor_bytes(last_op, chip)
    if seg[Y_RESIDENT]:
        row[CONSTANT + ACT_WRITE] += result * cores
        row[CONSTANT + NOC] = result * (cores - 1)
    else:
        for part, times in ((long_length, longer), (last_length, chunks - longer)):
            for wide, many in ((cols, columns - 1), (real, 1)):
                size = ceil_div(part * wide * y_bits, 8)
                row[CONSTANT + DRAM_WRITE] += batch * times * many * bursts(size, chip)
                row[CHANNEL_WRITEBACK] += batch * times * many * channel_cycles(size, chip, 2)
    if stream_order:
        plan_stream(op, chip, seg, row)
    for f in range(first + 1, seg[LAST_OP] + 1):
        kind = ops[f, PASS_CLASS]
        row[WORK_LONG] += vector_cycles(long_length * min(cols, width), kind, chip)
        row[WORK_LAST] += vector_cycles(last_length * min(cols, width), kind, chip)
        row[WORK_RAGGED] += vector_cycles(last_length * real, kind, chip)


@njit(cache=True, nogil=True)
def core_shares(rows, cores):
    """Rows per core as (share, cores with it): `rows (p+1) // P - rows p // P` takes two values."""
    base = rows // cores
    longer = rows - base * cores
    return ((base, cores - longer), (base + 1, longer))


@njit(cache=True, nogil=True)
def count_vector(op, chip, seg, row):
    """Fill the constant counts and channel cycles of a serial vector operator."""
    cores = chip[CORES]
    bits = activation_bits(op, chip)
    streams = np.int64(0)
    residents = np.int64(0)
    if seg[X_RESIDENT]:
        residents += 1
    else:
        streams += 1
    if op[IN1] != NO_INPUT and op[IN1] != op[IN0]:
        if seg[W_RESIDENT]:
            residents += 1
        else:
            streams += 1
    row[CONSTANT + LANE_OPS] = op[M] * op[N] * chip[PASSES + op[PASS_CLASS]]
    row[CONSTANT + ACT_READ] = residents * ceil_div(op[M] * op[N] * bits, 8)
    if seg[Y_RESIDENT]:
        result = tensor_bytes(op, chip)
        row[CONSTANT + ACT_WRITE] += result * cores
        row[CONSTANT + NOC] = result * (cores - 1)
    if streams == 0 and op[PARAMETERS] == 0 and seg[Y_RESIDENT]:
        return
    parameters = ceil_div(op[PARAMETERS] * bits, 8)
    for p in range(cores):
        r0 = op[M] * p // cores
        share = op[M] * (p + 1) // cores - r0
        if share == 0:
            continue
        chunks = ceil_div(share, chip[ACCUMULATOR_ROWS])
        for c in range(chunks):
            at, rows = chunk_bounds(share, chunks, c)
            at += r0
            size = streams * ceil_div(rows * op[N] * bits, 8)
            if c == 0:
                size += parameters
            if size > 0:
                row[CONSTANT + DRAM_READ] += bursts(size, chip)
                row[CONSTANT + ACT_WRITE] += size
                row[CONSTANT + ACT_READ] += size
                row[CHANNEL_ACTIVATIONS] += channel_cycles(size, chip, 1)
            elif seg[Y_RESIDENT]:
                break
            if not seg[Y_RESIDENT]:
                out = op[OUT_ROWS] * (at + rows) // op[M] - op[OUT_ROWS] * at // op[M]
                size = ceil_div(out * op[N] * bits, 8)
                row[CONSTANT + DRAM_WRITE] += bursts(size, chip)
                row[CHANNEL_WRITEBACK] += channel_cycles(size, chip, 2)


@njit(cache=True, nogil=True)
def plan_vector(ops, chip, seg, plan):
    """Fill the plan row of a serial vector operator."""
    i = seg[FIRST_OP]
    op = ops[i]
    row = plan[i]
    cores = chip[CORES]
    row[FAST] = 2
    count_vector(op, chip, seg, row)
    for share, times in core_shares(op[M], cores):
        if share == 0 or times == 0:
            continue
        chunks = ceil_div(share, chip[ACCUMULATOR_ROWS])
        base = share // chunks
        longer = share - base * chunks
        busy = (chunks - longer) * vector_cycles(base * op[N], op[PASS_CLASS], chip)
        if longer > 0:
            busy += longer * vector_cycles((base + 1) * op[N], op[PASS_CLASS], chip)
        row[BUSY_SUM] += times * busy
        row[BUSY_MOST] = max(row[BUSY_MOST], busy)
    if not chip[IDEAL] and cores > 1 and seg[Y_RESIDENT]:
        row[GATHER] = gather_cycles(tensor_bytes(op, chip), chip)


@njit(cache=True, nogil=True)
def plan(ops, chip, segments, rows, class_of):
    """Plan every class of segments once.

    Parameters
    ----------
    ops, chip, segments
        Tables of `lspsim.schedule`.
    rows
        int64 `[ops, PLAN_SIZE]`; the rows of the first segment of each class are overwritten.
    class_of
        int64 `[segments]`, overwritten: first operator of the first segment of the class.
    """
    classify(ops, segments, class_of)
    for g in range(segments.shape[0]):
        first = segments[g, FIRST_OP]
        if class_of[g] != first:
            continue
        seg = segments[g]
        for f in range(seg[FUSED] + 1):
            for c in range(PLAN_SIZE):
                rows[first + f, c] = 0
        if ops[first, KIND] == VECTOR:
            plan_vector(ops, chip, seg, rows)
        else:
            plan_gemm(ops, chip, seg, rows)

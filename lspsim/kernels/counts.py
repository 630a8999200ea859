"""Exact action counts per operator (docs/model.md, "Counts")."""

from __future__ import annotations

import numpy as np
from numba import njit

from lspsim.kernels.columns import skips
from lspsim.kernels.layout import (
    ACTIVATION_GEMM,
    BATCH,
    CHUNKS,
    COLS,
    CORES,
    DATAFLOW,
    FIRST_OP,
    IN1,
    INPUT_STATIONARY,
    KEPT,
    KIND,
    LAST_OP,
    NO_INPUT,
    OUTPUT_STATIONARY,
    PACKING,
    PASS_CLASS,
    PASSES,
    ROWS,
    SLOTS,
    WEIGHT_STATIONARY,
    Y_RESIDENT,
    K,
    M,
    N,
)
from lspsim.kernels.segments import ceil_div, tensor_bytes
from lspsim.kernels.transfers import (
    activation_bits,
    bias_bytes,
    bursts,
    channel_cycles,
    index_bytes,
    stationary_bits,
    streamed_bits,
    tile_bytes,
)
from lspsim.kernels.visits import (
    chunk_bounds,
    column_slices,
    stationary_from_dram,
    streamed,
    units_of,
)

# same order as lspsim.simulate.columns.COUNTS (a test asserts it)
(
    MACS,
    EFFECTUAL,
    SHIFTS,
    HOPS,
    SUM_HOPS,
    ACT_READ,
    ACT_WRITE,
    WEIGHT_READ,
    WEIGHT_WRITE,
    ACC_READS,
    ACC_WRITES,
    MUX,
    LANE_OPS,
    INDEX_BYTES,
    DRAM_READ,
    DRAM_WRITE,
    NOC,
    COUNT_SIZE,
) = range(18)


@njit(cache=True, nogil=True)
def count_streamed(op, chip, words, seg, tiles, core_of, channel, row):
    """Count the transfers of the streamed operand; return their channel cycles."""
    cores = chip[CORES]
    rows = chip[ROWS]
    width, length = units_of(op, chip)
    columns = ceil_div(width, chip[COLS])
    chunks = seg[CHUNKS]
    bits = streamed_bits(op, chip)
    k_tiles = ceil_div(op[K], rows)
    used = np.empty(k_tiles, np.bool_)
    ends = np.empty(k_tiles, np.int64)
    scratch = (
        np.empty(max(1, k_tiles * rows), np.uint64) if skips(op, chip) else np.empty(1, np.uint64)
    )
    fills = 0
    cycles = 0
    moved = 0
    output_stationary = chip[DATAFLOW] == OUTPUT_STATIONARY
    for p in range(cores):
        for inst in range(op[BATCH]):
            any_folds = False
            used[:] = False
            for j in range(columns):
                if core_of[inst * columns + j] == p and tiles[j] > 0:
                    any_folds = True
                    if not output_stationary:
                        column_slices(op, chip, words, j, tiles[j], ends, used, scratch)
            if not any_folds:
                continue
            if output_stationary:
                for t in range(ceil_div(length, rows)):
                    size = ceil_div(min(rows, length - t * rows) * op[K] * bits, 8)
                    fills += size
                    moved += bursts(size, chip)
                    cycles += channel_cycles(size, chip, 1)
                continue
            for c in range(chunks):
                _, part = chunk_bounds(length, chunks, c)
                for s in range(k_tiles):
                    if used[s]:
                        size = ceil_div(min(rows, op[K] - s * rows) * part * bits, 8)
                        fills += size
                        moved += bursts(size, chip)
                        cycles += channel_cycles(size, chip, 1)
    row[DRAM_READ] += moved
    if chip[DATAFLOW] == INPUT_STATIONARY and op[KIND] != ACTIVATION_GEMM:
        row[WEIGHT_WRITE] += fills
    else:
        row[ACT_WRITE] += fills
    channel[1] += cycles
    return cycles


@njit(cache=True, nogil=True)
def count_gemm(ops, chip, words, seg, tiles, heights, live, core_of, channel, counts):
    """Fill the count row of a GEMM and add its channel cycles per class to `channel`.

    `channel[3]` receives the number of tile transfers.
    """
    op = ops[seg[FIRST_OP]]
    row = counts[seg[FIRST_OP]]
    rows = chip[ROWS]
    cols = chip[COLS]
    cores = chip[CORES]
    width, length = units_of(op, chip)
    columns = ceil_div(width, cols)
    batch = op[BATCH]
    chunks = seg[CHUNKS]
    output_stationary = chip[DATAFLOW] == OUTPUT_STATIONARY
    m_tiles = ceil_div(length, rows)
    from_dram = stationary_from_dram(op, seg, chip)
    stream_order = streamed(seg, chip)
    resident = seg[Y_RESIDENT]
    sum_tiles = 0
    sum_heights = 0
    sum_cells = 0  # heights x columns
    sum_tile_cols = 0
    sum_later_cols = 0  # folds that read accumulators
    fetched = 0
    slices = 0
    indexed = 0
    tile_cycles = channel_cycles(tile_bytes(op, chip), chip, 0)
    last_op = ops[seg[LAST_OP]]
    y_bits = activation_bits(last_op, chip)
    _, long_chunk = chunk_bounds(length, chunks, 0)
    _, short_chunk = chunk_bounds(length, chunks, chunks - 1)
    longer = length % chunks
    for j in range(columns):
        real = min(cols, width - j * cols)
        n = tiles[j]
        sum_tiles += n
        sum_heights += heights[j]
        sum_cells += heights[j] * real
        sum_tile_cols += n * real
        if n > 1:
            sum_later_cols += (n - 1) * real
        slots = ceil_div(heights[j], rows) if output_stationary else n
        slices += slots
        if from_dram:
            visits = chunks
            if not stream_order and (output_stationary or chunks == 1 or 2 * slots <= chip[SLOTS]):
                visits = 1
            fetched += slots * visits
        # the header: index and bias
        header = bias_bytes(op, chip, j)
        if header > 0 or chip[DATAFLOW] != INPUT_STATIONARY:
            own = index_bytes(op, chip, live[j])
            indexed += own
            header += own
        if header > 0:
            row[DRAM_READ] += bursts(header, chip)
            request_class = 0 if (from_dram and slots > 0) else 2
            channel[request_class] += channel_cycles(header, chip, request_class)
        if not resident:
            if output_stationary:
                whole = ceil_div(rows * real * y_bits, 8)
                rest = ceil_div((length - (m_tiles - 1) * rows) * real * y_bits, 8)
                row[DRAM_WRITE] += batch * (
                    (m_tiles - 1) * bursts(whole, chip) + bursts(rest, chip)
                )
                channel[2] += batch * (
                    (m_tiles - 1) * channel_cycles(whole, chip, 2) + channel_cycles(rest, chip, 2)
                )
            else:
                large = ceil_div(long_chunk * real * y_bits, 8)
                small = ceil_div(short_chunk * real * y_bits, 8)
                row[DRAM_WRITE] += batch * (
                    longer * bursts(large, chip) + (chunks - longer) * bursts(small, chip)
                )
                channel[2] += batch * (
                    longer * channel_cycles(large, chip, 2)
                    + (chunks - longer) * channel_cycles(small, chip, 2)
                )
    fetched *= batch
    row[INDEX_BYTES] = indexed
    row[MACS] = batch * length * sum_cells
    row[EFFECTUAL] = batch * op[M] * op[KEPT]
    if output_stationary:
        row[SHIFTS] = batch * m_tiles * rows * sum_cells
        row[HOPS] = batch * length * cols * sum_heights
        row[SUM_HOPS] = (
            batch * length * sum_cells + batch * m_tiles * sum_tiles * cols * rows * (rows + 1) // 2
        )
        row[ACC_WRITES] = batch * length * sum_tile_cols
        stationary_reads = batch * m_tiles * sum_cells
    else:
        row[SHIFTS] = batch * chunks * sum_tiles * (cols * rows * (rows + 1) // 2)
        row[HOPS] = batch * length * cols * sum_heights
        row[SUM_HOPS] = batch * length * rows * sum_tile_cols
        row[ACC_WRITES] = batch * length * sum_tile_cols
        row[ACC_READS] = batch * length * sum_later_cols
        stationary_reads = batch * chunks * sum_cells
    streamed_reads = batch * length * sum_heights
    if chip[PACKING] == 1 and chip[DATAFLOW] == WEIGHT_STATIONARY:
        row[MUX] = streamed_reads
    stationary_read_bytes = ceil_div(stationary_reads * stationary_bits(op, chip), 8)
    streamed_read_bytes = ceil_div(streamed_reads * streamed_bits(op, chip), 8)
    if from_dram:
        row[WEIGHT_READ] += stationary_read_bytes
        row[WEIGHT_WRITE] += fetched * tile_bytes(op, chip)
        row[DRAM_READ] += fetched * bursts(tile_bytes(op, chip), chip)
        channel[0] += fetched * tile_cycles
        channel[3] += fetched
    else:
        row[ACT_READ] += stationary_read_bytes
    if chip[DATAFLOW] == INPUT_STATIONARY and op[KIND] != ACTIVATION_GEMM:
        row[WEIGHT_READ] += streamed_read_bytes
    else:
        row[ACT_READ] += streamed_read_bytes
    if stream_order:
        count_streamed(op, chip, words, seg, tiles, core_of, channel, row)
    result = tensor_bytes(last_op, chip)
    if resident:
        row[ACT_WRITE] += result * cores
        row[NOC] = result * (cores - 1)
    # vector operators that ride on the drain
    for f in range(seg[FIRST_OP] + 1, seg[LAST_OP] + 1):
        elements = ops[f, M] * ops[f, N]
        counts[f, LANE_OPS] = elements * chip[PASSES + ops[f, PASS_CLASS]]
        if ops[f, IN1] != NO_INPUT:
            counts[f, ACT_READ] = ceil_div(elements * activation_bits(ops[f], chip), 8)
    return slices

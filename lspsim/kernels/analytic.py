"""The analytic engine: closed forms over live tiles per column.

Exact (equal to `event`) with ideal memory. With real memory each segment ends
no earlier than its array time, its own channel time, and the channel time of
everything moved so far: a lower bound on the end of every segment.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from lspsim.kernels.assign import assign_units
from lspsim.kernels.columns import column_profile
from lspsim.kernels.counts import (
    ACC_READS,
    ACC_WRITES,
    ACT_READ,
    COUNT_SIZE,
    DRAM_READ,
    EFFECTUAL,
    HOPS,
    MACS,
    MUX,
    SHIFTS,
    SUM_HOPS,
    WEIGHT_READ,
    WEIGHT_WRITE,
    count_gemm,
)
from lspsim.kernels.layout import (
    ACTIVATION_GEMM,
    ASSIGNMENT,
    BATCH,
    CHUNKS,
    COLS,
    CORES,
    DATAFLOW,
    FIRST_OP,
    IDEAL,
    INPUT_STATIONARY,
    KEPT,
    KIND,
    LAST_OP,
    OUTPUT_STATIONARY,
    OVERLAP,
    PACKING,
    PASS_CLASS,
    ROWS,
    SHARED,
    SLOTS,
    WEIGHT_STATIONARY,
    K,
    M,
    N,
)
from lspsim.kernels.pace import fold_pace
from lspsim.kernels.plan import (
    BUSY_MOST,
    BUSY_SUM,
    CHANNEL_ACTIVATIONS,
    CHANNEL_WEIGHTS,
    CHANNEL_WRITEBACK,
    COLUMNS,
    CONSTANT,
    FAST,
    FROM_DRAM,
    GATHER,
    HEADER_FULL,
    HEADER_LAST,
    HOLDABLE,
    LAST_LENGTH,
    LONE_FULL,
    LONE_LAST,
    MAY_PREFETCH,
    PACE_ALL,
    PACE_LAST,
    PACE_LEAST,
    REPEATS,
    SHIFTS_PER_TILE,
    STATIONARY_BITS,
    STREAMED_BITS,
    TILE_BURSTS,
    TILE_BYTES,
    TILE_CYCLES,
    TILES_ALL,
    VISITS,
    WORK_LAST,
    WORK_LONG,
    WORK_RAGGED,
)
from lspsim.kernels.profile import (
    CELLS,
    EMPTY,
    FEWEST,
    HEIGHTS,
    LAST_CORES,
    LAST_EMPTY,
    LATER_COLS,
    MOST,
    MOST_CORES,
    TILE_COLS,
    TILES,
)
from lspsim.kernels.segments import ceil_div
from lspsim.kernels.transfers import vector_cycles
from lspsim.kernels.visits import chunk_bounds, stationary_from_dram, streamed, units_of

# columns of a segment's cycles, in the order of lspsim.simulate.columns.BUCKETS
(
    COMPUTE,
    FILL_DRAIN,
    STALL_WEIGHTS,
    STALL_ACTIVATIONS,
    STALL_WRITEBACK,
    INDEX,
    VECTOR_BUCKET,
    IMBALANCE,
    BUCKET_SIZE,
) = range(9)

# columns of the other per-operator figures
TILES_LIVE, TILES_TOTAL, FOLDS, ARRAY, TOTAL, FIGURES = range(6)


@njit(cache=True, nogil=True)
def fused_cycles(ops, seg, elements, chip):
    """Vector-unit cycles of one visit of the operators fused to a GEMM."""
    cycles = 0
    for f in range(seg[FIRST_OP] + 1, seg[LAST_OP] + 1):
        cycles += vector_cycles(elements, ops[f, PASS_CLASS], chip)
    return cycles


@njit(cache=True, nogil=True)
def vector_end_by_visits(ops, seg, op, chip, tiles, heights, core_of, core):
    """End of a core's fused vector work, by walking its visits with everything ready."""
    rows = chip[ROWS]
    cols = chip[COLS]
    overlap = chip[OVERLAP]
    width, length = units_of(op, chip)
    columns = ceil_div(width, cols)
    chunks = seg[CHUNKS]
    output_stationary = chip[DATAFLOW] == OUTPUT_STATIONARY
    m_tiles = ceil_div(length, rows)
    stream_order = streamed(seg, chip)
    outer = chunks if stream_order else 1
    s = np.int64(0)
    old = np.int64(-1)
    end = np.int64(0)
    for inst in range(op[BATCH]):
        for oc in range(outer):
            for j in range(columns):
                if core_of[inst * columns + j] != core:
                    continue
                real = min(cols, width - j * cols)
                first = 0
                last = chunks
                if output_stationary:
                    last = m_tiles
                    if stream_order:
                        first, last = chunk_bounds(m_tiles, chunks, oc)
                        last += first
                elif stream_order:
                    first = oc
                    last = oc + 1
                for c in range(first, last):
                    if output_stationary:
                        out_rows = min(rows, length - c * rows)
                        streams = heights[j]
                    else:
                        _, out_rows = chunk_bounds(length, chunks, c)
                        streams = out_rows
                    n = tiles[j]
                    done = np.int64(0)
                    if n > 0:
                        if output_stationary:
                            if old < 0:
                                s = np.int64(0)
                            elif overlap == 0:
                                s += old + max(0, rows - streams)
                            else:
                                s += old + rows + cols - 2
                        else:
                            if old < 0:
                                s = np.int64(rows)
                            else:
                                s += fold_pace(overlap, old, rows, cols)
                            s += (n - 1) * fold_pace(overlap, streams, rows, cols)
                        old = streams
                        done = s + streams + rows + cols
                    end = max(done, end) + fused_cycles(ops, seg, out_rows * real, chip)
    return end


@njit(cache=True, nogil=True)
def core_array_cycles(chip, folds, pace_sum, pace_last, last_length, first_height):
    """`cycles_array` of one core from the number of its folds per chunk (closed forms).

    `pace_sum` sums, over the folds, what each adds before the next may start.
    """
    if folds == 0:
        return 0
    rows = chip[ROWS]
    cols = chip[COLS]
    if chip[OVERLAP] == 2:
        return pace_sum + 2
    if chip[DATAFLOW] == OUTPUT_STATIONARY:
        return pace_sum - max(first_height, rows) + first_height + rows + cols
    if chip[OVERLAP] == 1:
        return pace_sum + rows + cols
    return pace_sum - pace_last + last_length + 2 * rows + cols


@njit(cache=True, nogil=True)
def general_gemm(ops, words, chip, seg, tiles, heights, live, channel, counts, bucket, figure):
    """Do a GEMM column by column: any dataflow, index, packing and streaming.

    Returns
    -------
    (cycles of the slowest core, slots that a column needs and the FIFO lacks, or 0)
    """
    rows = chip[ROWS]
    cols = chip[COLS]
    cores = chip[CORES]
    overlap = chip[OVERLAP]
    output_stationary = chip[DATAFLOW] == OUTPUT_STATIONARY
    i = seg[FIRST_OP]
    op = ops[i]
    columns = column_profile(op, chip, words, tiles, heights, live)
    _, length = units_of(op, chip)
    chunks = seg[CHUNKS]
    m_tiles = ceil_div(length, rows)
    batch = op[BATCH]
    _, last_length = chunk_bounds(length, chunks, chunks - 1)
    _, long_length = chunk_bounds(length, chunks, 0)
    longer = length % chunks
    # what one fold of each column adds, summed over its chunks (or M tiles)
    pace_all = np.int64(0)
    pace_last = np.int64(0)
    repeats = m_tiles
    if not output_stationary:
        repeats = chunks
        pace_long = fold_pace(overlap, long_length, rows, cols)
        pace_last = fold_pace(overlap, last_length, rows, cols)
        pace_all = longer * pace_long + (chunks - longer) * pace_last
    core_of = np.empty(columns * batch, np.int64)
    assign_units(tiles[:columns], batch, cores, chip[ASSIGNMENT], core_of)
    core_folds = np.zeros(cores, np.int64)
    core_pace = np.zeros(cores, np.int64)
    core_first = np.full(cores, -1, np.int64)
    for u in range(columns * batch):
        j = u % columns
        p = core_of[u]
        core_folds[p] += tiles[j]
        if tiles[j] > 0:
            if core_first[p] < 0:
                core_first[p] = j
            if output_stationary:
                if overlap == 0:
                    core_pace[p] += m_tiles * max(heights[j], rows)
                else:
                    core_pace[p] += m_tiles * (heights[j] + rows + cols - 2)
    slices = count_gemm(ops, chip, words, seg, tiles, heights, live, core_of, channel, counts)
    if output_stationary and stationary_from_dram(op, seg, chip):
        for j in range(columns):
            if ceil_div(heights[j], rows) > chip[SLOTS]:
                return np.int64(0), ceil_div(heights[j], rows)
    used_sum = np.int64(0)
    array_sum = np.int64(0)
    compute = np.int64(0)
    slowest = np.int64(0)
    for p in range(cores):
        folds = core_folds[p]
        pace = core_pace[p] if output_stationary else folds * pace_all
        first_height = heights[core_first[p]] if core_first[p] >= 0 else 0
        array = core_array_cycles(chip, folds, pace, pace_last, last_length, first_height)
        end = array
        if seg[LAST_OP] > i:
            end = max(array, vector_end_by_visits(ops, seg, op, chip, tiles, heights, core_of, p))
        array_sum += array
        used_sum += end
        slowest = max(slowest, end)
        figure[ARRAY] = max(figure[ARRAY], array)
        figure[FOLDS] += folds * repeats
        if not output_stationary:
            compute += folds * length
    live_tiles = np.int64(0)
    for j in range(columns):
        live_tiles += tiles[j]
        if output_stationary:
            compute += batch * m_tiles * heights[j]
    figure[TILES_LIVE] = batch * (slices if output_stationary else live_tiles)
    figure[TILES_TOTAL] = batch * columns * ceil_div(op[K], rows)
    bucket[COMPUTE] = compute
    bucket[FILL_DRAIN] = array_sum - compute
    bucket[VECTOR_BUCKET] = used_sum - array_sum
    bucket[IMBALANCE] = slowest * cores - used_sum
    return slowest, np.int64(0)


@njit(cache=True, nogil=True)
def closed_form_applies(ops, seg, chip, row, own):
    """Whether `fast_gemm` is exact for this operator and mask."""
    if row[FAST] != 1:
        return False
    if row[HOLDABLE] and row[FROM_DRAM]:
        held = 2 * own[MOST] <= chip[SLOTS]
        none_held = 2 * own[FEWEST] > chip[SLOTS]
        if not (held or none_held):
            return False
    if seg[LAST_OP] == seg[FIRST_OP]:
        return True
    # with visits at least as long as their vector work, nothing ever queues
    return (
        chip[CORES] <= MOST_CORES
        and own[EMPTY] == 0
        and own[FEWEST] * row[PACE_LEAST] - 1 >= row[WORK_LONG]
    )


@njit(cache=True, nogil=True)
def fast_gemm(ops, chip, seg, row, own, folds_of, channel, counts, bucket, figure):
    """Do a GEMM from its sums alone; return the cycles of the slowest core."""
    rows = chip[ROWS]
    cols = chip[COLS]
    cores = chip[CORES]
    i = seg[FIRST_OP]
    op = ops[i]
    count = counts[i]
    for c in range(COUNT_SIZE):
        count[c] = row[CONSTANT + c]
    repeats = row[REPEATS]
    visits = row[VISITS]
    heights = own[HEIGHTS]
    count[MACS] = repeats * own[CELLS]
    count[EFFECTUAL] = op[BATCH] * op[M] * op[KEPT]
    count[SHIFTS] = own[TILES] * row[SHIFTS_PER_TILE]
    count[HOPS] = repeats * cols * heights
    count[SUM_HOPS] = repeats * rows * own[TILE_COLS]
    count[ACC_WRITES] = repeats * own[TILE_COLS]
    count[ACC_READS] = repeats * own[LATER_COLS]
    streamed_reads = repeats * heights
    if chip[PACKING] == 1 and chip[DATAFLOW] == WEIGHT_STATIONARY:
        count[MUX] = streamed_reads
    stationary_read = (visits * own[CELLS] * row[STATIONARY_BITS] + 7) // 8
    streamed_read = (streamed_reads * row[STREAMED_BITS] + 7) // 8
    columns = row[COLUMNS]
    empty = own[EMPTY]
    channel[0] = row[CHANNEL_WEIGHTS]
    channel[1] = row[CHANNEL_ACTIVATIONS]
    channel[2] = row[CHANNEL_WRITEBACK]
    channel[3] = 0
    if row[FROM_DRAM]:
        fetched = own[TILES] * visits
        if row[HOLDABLE] and 2 * own[MOST] <= chip[SLOTS]:
            fetched = own[TILES] * op[BATCH]
        count[WEIGHT_READ] += stationary_read
        count[WEIGHT_WRITE] += fetched * row[TILE_BYTES]
        count[DRAM_READ] += fetched * row[TILE_BURSTS]
        last_empty = own[LAST_EMPTY]
        channel[0] += (
            fetched * row[TILE_CYCLES]
            + (columns - 1 - (empty - last_empty)) * row[HEADER_FULL]
            + (1 - last_empty) * row[HEADER_LAST]
        )
        channel[2] += (empty - last_empty) * row[LONE_FULL] + last_empty * row[LONE_LAST]
        channel[3] = fetched
    else:
        count[ACT_READ] += stationary_read
    if chip[DATAFLOW] == INPUT_STATIONARY and op[KIND] != ACTIVATION_GEMM:
        count[WEIGHT_READ] += streamed_read
    else:
        count[ACT_READ] += streamed_read
    fused = seg[LAST_OP] > i
    array_sum = np.int64(0)
    used_sum = np.int64(0)
    slowest = np.int64(0)
    array_most = np.int64(0)
    folds_sum = np.int64(0)
    for p in range(cores):
        folds = folds_of[p]
        folds_sum += folds
        array = core_array_cycles(
            chip, folds, folds * row[PACE_ALL], row[PACE_LAST], row[LAST_LENGTH], 0
        )
        end = array
        if fused and folds > 0:
            end += row[WORK_RAGGED] if (own[LAST_CORES] >> p) & 1 else row[WORK_LAST]
        array_sum += array
        array_most = max(array_most, array)
        used_sum += end
        slowest = max(slowest, end)
    figure[ARRAY] = array_most
    figure[FOLDS] = folds_sum * (visits // op[BATCH])
    figure[TILES_LIVE] = op[BATCH] * own[TILES]
    figure[TILES_TOTAL] = row[TILES_ALL]
    compute = folds_sum * (repeats // op[BATCH])
    bucket[COMPUTE] = compute
    bucket[FILL_DRAIN] = array_sum - compute
    bucket[VECTOR_BUCKET] = used_sum - array_sum
    bucket[IMBALANCE] = slowest * cores - used_sum
    return slowest


@njit(cache=True, nogil=True)
def combine(
    ops, words, chip, segments, plan, class_of, sums, core_folds, fast, counts, buckets, figures
):
    """Fill per-operator counts, core-cycles by bucket, and figures.

    Parameters
    ----------
    ops, words, chip, segments
        Tables of `lspsim.schedule.lower` and `plan_segments`.
    plan, class_of, sums, core_folds
        From `lspsim.kernels.plan.plan` and `lspsim.kernels.profile.profile`.
    fast
        False: do every GEMM column by column (the oracle of the closed forms).
    counts, buckets, figures
        int64 `[ops, ...]`, zeroed by the caller.

    Returns
    -------
    (operator that cannot be scheduled or -1, slots that it needs, cycles of the network)
    """
    cores = chip[CORES]
    widest = np.int64(1)
    for i in range(ops.shape[0]):
        widest = max(widest, max(ops[i, N], ops[i, M]))
    columns = ceil_div(widest, chip[COLS])
    tiles = np.empty(columns, np.int64)
    heights = np.empty(columns, np.int64)
    live = np.empty(columns, np.int64)
    channel = np.zeros(4, np.int64)
    moved = np.zeros(3, np.int64)
    clock = np.int64(0)
    for g in range(segments.shape[0]):
        seg = segments[g]
        i = seg[FIRST_OP]
        kind = class_of[g]
        row = plan[kind]
        bucket = buckets[i]
        if row[FAST] == 2:
            for c in range(COUNT_SIZE):
                counts[i, c] = row[CONSTANT + c]
            channel[0] = 0
            channel[1] = row[CHANNEL_ACTIVATIONS]
            channel[2] = row[CHANNEL_WRITEBACK]
            channel[3] = 0
            slowest = row[BUSY_MOST]
            bucket[VECTOR_BUCKET] = row[BUSY_SUM]
            bucket[IMBALANCE] = slowest * cores - row[BUSY_SUM]
        elif fast and closed_form_applies(ops, seg, chip, row, sums[i]):
            slowest = fast_gemm(
                ops, chip, seg, row, sums[i], core_folds[i], channel, counts, bucket, figures[i]
            )
            for f in range(i + 1, seg[LAST_OP] + 1):
                for c in range(COUNT_SIZE):
                    counts[f, c] = plan[kind + f - i, CONSTANT + c]
        else:
            channel[:] = 0
            slowest, lacking = general_gemm(
                ops, words, chip, seg, tiles, heights, live, channel, counts, bucket, figures[i]
            )
            if lacking > 0:
                return i, lacking, clock
        # --- memory: a lower bound on the end of the segment
        span = slowest
        if not chip[IDEAL]:
            early = np.int64(0)  # channel cycles that may lie before the segment's start
            if row[MAY_PREFETCH] and g > 0:
                ahead = min(channel[3], cores * chip[SLOTS])
                early = channel[0] - (channel[3] - ahead) * row[TILE_CYCLES]
            bound = np.int64(0)
            worst = 0
            if chip[SHARED]:
                total = np.int64(0)
                for c in range(3):
                    moved[c] += channel[c]
                    total += moved[c]
                    if channel[c] > channel[worst]:
                        worst = c
                bound = max(channel[0] - early + channel[1] + channel[2], total - clock)
            else:
                for c in range(3):
                    moved[c] += channel[c]
                    need = max(channel[c] - (early if c == 0 else 0), moved[c] - clock)
                    if need > bound:
                        bound = need
                        worst = c
            span = max(slowest, bound)
            bucket[STALL_WEIGHTS + worst] += (span - slowest) * cores
            bucket[STALL_WRITEBACK] += row[GATHER] * cores
            span += row[GATHER]
        figures[i, TOTAL] = span
        clock += span
    return -1, 0, clock

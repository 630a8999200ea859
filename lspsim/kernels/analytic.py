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
from lspsim.kernels.counts import count_gemm, count_vector
from lspsim.kernels.event import fold_gap
from lspsim.kernels.layout import (
    ACCUMULATOR_ROWS,
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
    KIND,
    LAST_OP,
    OUTPUT_STATIONARY,
    OVERLAP,
    PASS_CLASS,
    PREFETCH,
    ROWS,
    SHARED,
    SLOTS,
    VECTOR,
    Y_RESIDENT,
    K,
    M,
    N,
)
from lspsim.kernels.segments import ceil_div, tensor_bytes
from lspsim.kernels.transfers import (
    channel_cycles,
    gather_cycles,
    tile_bytes,
    vector_cycles,
)
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
                                s = max(s + fold_gap(overlap, old, rows, cols) + rows, s + old)
                            pace = max(fold_gap(overlap, streams, rows, cols) + rows, streams)
                            s += (n - 1) * pace
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
def analyse(ops, words, chip, segments, counts, buckets, figures):
    """Fill per-operator counts, core-cycles by bucket, and figures.

    Parameters
    ----------
    ops, words, chip, segments
        Tables of `lspsim.schedule.lower` and `plan_segments`.
    counts, buckets, figures
        int64 `[ops, ...]`, zeroed by the caller.

    Returns
    -------
    (operator that cannot be scheduled or -1, slots that it needs, cycles of the network)
    """
    rows = chip[ROWS]
    cols = chip[COLS]
    cores = chip[CORES]
    overlap = chip[OVERLAP]
    output_stationary = chip[DATAFLOW] == OUTPUT_STATIONARY
    widest = np.int64(1)
    units = np.int64(1)
    for g in range(segments.shape[0]):
        op = ops[segments[g, FIRST_OP]]
        if op[KIND] != VECTOR:
            width, _ = units_of(op, chip)
            columns = ceil_div(width, cols)
            widest = max(widest, columns)
            units = max(units, columns * op[BATCH])
    tiles = np.empty(widest, np.int64)
    heights = np.empty(widest, np.int64)
    live = np.empty(widest, np.int64)
    loads = np.empty(widest, np.int64)
    core_of = np.empty(units, np.int64)
    core_folds = np.empty(cores, np.int64)
    core_pace = np.empty(cores, np.int64)
    core_first = np.empty(cores, np.int64)
    core_last = np.empty(cores, np.int64)
    core_empty = np.empty(cores, np.int64)
    channel = np.zeros(4, np.int64)
    moved = np.zeros(3, np.int64)
    clock = np.int64(0)
    for g in range(segments.shape[0]):
        seg = segments[g]
        i = seg[FIRST_OP]
        op = ops[i]
        bucket = buckets[i]
        channel[:] = 0
        slowest = np.int64(0)
        if op[KIND] == VECTOR:
            count_vector(ops, chip, seg, channel, counts)
            busy_sum = np.int64(0)
            for p in range(cores):
                share = op[M] * (p + 1) // cores - op[M] * p // cores
                busy = np.int64(0)
                if share > 0:
                    chunks = ceil_div(share, chip[ACCUMULATOR_ROWS])
                    for c in range(chunks):
                        _, part = chunk_bounds(share, chunks, c)
                        busy += vector_cycles(part * op[N], op[PASS_CLASS], chip)
                busy_sum += busy
                slowest = max(slowest, busy)
            bucket[VECTOR_BUCKET] = busy_sum
            bucket[IMBALANCE] = slowest * cores - busy_sum
        else:
            columns = column_profile(op, chip, words, tiles, heights, live)
            width, length = units_of(op, chip)
            chunks = seg[CHUNKS]
            m_tiles = ceil_div(length, rows)
            batch = op[BATCH]
            _, last_length = chunk_bounds(length, chunks, chunks - 1)
            _, long_length = chunk_bounds(length, chunks, 0)
            longer = length % chunks
            # what one fold of each column adds, summed over its chunks (or M tiles)
            if output_stationary:
                repeats = m_tiles
                pace_all = np.int64(0)
            else:
                repeats = chunks
                if overlap == 0:
                    pace_long, pace_last = max(long_length, rows), max(last_length, rows)
                elif overlap == 1:
                    pace_long, pace_last = long_length + rows, last_length + rows
                else:
                    pace_long = long_length + 2 * rows + cols - 2
                    pace_last = last_length + 2 * rows + cols - 2
                pace_all = longer * pace_long + (chunks - longer) * pace_last
            for j in range(columns):
                loads[j] = tiles[j] * repeats
            assign_units(loads[:columns], batch, cores, chip[ASSIGNMENT], core_of)
            core_folds[:] = 0
            core_pace[:] = 0
            core_first[:] = -1
            core_last[:] = -1
            core_empty[:] = 0
            fewest = np.int64(1 << 40)
            u = 0
            for _ in range(batch):
                for j in range(columns):
                    p = core_of[u]
                    n = tiles[j]
                    core_last[p] = j
                    core_folds[p] += n
                    if n == 0:
                        core_empty[p] += 1
                    else:
                        fewest = min(fewest, n)
                        if core_first[p] < 0:
                            core_first[p] = j
                        if output_stationary:
                            if overlap == 0:
                                core_pace[p] += m_tiles * max(heights[j], rows)
                            else:
                                core_pace[p] += m_tiles * (heights[j] + rows + cols - 2)
                    u += 1
            slices = count_gemm(
                ops, chip, words, seg, tiles, heights, live, core_of, channel, counts
            )
            if output_stationary and stationary_from_dram(op, seg, chip):
                for j in range(columns):
                    if ceil_div(heights[j], rows) > chip[SLOTS]:
                        return i, ceil_div(heights[j], rows), clock
            fused = seg[LAST_OP] > i
            quick = False
            if fused and not output_stationary:
                # with a visit at least as long as its vector work, nothing ever queues
                work = fused_cycles(ops, seg, long_length * min(cols, width), chip)
                quick = fewest * min(pace_long, pace_last) - 1 >= work
            used_sum = np.int64(0)
            array_sum = np.int64(0)
            compute = np.int64(0)
            for p in range(cores):
                folds = core_folds[p]
                pace = core_pace[p] if output_stationary else folds * pace_all
                first_height = heights[core_first[p]] if core_first[p] >= 0 else 0
                pace_of_last = np.int64(0) if output_stationary else pace_last
                array = core_array_cycles(
                    chip, folds, pace, pace_of_last, last_length, first_height
                )
                end = array
                if fused and core_last[p] >= 0:
                    if quick and core_empty[p] == 0:
                        real = min(cols, width - core_last[p] * cols)
                        end = array + fused_cycles(ops, seg, last_length * real, chip)
                    else:
                        end = max(
                            array,
                            vector_end_by_visits(
                                ops, seg, op, chip, tiles, heights, core_of, p
                            ),
                        )
                array_sum += array
                used_sum += end
                slowest = max(slowest, end)
                figures[i, ARRAY] = max(figures[i, ARRAY], array)
                figures[i, FOLDS] += folds * repeats
                if not output_stationary:
                    compute += folds * length
            total_tiles = columns * ceil_div(op[K], rows)
            live_tiles = np.int64(0)
            for j in range(columns):
                live_tiles += tiles[j]
                if output_stationary:
                    compute += batch * m_tiles * heights[j]
            figures[i, TILES_LIVE] = batch * (slices if output_stationary else live_tiles)
            figures[i, TILES_TOTAL] = batch * total_tiles
            bucket[COMPUTE] = compute
            bucket[FILL_DRAIN] = array_sum - compute
            bucket[VECTOR_BUCKET] = used_sum - array_sum
            bucket[IMBALANCE] = slowest * cores - used_sum
        # --- memory: a lower bound on the end of the segment
        gather = np.int64(0)
        span = slowest
        if not chip[IDEAL]:
            if cores > 1 and seg[Y_RESIDENT]:
                gather = gather_cycles(tensor_bytes(ops[seg[LAST_OP]], chip), chip)
            early = np.int64(0)  # channel cycles that may lie before the segment's start
            prefetchable = (
                chip[PREFETCH]
                and op[KIND] != VECTOR
                and op[KIND] != ACTIVATION_GEMM
                and chip[DATAFLOW] != INPUT_STATIONARY
            )
            if prefetchable and g > 0:
                ahead = min(channel[3], cores * chip[SLOTS])
                early = channel[0] - (channel[3] - ahead) * channel_cycles(
                    tile_bytes(op, chip), chip, 0
                )
            bound = np.int64(0)
            worst = 0
            if chip[SHARED]:
                bound = channel[0] - early + channel[1] + channel[2]
                total = np.int64(0)
                for c in range(3):
                    moved[c] += channel[c]
                    total += moved[c]
                    if channel[c] > channel[worst]:
                        worst = c
                bound = max(bound, total - clock)
            else:
                for c in range(3):
                    moved[c] += channel[c]
                    need = max(channel[c] - (early if c == 0 else 0), moved[c] - clock)
                    if need > bound:
                        bound = need
                        worst = c
            span = max(slowest, bound)
            bucket[STALL_WEIGHTS + worst] += (span - slowest) * cores
            bucket[STALL_WRITEBACK] += gather * cores
        figures[i, TOTAL] = span + gather
        clock += span + gather
    return -1, 0, clock

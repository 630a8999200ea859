"""Visits, folds and transfers of a program (docs/model.md, "Programs")."""

from __future__ import annotations

import numpy as np
from numba import njit

from lspsim.kernels.assign import assign_units
from lspsim.kernels.columns import (
    bit,
    column_bits,
    column_profile,
    gathers,
    skips,
    tile_is_live,
)
from lspsim.kernels.layout import (
    ACCUMULATOR_ROWS,
    ACTIVATION_GEMM,
    ASSIGNMENT,
    BATCH,
    BLOCK_IN,
    CHUNKS,
    COLS,
    CORES,
    DATAFLOW,
    FIRST_OP,
    IDEAL,
    IN0,
    IN1,
    INPUT_STATIONARY,
    KIND,
    LAST_OP,
    NO_INPUT,
    OUT_ROWS,
    OUTPUT_STATIONARY,
    PARAMETERS,
    PASS_CLASS,
    ROWS,
    SLOTS,
    VECTOR,
    W_RESIDENT,
    WORDS_PER_ROW,
    X_RESIDENT,
    Y_RESIDENT,
    K,
    M,
    N,
)
from lspsim.kernels.segments import ceil_div, tensor_bytes
from lspsim.kernels.transfers import (
    activation_bits,
    bias_bytes,
    channel_cycles,
    gather_cycles,
    index_bytes,
    streamed_bits,
    tile_bytes,
    vector_cycles,
)

# visit columns
(
    V_SEGMENT,
    V_FOLDS,
    V_LENGTH,
    V_ACQUIRE,
    V_HELD,
    V_RELEASE,
    V_HEADER,
    V_VECTOR,
    V_IS_VECTOR,
    V_WRITEBACK,
    V_DRAIN,
    V_FOLD_START,
    V_CORE,
    VISIT_SIZE,
) = range(14)

# activation-transfer columns
A_SEGMENT, A_CYCLES, A_AFTER, A_CORE, TRANSFER_SIZE = range(5)


@njit(cache=True, nogil=True)
def chunk_bounds(total, chunks, index):
    """First element and size of chunk `index`: the first `total mod chunks` are one longer."""
    base = total // chunks
    longer = total % chunks
    return index * base + min(index, longer), base + (1 if index < longer else 0)


@njit(cache=True, nogil=True)
def streamed(seg, chip):
    """Whether the streamed operand comes from DRAM."""
    if chip[DATAFLOW] == INPUT_STATIONARY:
        return seg[W_RESIDENT] == 0
    return seg[X_RESIDENT] == 0


@njit(cache=True, nogil=True)
def stationary_from_dram(op, seg, chip):
    """Whether stationary tiles are fetched from DRAM rather than the activation buffer."""
    if chip[DATAFLOW] == INPUT_STATIONARY:
        return seg[X_RESIDENT] == 0
    return op[KIND] != ACTIVATION_GEMM or seg[W_RESIDENT] == 0


@njit(cache=True, nogil=True)
def units_of(op, chip):
    """Return (width covered by tile columns, streamed rows) of an operator."""
    if chip[DATAFLOW] == INPUT_STATIONARY:
        return op[M], op[N]
    return op[N], op[M]


@njit(cache=True, nogil=True)
def sizes(ops, chip, segments):
    """Upper bounds of (visits, fold needs, activation transfers) of a program."""
    visits = 0
    needs = 0
    transfers = 0
    cores = chip[CORES]
    for g in range(segments.shape[0]):
        seg = segments[g]
        op = ops[seg[FIRST_OP]]
        if op[KIND] == VECTOR:
            share = ceil_div(ceil_div(op[M], cores), chip[ACCUMULATOR_ROWS])
            visits += cores * share
            needs += cores * share
            transfers += cores * share
            continue
        width, rows = units_of(op, chip)
        columns = ceil_div(width, chip[COLS])
        k_tiles = ceil_div(op[K], chip[ROWS])
        per_column = seg[CHUNKS]
        if chip[DATAFLOW] == OUTPUT_STATIONARY:
            per_column = ceil_div(rows, chip[ROWS])
        visits += op[BATCH] * columns * per_column
        if streamed(seg, chip) and not chip[IDEAL]:
            if chip[DATAFLOW] == OUTPUT_STATIONARY:
                needs += op[BATCH] * columns * per_column
                transfers += op[BATCH] * per_column * cores
            else:
                needs += op[BATCH] * columns * per_column * k_tiles
                transfers += op[BATCH] * per_column * k_tiles * cores
    return visits, needs, transfers


@njit(cache=True, nogil=True)
def column_slices(op, chip, words, column, tiles, ends, used, scratch):
    """K slices that one tile column of WS or IS needs.

    Fills `ends[i]` with the last R-row slice of X that fold i reads and marks
    every slice the column touches in `used`.
    """
    rows = chip[ROWS]
    k_tiles = ceil_div(op[K], rows)
    if not skips(op, chip):
        for i in range(k_tiles):
            ends[i] = i
            used[i] = True
        return
    width = op[N]
    column_bits(op, words, column * chip[COLS], min((column + 1) * chip[COLS], width), scratch)
    if not gathers(chip):
        filled = 0
        for i in range(k_tiles):
            if tile_is_live(op, chip, scratch, i):
                ends[filled] = i
                used[i] = True
                filled += 1
        return
    gathered = 0
    fold = 0
    for b in range(ceil_div(op[K], op[BLOCK_IN])):
        if not bit(scratch, b):
            continue
        k0 = b * op[BLOCK_IN]
        k1 = min(k0 + op[BLOCK_IN], op[K])
        for s in range(k0 // rows, (k1 - 1) // rows + 1):
            used[s] = True
        # folds that end inside this sub-block read up to their last gathered row
        while (fold + 1) * rows <= gathered + k1 - k0:
            ends[fold] = (k0 + (fold + 1) * rows - gathered - 1) // rows
            fold += 1
        gathered += k1 - k0
        if fold < tiles:
            ends[fold] = (k1 - 1) // rows


@njit(cache=True, nogil=True)
def fill_vector(ops, chip, g, seg, visits, filled, needs, needed, acts, moved, seen, sent):
    """Append the visits of a vector operator; return the new fill counts."""
    i = seg[FIRST_OP]
    op = ops[i]
    cores = chip[CORES]
    bits = activation_bits(op, chip)
    reads = 0
    if not seg[X_RESIDENT]:
        reads += 1
    if op[IN1] != NO_INPUT and op[IN1] != op[IN0] and not seg[W_RESIDENT]:
        reads += 1
    for p in range(cores):
        r0 = op[M] * p // cores
        share = op[M] * (p + 1) // cores - r0
        if share == 0:
            continue
        chunks = ceil_div(share, chip[ACCUMULATOR_ROWS])
        for c in range(chunks):
            at, rows = chunk_bounds(share, chunks, c)
            at += r0
            byte_count = reads * ceil_div(rows * op[N] * bits, 8)
            if c == 0:
                byte_count += ceil_div(op[PARAMETERS] * bits, 8)
            v = visits[filled]
            v[:] = 0
            v[V_SEGMENT] = g
            v[V_CORE] = p
            v[V_IS_VECTOR] = 1
            v[V_VECTOR] = vector_cycles(rows * op[N], op[PASS_CLASS], chip)
            v[V_FOLD_START] = -1
            cycles = channel_cycles(byte_count, chip, 1)
            if cycles > 0:
                a = acts[moved]
                a[A_SEGMENT] = g
                a[A_CYCLES] = cycles
                a[A_AFTER] = seen[p] - 2 if c >= 2 else -1
                a[A_CORE] = p
                moved += 1
                needs[needed] = sent[p]
                v[V_FOLD_START] = needed
                needed += 1
                sent[p] += 1
            if not seg[Y_RESIDENT]:
                out = op[OUT_ROWS] * (at + rows) // op[M] - op[OUT_ROWS] * at // op[M]
                v[V_WRITEBACK] = channel_cycles(ceil_div(out * op[N] * bits, 8), chip, 2)
            filled += 1
            seen[p] += 1
    return filled, needed, moved


@njit(cache=True, nogil=True)
def fill_program(ops, words, chip, segments, visits, needs, acts, seg_out):
    """Fill the arrays of a program in segment order.

    Returns
    -------
    (visits, needs, transfers, failed operator or -1, slots it needs)
    """
    cores = chip[CORES]
    rows = chip[ROWS]
    cols = chip[COLS]
    filled = 0
    needed = 0
    moved = 0
    seen = np.zeros(cores, np.int64)  # visits so far, per core
    sent = np.zeros(cores, np.int64)  # activation transfers so far, per core
    widest = 1
    deepest = 1
    longest = 1
    most_chunks = 1
    for g in range(segments.shape[0]):
        op = ops[segments[g, FIRST_OP]]
        if op[KIND] != VECTOR:
            width, streamed_rows = units_of(op, chip)
            widest = max(widest, ceil_div(width, cols))
            deepest = max(deepest, ceil_div(op[K], rows))
            longest = max(longest, op[WORDS_PER_ROW])
            chunk_count = segments[g, CHUNKS] * op[BATCH]
            most_chunks = max(most_chunks, chunk_count)
    tiles = np.empty(widest, np.int64)
    heights = np.empty(widest, np.int64)
    live_units = np.empty(widest, np.int64)
    loads = np.empty(widest, np.int64)
    ends = np.empty((widest, deepest), np.int64)
    used = np.empty(deepest, np.bool_)
    slice_transfer = np.empty(deepest, np.int64)
    scratch = np.empty(longest, np.uint64)

    for g in range(segments.shape[0]):
        seg = segments[g]
        op = ops[seg[FIRST_OP]]
        last_op = ops[seg[LAST_OP]]
        if seg[Y_RESIDENT] and cores > 1:
            seg_out[g, 2] = gather_cycles(tensor_bytes(last_op, chip), chip)
        else:
            seg_out[g, 2] = 0
        seg_out[g, 0] = 0
        seg_out[g, 1] = 0
        if op[KIND] == VECTOR:
            filled, needed, moved = fill_vector(
                ops, chip, g, seg, visits, filled, needs, needed, acts, moved, seen, sent
            )
            continue
        output_stationary = chip[DATAFLOW] == OUTPUT_STATIONARY
        from_dram = stationary_from_dram(op, seg, chip) and not chip[IDEAL]
        from_stream = streamed(seg, chip) and not chip[IDEAL]
        stream_order = streamed(seg, chip)
        if from_dram:
            seg_out[g, 0] = channel_cycles(tile_bytes(op, chip), chip, 0)
            if op[KIND] != ACTIVATION_GEMM and chip[DATAFLOW] != INPUT_STATIONARY:
                seg_out[g, 1] = 1
        width, streamed_rows = units_of(op, chip)
        columns = column_profile(op, chip, words, tiles, heights, live_units)
        chunks = seg[CHUNKS]
        m_tiles = ceil_div(streamed_rows, rows)
        for j in range(columns):
            loads[j] = tiles[j] * chunks
            if output_stationary:
                loads[j] = m_tiles * tiles[j]
        core_of = np.empty(columns * op[BATCH], np.int64)
        assign_units(loads[:columns], op[BATCH], cores, chip[ASSIGNMENT], core_of)
        if from_stream and not output_stationary:
            for j in range(columns):
                column_slices(op, chip, words, j, tiles[j], ends[j], used, scratch)
        x_bits = streamed_bits(op, chip)
        y_bits = activation_bits(last_op, chip)
        for p in range(cores):
            consumed_before = -1  # last visit with folds of the chunk before the previous one
            consumed_previous = -1
            for inst in range(op[BATCH]):
                outer = chunks if stream_order else 1
                for oc in range(outer):
                    # --- transfers of the streamed operand for this chunk
                    if from_stream:
                        used[:] = False
                        any_folds = False
                        for j in range(columns):
                            if core_of[inst * columns + j] != p or tiles[j] == 0:
                                continue
                            any_folds = True
                            if not output_stationary:
                                column_slices(
                                    op, chip, words, j, tiles[j], ends[j], used, scratch
                                )
                        if output_stationary:
                            t0, t_count = chunk_bounds(m_tiles, chunks, oc)
                            if any_folds:
                                for t in range(t_count):
                                    real = min(rows, streamed_rows - (t0 + t) * rows)
                                    a = acts[moved]
                                    a[A_SEGMENT] = g
                                    a[A_CYCLES] = channel_cycles(
                                        ceil_div(real * op[K] * x_bits, 8), chip, 1
                                    )
                                    a[A_AFTER] = consumed_before
                                    a[A_CORE] = p
                                    moved += 1
                                    sent[p] += 1
                        else:
                            _, length = chunk_bounds(streamed_rows, chunks, oc)
                            for s in range(ceil_div(op[K], rows)):
                                if not used[s]:
                                    continue
                                real = min(rows, op[K] - s * rows)
                                a = acts[moved]
                                a[A_SEGMENT] = g
                                a[A_CYCLES] = channel_cycles(
                                    ceil_div(real * length * x_bits, 8), chip, 1
                                )
                                a[A_AFTER] = consumed_before
                                a[A_CORE] = p
                                moved += 1
                                slice_transfer[s] = sent[p]
                                sent[p] += 1
                    last_with_folds = -1
                    # --- visits
                    for j in range(columns):
                        if core_of[inst * columns + j] != p:
                            continue
                        real_cols = min(chip[COLS], width - j * cols)
                        inner0 = 0
                        inner1 = chunks
                        if output_stationary:
                            inner1 = m_tiles
                            if stream_order:
                                inner0, inner1 = chunk_bounds(m_tiles, chunks, oc)
                                inner1 += inner0
                        elif stream_order:
                            inner0 = oc
                            inner1 = oc + 1
                        slots = tiles[j]
                        if output_stationary:
                            slots = ceil_div(heights[j], rows)
                        if not from_dram:
                            slots = 0
                        if output_stationary and slots > chip[SLOTS]:
                            return filled, needed, moved, seg[FIRST_OP], slots
                        hold = output_stationary or (
                            inner1 - inner0 > 1 and 2 * slots <= chip[SLOTS]
                        )
                        for c in range(inner0, inner1):
                            v = visits[filled]
                            v[:] = 0
                            v[V_SEGMENT] = g
                            v[V_CORE] = p
                            if output_stationary:
                                out_rows = min(rows, streamed_rows - c * rows)
                                v[V_LENGTH] = heights[j]
                            else:
                                _, out_rows = chunk_bounds(streamed_rows, chunks, c)
                                v[V_LENGTH] = out_rows
                            v[V_FOLDS] = tiles[j]
                            v[V_HELD] = slots
                            v[V_ACQUIRE] = slots if c == inner0 or not hold else 0
                            v[V_RELEASE] = 1 if c == inner1 - 1 or not hold else 0
                            if c == 0:
                                v[V_HEADER] = channel_cycles(
                                    index_bytes(op, chip, live_units[j]) + bias_bytes(op, chip, j),
                                    chip,
                                    0 if slots > 0 else 2,
                                )
                            for f in range(seg[FIRST_OP] + 1, seg[LAST_OP] + 1):
                                v[V_VECTOR] += vector_cycles(
                                    out_rows * real_cols, ops[f, PASS_CLASS], chip
                                )
                            if seg[Y_RESIDENT]:
                                v[V_DRAIN] = 0 if chip[IDEAL] else out_rows
                            else:
                                v[V_WRITEBACK] = channel_cycles(
                                    ceil_div(out_rows * real_cols * y_bits, 8), chip, 2
                                )
                            v[V_FOLD_START] = -1
                            if from_stream and tiles[j] > 0:
                                v[V_FOLD_START] = needed
                                if output_stationary:
                                    _, t_count = chunk_bounds(m_tiles, chunks, oc)
                                    needs[needed] = sent[p] - t_count + (c - inner0)
                                    needed += 1
                                else:
                                    for i in range(tiles[j]):
                                        needs[needed] = slice_transfer[ends[j, i]]
                                        needed += 1
                            if tiles[j] > 0:
                                last_with_folds = seen[p]
                            filled += 1
                            seen[p] += 1
                    if from_stream and last_with_folds >= 0:
                        consumed_before = consumed_previous
                        consumed_previous = last_with_folds
    return filled, needed, moved, -1, 0



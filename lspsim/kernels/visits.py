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
    BITMAP,
    BLOCK_IN,
    CHUNKS,
    COLS,
    CORES,
    DATAFLOW,
    FIRST_OP,
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
def visit_sizes(ops, seg, chip, result_cycles, work):
    """Write-back and fused vector cycles of a visit, by its rows and columns.

    `[0, 0]`: most rows and a full column; second row: fewest rows; second
    column: the last, perhaps narrower, column. Both arrays are overwritten.
    """
    op = ops[seg[FIRST_OP]]
    width, length = units_of(op, chip)
    cols = chip[COLS]
    last_width = width - (ceil_div(width, cols) - 1) * cols
    bits = activation_bits(ops[seg[LAST_OP]], chip)
    if chip[DATAFLOW] == OUTPUT_STATIONARY:
        most = min(chip[ROWS], length)
        fewest = length - (ceil_div(length, chip[ROWS]) - 1) * chip[ROWS]
    else:
        _, most = chunk_bounds(length, seg[CHUNKS], 0)
        _, fewest = chunk_bounds(length, seg[CHUNKS], seg[CHUNKS] - 1)
    for r in range(2):
        rows = fewest if r else most
        for c in range(2):
            wide = last_width if c else min(cols, width)
            result_cycles[r, c] = 0
            if not seg[Y_RESIDENT]:
                result_cycles[r, c] = channel_cycles(ceil_div(rows * wide * bits, 8), chip, 2)
            work[r, c] = 0
            for f in range(seg[FIRST_OP] + 1, seg[LAST_OP] + 1):
                work[r, c] += vector_cycles(rows * wide, ops[f, PASS_CLASS], chip)


@njit(cache=True, nogil=True)
def headers(op, chip, columns, live_units, slots, header):
    """Fill the channel cycles of every column's header (index and bias)."""
    alike = chip[INDEX] == BITMAP and chip[DATAFLOW] != INPUT_STATIONARY
    riding = np.int64(0)
    lone = np.int64(0)
    for j in range(columns):
        if j == 0 or j == columns - 1 or not alike:
            size = index_bytes(op, chip, live_units[j]) + bias_bytes(op, chip, j)
            riding = channel_cycles(size, chip, 0)
            lone = channel_cycles(size, chip, 2)
        header[j] = riding if slots[j] > 0 else lone


@njit(cache=True, nogil=True)
def send_chunk(op, chip, seg, g, p, oc, used, after, acts, moved, sent, slice_transfer):
    """Append the transfers of one chunk of the streamed operand; return their new number."""
    rows = chip[ROWS]
    _, length = units_of(op, chip)
    bits = streamed_bits(op, chip)
    if chip[DATAFLOW] == OUTPUT_STATIONARY:
        first, count = chunk_bounds(ceil_div(length, rows), seg[CHUNKS], oc)
        for t in range(first, first + count):
            real = min(rows, length - t * rows)
            acts[moved, A_SEGMENT] = g
            acts[moved, A_CYCLES] = channel_cycles(ceil_div(real * op[K] * bits, 8), chip, 1)
            acts[moved, A_AFTER] = after
            acts[moved, A_CORE] = p
            moved += 1
            sent[p] += 1
        return moved
    _, part = chunk_bounds(length, seg[CHUNKS], oc)
    k_tiles = ceil_div(op[K], rows)
    whole = channel_cycles(ceil_div(rows * part * bits, 8), chip, 1)
    for t in range(k_tiles):
        if not used[t]:
            continue
        cycles = whole
        if t == k_tiles - 1:
            real = op[K] - t * rows
            cycles = channel_cycles(ceil_div(real * part * bits, 8), chip, 1)
        acts[moved, A_SEGMENT] = g
        acts[moved, A_CYCLES] = cycles
        acts[moved, A_AFTER] = after
        acts[moved, A_CORE] = p
        moved += 1
        slice_transfer[t] = sent[p]
        sent[p] += 1
    return moved


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
    ideal = chip[IDEAL] == 1
    output_stationary = chip[DATAFLOW] == OUTPUT_STATIONARY
    filled = 0
    needed = 0
    moved = 0
    seen = np.zeros(cores, np.int64)  # visits so far, per core
    sent = np.zeros(cores, np.int64)  # activation transfers so far, per core
    widest = 1
    deepest = 1
    for g in range(segments.shape[0]):
        op = ops[segments[g, FIRST_OP]]
        if op[KIND] != VECTOR:
            width, _ = units_of(op, chip)
            widest = max(widest, ceil_div(width, cols))
            deepest = max(deepest, ceil_div(op[K], rows))
    tiles = np.empty(widest, np.int64)
    heights = np.empty(widest, np.int64)
    live_units = np.empty(widest, np.int64)
    loads = np.empty(widest, np.int64)
    slots = np.empty(widest, np.int64)
    header = np.empty(widest, np.int64)
    ends = np.empty((widest, deepest), np.int64)
    touched = np.empty((widest, deepest), np.bool_)
    used = np.empty(deepest, np.bool_)
    slice_transfer = np.empty(deepest, np.int64)
    result_cycles = np.empty((2, 2), np.int64)
    work = np.empty((2, 2), np.int64)

    for g in range(segments.shape[0]):
        seg = segments[g]
        first_op = seg[FIRST_OP]
        op = ops[first_op]
        if seg[Y_RESIDENT] and cores > 1:
            seg_out[g, 2] = gather_cycles(tensor_bytes(ops[seg[LAST_OP]], chip), chip)
        if op[KIND] == VECTOR:
            filled, needed, moved = fill_vector(
                ops, chip, g, seg, visits, filled, needs, needed, acts, moved, seen, sent
            )
            continue
        from_dram = stationary_from_dram(op, seg, chip) and not ideal
        stream_order = streamed(seg, chip)
        from_stream = stream_order and not ideal
        if from_dram:
            seg_out[g, 0] = channel_cycles(tile_bytes(op, chip), chip, 0)
            if op[KIND] != ACTIVATION_GEMM and chip[DATAFLOW] != INPUT_STATIONARY:
                seg_out[g, 1] = 1
        width, length = units_of(op, chip)
        columns = column_profile(op, chip, words, tiles, heights, live_units)
        chunks = seg[CHUNKS]
        batch = op[BATCH]
        m_tiles = ceil_div(length, rows)
        repeats = m_tiles if output_stationary else chunks
        for j in range(columns):
            loads[j] = tiles[j] * repeats
            slots[j] = 0
            if from_dram:
                slots[j] = ceil_div(heights[j], rows) if output_stationary else tiles[j]
            if output_stationary and slots[j] > chip[SLOTS]:
                return filled, needed, moved, first_op, slots[j]
        headers(op, chip, columns, live_units, slots, header)
        core_of = np.empty(columns * batch, np.int64)
        assign_units(loads[:columns], batch, cores, chip[ASSIGNMENT], core_of)
        if from_stream and not output_stationary:
            scratch = np.empty(max(1, op[WORDS_PER_ROW]), np.uint64)
            for j in range(columns):
                touched[j] = False
                column_slices(op, chip, words, j, tiles[j], ends[j], touched[j], scratch)
        visit_sizes(ops, seg, chip, result_cycles, work)
        k_tiles = ceil_div(op[K], rows)
        longer = length % chunks  # WS, IS: chunks with one more row
        short = length // chunks
        for p in range(cores):
            consumed_before = -1  # last visit with folds of the chunk before the previous one
            consumed_previous = -1
            for inst in range(batch):
                outer = chunks if stream_order else 1
                for oc in range(outer):
                    tile_first = 0
                    if output_stationary and stream_order:
                        tile_first, tile_count = chunk_bounds(m_tiles, chunks, oc)
                    sent_before = sent[p]
                    if from_stream:
                        used[:k_tiles] = False
                        any_folds = False
                        for j in range(columns):
                            if core_of[inst * columns + j] == p and tiles[j] > 0:
                                any_folds = True
                                if not output_stationary:
                                    for t in range(k_tiles):
                                        used[t] |= touched[j, t]
                        if any_folds:
                            moved = send_chunk(
                                op,
                                chip,
                                seg,
                                g,
                                p,
                                oc,
                                used,
                                consumed_before,
                                acts,
                                moved,
                                sent,
                                slice_transfer,
                            )
                    last_with_folds = -1
                    for j in range(columns):
                        if core_of[inst * columns + j] != p:
                            continue
                        c0 = 0
                        c1 = repeats
                        if stream_order:
                            if output_stationary:
                                c0 = tile_first
                                c1 = tile_first + tile_count
                            else:
                                c0 = oc
                                c1 = oc + 1
                        n = tiles[j]
                        held = slots[j]
                        hold = output_stationary or (c1 - c0 > 1 and 2 * held <= chip[SLOTS])
                        narrow = 1 if j == columns - 1 else 0
                        for c in range(c0, c1):
                            if output_stationary:
                                fewer = 1 if c == m_tiles - 1 else 0
                                out_rows = rows
                                if fewer:
                                    out_rows = length - c * rows
                                visits[filled, V_LENGTH] = heights[j]
                            else:
                                fewer = 0 if c < longer or longer == 0 else 1
                                out_rows = short + (1 if c < longer else 0)
                                visits[filled, V_LENGTH] = out_rows
                            visits[filled, V_SEGMENT] = g
                            visits[filled, V_CORE] = p
                            visits[filled, V_IS_VECTOR] = 0
                            visits[filled, V_FOLDS] = n
                            visits[filled, V_HELD] = held
                            visits[filled, V_ACQUIRE] = held if c == c0 or not hold else 0
                            visits[filled, V_RELEASE] = 1 if c == c1 - 1 or not hold else 0
                            visits[filled, V_HEADER] = header[j] if c == 0 else 0
                            visits[filled, V_VECTOR] = work[fewer, narrow]
                            moving = result_cycles[fewer, narrow]
                            visits[filled, V_WRITEBACK] = moving
                            # a bank gives one row per cycle, be the channel as fast as it may
                            visits[filled, V_DRAIN] = 0 if ideal else max(0, out_rows - moving)
                            visits[filled, V_FOLD_START] = -1
                            if n > 0:
                                last_with_folds = seen[p]
                                if from_stream:
                                    visits[filled, V_FOLD_START] = needed
                                    if output_stationary:
                                        needs[needed] = sent_before + c - c0
                                        needed += 1
                                    else:
                                        for i in range(n):
                                            needs[needed + i] = slice_transfer[ends[j, i]]
                                        needed += n
                            filled += 1
                            seen[p] += 1
                    if from_stream and last_with_folds >= 0:
                        consumed_before = consumed_previous
                        consumed_previous = last_with_folds
    return filled, needed, moved, -1, 0

"""Network totals from plans and mask sums: the kernel of pruning loops and sweeps.

It yields what `combine` yields when summed over operators (a test asserts so),
at a few nanoseconds per operator: counts are linear in the mask sums, so those
are added up per class first. Plain indices, no row views.
"""

from __future__ import annotations

import numpy as np
from numba import njit

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
)
from lspsim.kernels.layout import (
    ACTIVATION_GEMM,
    BATCH,
    COLS,
    CORES,
    DATAFLOW,
    FIRST_OP,
    FUSED,
    IDEAL,
    INPUT_STATIONARY,
    KEPT,
    KIND,
    OUTPUT_STATIONARY,
    OVERLAP,
    PACKING,
    ROWS,
    SHARED,
    SLOTS,
    WEIGHT_STATIONARY,
    M,
)
from lspsim.kernels.plan import (
    BUSY_MOST,
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

# per-class sums
(
    T_MEMBERS,
    T_TILES,
    T_HEIGHTS,
    T_CELLS,
    T_TILE_COLS,
    T_LATER_COLS,
    T_FETCHED,
    T_EFFECTUAL,
    T_SIZE,
) = range(9)


@njit(cache=True, nogil=True)
def totals(ops, chip, segments, plan, class_of, sums, core_folds, scratch, out):
    """Fill `out` `[COUNT_SIZE]` with the network's counts; return its cycles.

    Returns -1 where an operator needs the general path; use `combine` then.

    Parameters
    ----------
    ops, chip, segments, plan, class_of, sums, core_folds
        As for `lspsim.kernels.analytic.combine`.
    scratch
        int64 `[ops, T_SIZE]`, overwritten.
    out
        int64 `[COUNT_SIZE]`, overwritten.
    """
    rows = chip[ROWS]
    cols = chip[COLS]
    cores = chip[CORES]
    slots = chip[SLOTS]
    overlap = chip[OVERLAP]
    ideal = chip[IDEAL] == 1
    shared = chip[SHARED] == 1
    if chip[DATAFLOW] == OUTPUT_STATIONARY:
        return np.int64(-1)
    swapped = chip[DATAFLOW] == INPUT_STATIONARY
    moved_w = np.int64(0)
    moved_a = np.int64(0)
    moved_o = np.int64(0)
    clock = np.int64(0)
    for g in range(segments.shape[0]):
        i = segments[g, FIRST_OP]
        k = class_of[g]
        fast = plan[k, FAST]
        fused = segments[g, FUSED]
        if k == i:
            for c in range(T_SIZE):
                scratch[k, c] = 0
        scratch[k, T_MEMBERS] += 1
        weights = np.int64(0)
        early = np.int64(0)
        activations = plan[k, CHANNEL_ACTIVATIONS]
        writeback = plan[k, CHANNEL_WRITEBACK]
        if fast == 2:
            slowest = plan[k, BUSY_MOST]
        elif fast == 1:
            tiles = sums[i, TILES]
            empty = sums[i, EMPTY]
            if fused > 0 and (
                cores > MOST_CORES
                or empty > 0
                or sums[i, FEWEST] * plan[k, PACE_LEAST] - 1 < plan[k, WORK_LONG]
            ):
                return np.int64(-1)
            scratch[k, T_TILES] += tiles
            scratch[k, T_HEIGHTS] += sums[i, HEIGHTS]
            scratch[k, T_CELLS] += sums[i, CELLS]
            scratch[k, T_TILE_COLS] += sums[i, TILE_COLS]
            scratch[k, T_LATER_COLS] += sums[i, LATER_COLS]
            scratch[k, T_EFFECTUAL] += ops[i, KEPT]
            if plan[k, FROM_DRAM]:
                times = plan[k, VISITS]
                if plan[k, HOLDABLE]:
                    if 2 * sums[i, MOST] <= slots:
                        times = ops[i, BATCH]
                    elif 2 * sums[i, FEWEST] <= slots:
                        return np.int64(-1)
                fetched = tiles * times
                scratch[k, T_FETCHED] += fetched
                last_empty = sums[i, LAST_EMPTY]
                weights = (
                    plan[k, CHANNEL_WEIGHTS]
                    + fetched * plan[k, TILE_CYCLES]
                    + (plan[k, COLUMNS] - 1 - empty + last_empty) * plan[k, HEADER_FULL]
                    + (1 - last_empty) * plan[k, HEADER_LAST]
                )
                if empty > 0:
                    writeback += (empty - last_empty) * plan[k, LONE_FULL]
                    writeback += last_empty * plan[k, LONE_LAST]
                if plan[k, MAY_PREFETCH] and g > 0:
                    ahead = min(fetched, cores * slots)
                    early = weights - (fetched - ahead) * plan[k, TILE_CYCLES]
            slowest = np.int64(0)
            pace_all = plan[k, PACE_ALL]
            if overlap == 0:
                extra = 2 * rows + cols + plan[k, LAST_LENGTH] - plan[k, PACE_LAST]
            elif overlap == 1:
                extra = rows + cols
            else:
                extra = np.int64(2)
            last_cores = sums[i, LAST_CORES]
            work = plan[k, WORK_LAST]
            for p in range(cores):
                folds = core_folds[i, p]
                if folds > 0:
                    end = folds * pace_all + extra
                    end += plan[k, WORK_RAGGED] if (last_cores >> p) & 1 else work
                    slowest = max(slowest, end)
        else:
            return np.int64(-1)
        span = slowest
        if not ideal:
            moved_w += weights
            moved_a += activations
            moved_o += writeback
            if shared:
                span = max(
                    span,
                    weights - early + activations + writeback,
                    moved_w + moved_a + moved_o - clock,
                )
            else:
                span = max(span, weights - early, activations, writeback)
                span = max(span, max(moved_w, moved_a, moved_o) - clock)
            span += plan[k, GATHER]
        clock += span
    for c in range(COUNT_SIZE):
        out[c] = 0
    gathers = chip[PACKING] == 1 and chip[DATAFLOW] == WEIGHT_STATIONARY
    for g in range(segments.shape[0]):
        k = class_of[g]
        if k != segments[g, FIRST_OP]:
            continue
        members = scratch[k, T_MEMBERS]
        for f in range(segments[g, FUSED] + 1):
            for c in range(COUNT_SIZE):
                out[c] += members * plan[k + f, CONSTANT + c]
        if plan[k, FAST] == 2:
            continue
        repeats = plan[k, REPEATS]
        if plan[k, STATIONARY_BITS] & 7 or plan[k, STREAMED_BITS] & 7:
            return np.int64(-1)  # bytes are rounded up per operator
        streamed_reads = repeats * scratch[k, T_HEIGHTS]
        streamed_bytes = streamed_reads * (plan[k, STREAMED_BITS] >> 3)
        held_bytes = plan[k, VISITS] * scratch[k, T_CELLS] * (plan[k, STATIONARY_BITS] >> 3)
        out[MACS] += repeats * scratch[k, T_CELLS]
        out[EFFECTUAL] += ops[k, BATCH] * ops[k, M] * scratch[k, T_EFFECTUAL]
        out[SHIFTS] += scratch[k, T_TILES] * plan[k, SHIFTS_PER_TILE]
        out[HOPS] += streamed_reads * cols
        out[SUM_HOPS] += repeats * rows * scratch[k, T_TILE_COLS]
        out[ACC_WRITES] += repeats * scratch[k, T_TILE_COLS]
        out[ACC_READS] += repeats * scratch[k, T_LATER_COLS]
        if gathers:
            out[MUX] += streamed_reads
        if plan[k, FROM_DRAM]:
            out[WEIGHT_READ] += held_bytes
            out[WEIGHT_WRITE] += scratch[k, T_FETCHED] * plan[k, TILE_BYTES]
            out[DRAM_READ] += scratch[k, T_FETCHED] * plan[k, TILE_BURSTS]
        else:
            out[ACT_READ] += held_bytes
        if swapped and ops[k, KIND] != ACTIVATION_GEMM:
            out[WEIGHT_READ] += streamed_bytes
        else:
            out[ACT_READ] += streamed_bytes
    return clock

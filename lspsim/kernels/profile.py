"""Mask-dependent sums of every GEMM: all that the closed forms need of a mask.

They depend on the mask, the array's shape, packing, cores and assignment, and
on nothing else of the hardware: a sweep over buffers, clocks, bandwidths or
energies reuses them.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from lspsim.kernels.assign import assign_units
from lspsim.kernels.columns import column_profile, gathers, popcount
from lspsim.kernels.layout import (
    ASSIGNMENT,
    BATCH,
    BLOCK_IN,
    BLOCK_OUT,
    COLS,
    CORES,
    DATAFLOW,
    INPUT_STATIONARY,
    KIND,
    MASKED,
    OUTPUT_STATIONARY,
    ROUND_ROBIN,
    ROWS,
    SHAPE,
    SPARSE,
    VECTOR,
    WORD_START,
    WORDS_PER_ROW,
    K,
    M,
    N,
)
from lspsim.kernels.segments import ceil_div

# columns of the sums [ops, SUMS]; the per-core folds follow in `core_folds`
(
    TILES,  # sum over columns of live tiles n
    HEIGHTS,  # sum of real K rows h in live tiles
    CELLS,  # sum of h x real columns
    TILE_COLS,  # sum of n x real columns
    LATER_COLS,  # sum of (n - 1) x real columns, n > 0
    FEWEST,  # least n > 0
    MOST,  # largest n
    EMPTY,  # columns without a live tile
    LAST_EMPTY,  # 1: the last column is one of them
    LAST_CORES,  # bit p: the last unit of core p is a last column (62 cores at most)
    SUMS,
) = range(11)

MOST_CORES = 62
"""Cores that `LAST_CORES` has bits for; more take the column-by-column path."""


@njit(cache=True, nogil=True)
def deal_eight(tiles, columns, cores, folds):
    """Deal columns out in turn, eight at a time, so that the sums fill one vector register."""
    a = np.int64(0)
    b = np.int64(0)
    c = np.int64(0)
    d = np.int64(0)
    e = np.int64(0)
    f = np.int64(0)
    g = np.int64(0)
    h = np.int64(0)
    whole = columns & ~7
    for j in range(0, whole, 8):
        a += tiles[j]
        b += tiles[j + 1]
        c += tiles[j + 2]
        d += tiles[j + 3]
        e += tiles[j + 4]
        f += tiles[j + 5]
        g += tiles[j + 6]
        h += tiles[j + 7]
    lanes = (a, b, c, d, e, f, g, h)
    for lane in range(8):
        folds[lane % cores] += lanes[lane]
    for j in range(whole, columns):
        folds[j % cores] += tiles[j]


@njit(cache=True, nogil=True)
def profile_aligned(op, chip, words, sums, folds, tiles):
    """Profile a masked weight whose blocks are the array's tiles (one popcount per word)."""
    rows = chip[ROWS]
    cols = chip[COLS]
    cores = chip[CORES]
    columns = ceil_div(op[N], cols)
    words_per_row = op[WORDS_PER_ROW]
    at = op[WORD_START]
    k_tiles = ceil_div(op[K], rows)
    lost = k_tiles * rows - op[K]  # rows of the ragged last tile that do not exist
    last_word = (k_tiles - 1) >> 6
    last_bit = np.uint64((k_tiles - 1) & 63)
    # separate plain loops: each one vectorises
    if words_per_row == 1:
        for j in range(columns):
            tiles[j] = popcount(words[at + j])
    elif words_per_row == 2:
        for j in range(columns):
            tiles[j] = popcount(words[at + 2 * j]) + popcount(words[at + 2 * j + 1])
    else:
        for j in range(columns):
            n = np.int64(0)
            for w in range(words_per_row):
                n += popcount(words[at + j * words_per_row + w])
            tiles[j] = n
    ragged = np.int64(0)  # columns with a live last tile
    if lost > 0:
        for j in range(columns):
            word = words[at + j * words_per_row + last_word]
            ragged += np.int64((word >> last_bit) & np.uint64(1))
    fewest = np.int64(1 << 40)
    most = np.int64(0)
    empty = np.int64(0)
    for j in range(columns):
        n = tiles[j]
        most = max(most, n)
        empty += np.int64(n == 0)
        fewest = min(fewest, n if n > 0 else np.int64(1 << 40))
    last_core = (columns - 1) % cores
    if 8 % cores == 0 and (cores == 1 or chip[ASSIGNMENT] == ROUND_ROBIN):
        deal_eight(tiles, columns, cores, folds)
    else:
        core_of = np.empty(columns, np.int64)
        assign_units(tiles[:columns], 1, cores, chip[ASSIGNMENT], core_of)
        for j in range(columns):
            folds[core_of[j]] += tiles[j]
        last_core = core_of[columns - 1]
    sums[LAST_CORES] = 1 << min(last_core, 62)
    total = np.int64(0)
    for p in range(cores):
        total += folds[p]
    n = tiles[columns - 1]
    short = columns * cols - op[N]  # array columns that the last tile column leaves empty
    last_height = n * rows
    if lost > 0:
        word = words[at + (columns - 1) * words_per_row + last_word]
        last_height -= lost * np.int64((word >> last_bit) & np.uint64(1))
    heights = total * rows - ragged * lost
    sums[TILES] = total
    sums[HEIGHTS] = heights
    sums[CELLS] = heights * cols - last_height * short
    sums[TILE_COLS] = total * cols - n * short
    sums[LATER_COLS] = (total - (columns - empty)) * cols - max(n - 1, 0) * short
    sums[FEWEST] = fewest
    sums[MOST] = most
    sums[EMPTY] = empty
    sums[LAST_EMPTY] = 1 if n == 0 else 0


@njit(cache=True, nogil=True)
def profile_dense(op, chip, sums, folds):
    """Profile an operand without dead tiles: every column is alike."""
    cols = chip[COLS]
    cores = chip[CORES]
    width = op[M] if chip[DATAFLOW] == INPUT_STATIONARY else op[N]
    columns = ceil_div(width, cols)
    n = ceil_div(op[K], chip[ROWS])
    if chip[DATAFLOW] == OUTPUT_STATIONARY:
        n = 1
    sums[TILES] = n * columns
    sums[HEIGHTS] = op[K] * columns
    sums[CELLS] = op[K] * width
    sums[TILE_COLS] = n * width
    sums[LATER_COLS] = (n - 1) * width
    sums[FEWEST] = n
    sums[MOST] = n
    sums[EMPTY] = 0
    sums[LAST_EMPTY] = 0
    # equal loads: longest-first deals them out in turn, as round-robin does
    units = columns * op[BATCH]
    each = units // cores
    sums[LAST_CORES] = 0
    for p in range(min(cores, MOST_CORES, units)):
        last_unit = units - 1 - (units - 1 - p) % cores
        if last_unit % columns == columns - 1:
            sums[LAST_CORES] |= 1 << p
    for p in range(cores):
        folds[p] = n * (each + (1 if p < units - each * cores else 0))


@njit(cache=True, nogil=True)
def profile_general(op, chip, words, sums, folds, tiles, heights, live):
    """Profile any operand, column by column."""
    cols = chip[COLS]
    cores = chip[CORES]
    columns = column_profile(op, chip, words, tiles, heights, live)
    width = op[M] if chip[DATAFLOW] == INPUT_STATIONARY else op[N]
    core_of = np.empty(columns * op[BATCH], np.int64)
    assign_units(tiles[:columns], op[BATCH], cores, chip[ASSIGNMENT], core_of)
    sums[:] = 0
    sums[FEWEST] = 1 << 40
    for j in range(columns):
        real = min(cols, width - j * cols)
        n = tiles[j]
        sums[TILES] += n
        sums[HEIGHTS] += heights[j]
        sums[CELLS] += heights[j] * real
        sums[TILE_COLS] += n * real
        sums[LATER_COLS] += max(n - 1, 0) * real
        sums[MOST] = max(sums[MOST], n)
        if n == 0:
            sums[EMPTY] += 1
        else:
            sums[FEWEST] = min(sums[FEWEST], n)
    sums[LAST_EMPTY] = 1 if tiles[columns - 1] == 0 else 0
    for u in range(columns * op[BATCH]):
        p = core_of[u]
        folds[p] += tiles[u % columns]
        if p < MOST_CORES:
            sums[LAST_CORES] &= ~(1 << p)
            if u % columns == columns - 1:
                sums[LAST_CORES] |= 1 << p


@njit(cache=True, nogil=True)
def profile(ops, words, chip, sums, core_folds):
    """Fill `sums` `[ops, SUMS]` and `core_folds` `[ops, cores]` (zeroed by the caller)."""
    widest = np.int64(1)
    for i in range(ops.shape[0]):
        widest = max(widest, max(ops[i, N], ops[i, M]))
    widest = ceil_div(widest, chip[COLS])
    tiles = np.empty(widest, np.int64)
    heights = np.empty(widest, np.int64)
    live = np.empty(widest, np.int64)
    gather = gathers(chip)
    alike = np.full(ops.shape[0], -1, np.int64)  # latest dense operator of each shape
    may_skip = chip[SPARSE] == 1 and chip[DATAFLOW] != INPUT_STATIONARY
    for i in range(ops.shape[0]):
        if ops[i, KIND] == VECTOR:
            continue
        if not (may_skip and ops[i, MASKED]):
            shape = ops[i, SHAPE]
            if alike[shape] >= 0:
                for c in range(SUMS):
                    sums[i, c] = sums[alike[shape], c]
                for p in range(chip[CORES]):
                    core_folds[i, p] = core_folds[alike[shape], p]
                continue
            alike[shape] = i
            profile_dense(ops[i], chip, sums[i], core_folds[i])
            continue
        op = ops[i]
        if op[BLOCK_IN] == chip[ROWS] and op[BLOCK_OUT] == chip[COLS] and not gather:
            profile_aligned(op, chip, words, sums[i], core_folds[i], tiles)
        else:
            profile_general(op, chip, words, sums[i], core_folds[i], tiles, heights, live)

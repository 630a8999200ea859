"""Live tiles per tile column, from packed mask bits (docs/model.md, "Live tiles and packing")."""

from __future__ import annotations

import numpy as np
from numba import njit

from lspsim.kernels.layout import (
    BLOCK_IN,
    BLOCK_OUT,
    COLS,
    DATAFLOW,
    INPUT_STATIONARY,
    MASKED,
    PACKING,
    ROWS,
    SPARSE,
    WEIGHT_STATIONARY,
    WORD_START,
    WORDS_PER_ROW,
    K,
    M,
    N,
)
from lspsim.kernels.segments import ceil_div

_M1 = np.uint64(0x5555555555555555)
_M2 = np.uint64(0x3333333333333333)
_M4 = np.uint64(0x0F0F0F0F0F0F0F0F)
_H01 = np.uint64(0x0101010101010101)


@njit(cache=True, inline="always")
def popcount(x):
    """Return the number of set bits of a uint64 (LLVM turns the idiom into one instruction)."""
    x = x - ((x >> np.uint64(1)) & _M1)
    x = (x & _M2) + ((x >> np.uint64(2)) & _M2)
    x = (x + (x >> np.uint64(4))) & _M4
    return np.int64((x * _H01) >> np.uint64(56))


@njit(cache=True, inline="always")
def bit(words, column):
    """Return bit `column` of packed words, as uint64."""
    return (words[column >> 6] >> np.uint64(column & 63)) & np.uint64(1)


@njit(cache=True, nogil=True)
def skips(op, chip):
    """Whether dead tiles of this operator are skipped."""
    return op[MASKED] and chip[SPARSE] and chip[DATAFLOW] != INPUT_STATIONARY


@njit(cache=True, nogil=True)
def gathers(chip):
    """Whether kept sub-blocks are gathered along K (always for OS, by packing for WS)."""
    if chip[DATAFLOW] == WEIGHT_STATIONARY:
        return chip[PACKING] == 1
    return chip[DATAFLOW] != INPUT_STATIONARY


@njit(cache=True, nogil=True)
def column_bits(op, words, first, last, out):
    """OR the packed block rows that tile-column rows `[first, last)` of N touch into `out`."""
    wpr = op[WORDS_PER_ROW]
    start = op[WORD_START]
    b0 = first // op[BLOCK_OUT]
    b1 = (last - 1) // op[BLOCK_OUT]
    for w in range(wpr):
        out[w] = words[start + b0 * wpr + w]
    for b in range(b0 + 1, b1 + 1):
        for w in range(wpr):
            out[w] |= words[start + b * wpr + w]


@njit(cache=True, nogil=True)
def tile_is_live(op, chip, bits, tile):
    """Whether K tile `tile` meets a kept block of the column."""
    k0 = tile * chip[ROWS]
    k1 = min(k0 + chip[ROWS], op[K])
    meets = False
    for b in range(k0 // op[BLOCK_IN], (k1 - 1) // op[BLOCK_IN] + 1):
        meets |= bit(bits, b) != 0
    return meets


@njit(cache=True, nogil=True)
def kept_height(op, bits):
    """Return (kept sub-blocks, sum of their real heights) of a column."""
    units = 0
    for w in range(op[WORDS_PER_ROW]):
        units += popcount(bits[w])
    height = units * op[BLOCK_IN]
    blocks = ceil_div(op[K], op[BLOCK_IN])
    if bit(bits, blocks - 1):
        height -= blocks * op[BLOCK_IN] - op[K]
    return units, height


@njit(cache=True, nogil=True)
def column_profile(op, chip, words, tiles, heights, units):
    """Profile every tile column of a weight or activation operand.

    Parameters
    ----------
    op, chip, words
        Operator row, chip vector, packed masks.
    tiles
        int64 `[columns]`, overwritten: folds per chunk (WS, IS) or 0/1 (OS).
    heights
        int64 `[columns]`, overwritten: sum of the real rows of K in the live
        tiles (WS, IS), or K' (OS).
    units
        int64 `[columns]`, overwritten: live index units (tiles, or sub-blocks where gathered).
    """
    rows = chip[ROWS]
    cols = chip[COLS]
    width = op[M] if chip[DATAFLOW] == INPUT_STATIONARY else op[N]
    columns = ceil_div(width, cols)
    k_tiles = ceil_div(op[K], rows)
    gather = gathers(chip)
    output_stationary = gather and chip[DATAFLOW] != WEIGHT_STATIONARY
    if not skips(op, chip):
        for j in range(columns):
            tiles[j] = 1 if output_stationary else k_tiles
            heights[j] = op[K]
            units[j] = k_tiles
        return columns
    aligned = op[BLOCK_IN] == rows
    if aligned and op[BLOCK_OUT] == cols and not gather:
        # the common case: a tile is a block
        words_per_row = op[WORDS_PER_ROW]
        at = op[WORD_START]
        lost = k_tiles * rows - op[K]
        last_word = (k_tiles - 1) >> 6
        last_bit = np.uint64((k_tiles - 1) & 63)
        for j in range(columns):
            live = np.int64(0)
            for w in range(words_per_row):
                live += popcount(words[at + w])
            ragged = np.int64((words[at + last_word] >> last_bit) & np.uint64(1))
            tiles[j] = live
            heights[j] = live * rows - ragged * lost
            units[j] = live
            at += words_per_row
        return columns
    bits = np.empty(op[WORDS_PER_ROW], np.uint64)
    for j in range(columns):
        column_bits(op, words, j * cols, min((j + 1) * cols, width), bits)
        if gather or aligned:
            live, height = kept_height(op, bits)
            units[j] = live
            heights[j] = height
            if output_stationary:
                tiles[j] = 1 if live > 0 else 0
            else:
                tiles[j] = ceil_div(height, rows) if gather else live
        else:
            live = 0
            for i in range(k_tiles):
                if tile_is_live(op, chip, bits, i):
                    live += 1
            height = live * rows
            if live > 0 and tile_is_live(op, chip, bits, k_tiles - 1):
                height -= k_tiles * rows - op[K]
            tiles[j] = live
            heights[j] = height
            units[j] = live
    return columns

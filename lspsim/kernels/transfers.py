"""Bytes and channel cycles of transfers (docs/model.md, "Memory")."""

from __future__ import annotations

from numba import njit

from lspsim.kernels.columns import gathers
from lspsim.kernels.layout import (
    ACCUMULATOR_BITS,
    ACTIVATION_BITS,
    ACTIVATION_GEMM,
    BIAS,
    BITMAP,
    BLOCK_IN,
    BURST,
    COLS,
    DATAFLOW,
    IDEAL,
    INDEX,
    INPUT_STATIONARY,
    KIND,
    LANES,
    MASKED,
    NOC_DEN,
    NOC_NUM,
    OP_ACCUMULATOR_BITS,
    OP_ACTIVATION_BITS,
    OP_WEIGHT_BITS,
    PASSES,
    RATE_NUM,
    ROWS,
    SPARSE,
    VECTOR_LATENCY,
    WEIGHT_BITS,
    K,
    N,
)
from lspsim.kernels.segments import bits_of, ceil_div


@njit(cache=True, nogil=True)
def bursts(byte_count, chip):
    """Return bytes moved: whole bursts."""
    return ceil_div(byte_count, chip[BURST]) * chip[BURST]


@njit(cache=True, nogil=True)
def channel_cycles(byte_count, chip, request_class):
    """Return the cycles that a transfer holds the channel; 0 without bytes or with ideal memory."""
    if byte_count == 0 or chip[IDEAL]:
        return 0
    at = RATE_NUM + 2 * request_class
    return max(1, ceil_div(bursts(byte_count, chip) * chip[at], chip[at + 1]))


@njit(cache=True, nogil=True)
def activation_bits(op, chip):
    """Return the bits of one activation."""
    return bits_of(op[OP_ACTIVATION_BITS], chip[ACTIVATION_BITS])


@njit(cache=True, nogil=True)
def stationary_bits(op, chip):
    """Bits of the operand that the array holds: W for WS, X for IS, W for OS (streamed)."""
    if op[KIND] == ACTIVATION_GEMM or chip[DATAFLOW] == INPUT_STATIONARY:
        return activation_bits(op, chip)
    return bits_of(op[OP_WEIGHT_BITS], chip[WEIGHT_BITS])


@njit(cache=True, nogil=True)
def streamed_bits(op, chip):
    """Bits of the operand that comes as activation transfers: X, or W for IS."""
    if chip[DATAFLOW] == INPUT_STATIONARY and op[KIND] != ACTIVATION_GEMM:
        return bits_of(op[OP_WEIGHT_BITS], chip[WEIGHT_BITS])
    return activation_bits(op, chip)


@njit(cache=True, nogil=True)
def tile_bytes(op, chip):
    """Bytes of one stationary tile (or OS weight slice): always whole."""
    return ceil_div(chip[ROWS] * chip[COLS] * stationary_bits(op, chip), 8)


@njit(cache=True, nogil=True)
def index_bytes(op, chip, live_units):
    """Index bytes of one tile column with `live_units` live units."""
    if not chip[SPARSE] or op[KIND] == ACTIVATION_GEMM or chip[DATAFLOW] == INPUT_STATIONARY:
        return 0
    if chip[INDEX] == BITMAP:
        height = chip[ROWS]
        if op[MASKED] and gathers(chip):
            height = op[BLOCK_IN]
        return ceil_div(ceil_div(op[K], height), 8)
    return 2 * live_units + 4


@njit(cache=True, nogil=True)
def bias_bytes(op, chip, column):
    """Bias bytes that ride with a column's header (IS: all of them with column 0)."""
    if not op[BIAS]:
        return 0
    bits = bits_of(op[OP_ACCUMULATOR_BITS], chip[ACCUMULATOR_BITS])
    if chip[DATAFLOW] == INPUT_STATIONARY:
        return ceil_div(op[N] * bits, 8) if column == 0 else 0
    width = min(chip[COLS], op[N] - column * chip[COLS])
    return ceil_div(width * bits, 8)


@njit(cache=True, nogil=True)
def vector_cycles(elements, pass_class, chip):
    """Return `passes ceil(elements / lanes) + latency`."""
    return chip[PASSES + pass_class] * ceil_div(elements, chip[LANES]) + chip[VECTOR_LATENCY]


@njit(cache=True, nogil=True)
def gather_cycles(byte_count, chip):
    """All-gather of a resident result of `byte_count` bytes."""
    if chip[IDEAL] or chip[NOC_NUM] == 0:
        return 0
    return ceil_div(byte_count * chip[NOC_NUM], chip[NOC_DEN])

"""Fusion, residency and chunks: which tensors stay on chip (docs/model.md, "Residency")."""

from __future__ import annotations

import numpy as np
from numba import njit

from lspsim.kernels.layout import (
    ACCUMULATOR_ROWS,
    ACTIVATION_BITS,
    ACTIVATION_BUFFER,
    ACTIVATION_GEMM,
    BATCH,
    CHUNK_ROWS,
    CHUNKS,
    DATAFLOW,
    FIRST_OP,
    FUSABLE,
    FUSED,
    IN0,
    IN1,
    INPUT_STATIONARY,
    KIND,
    LAST_OP,
    LAST_USE,
    NO_INPUT,
    OP_ACTIVATION_BITS,
    OP_WEIGHT_BITS,
    OUT_ROWS,
    OUTPUT_STATIONARY,
    PARAMETERS,
    ROWS,
    USES,
    VECTOR,
    VECTOR_OVERLAP,
    W_RESIDENT,
    WEIGHT_BITS,
    WEIGHT_BUFFER,
    X_RESIDENT,
    Y_RESIDENT,
    K,
    M,
    N,
)


@njit(cache=True, nogil=True)
def ceil_div(a, b):
    """Return `a / b` rounded up, for non-negative integers."""
    return (a + b - 1) // b


@njit(cache=True, nogil=True)
def bits_of(own, native):
    """Return an operator's own operand width, or the array's where it states none (0)."""
    return own if own > 0 else native


@njit(cache=True, nogil=True)
def result_bytes(ops, i, chip):
    """`tensor_bytes` by index: a row view costs a reference count, and this runs per operator."""
    bits = bits_of(ops[i, OP_ACTIVATION_BITS], chip[ACTIVATION_BITS])
    if ops[i, KIND] == VECTOR:
        return (ops[i, OUT_ROWS] * ops[i, N] * bits + 7) >> 3
    return (ops[i, BATCH] * ops[i, M] * ops[i, N] * bits + 7) >> 3


@njit(cache=True, nogil=True)
def tensor_bytes(op, chip):
    """Bytes of the tensor that an operator produces."""
    bits = bits_of(op[OP_ACTIVATION_BITS], chip[ACTIVATION_BITS])
    if op[KIND] == VECTOR:
        return ceil_div(op[OUT_ROWS] * op[N] * bits, 8)
    return ceil_div(op[BATCH] * op[M] * op[N] * bits, 8)


@njit(cache=True, nogil=True)
def chunking(ops, i, chip, x_resident):
    """Return (number of chunks, 0) or (0, rows that fit) where not even one fits.

    A chunk holds rows of the streamed operand: of X for WS and OS, of W for IS.
    """
    dataflow = chip[DATAFLOW]
    activation_bits = bits_of(ops[i, OP_ACTIVATION_BITS], chip[ACTIVATION_BITS])
    if dataflow == INPUT_STATIONARY:
        rows = ops[i, N]
        bits = activation_bits
        half = chip[ACTIVATION_BUFFER] // 2
        if ops[i, KIND] != ACTIVATION_GEMM:
            bits = bits_of(ops[i, OP_WEIGHT_BITS], chip[WEIGHT_BITS])
            half = chip[WEIGHT_BUFFER] // 2
    else:
        rows = ops[i, M]
        bits = activation_bits
        half = chip[ACTIVATION_BUFFER] // 2
    if dataflow == OUTPUT_STATIONARY:
        if x_resident:
            return 1, 0
        tiles = half * 8 // (ops[i, K] * bits) // chip[ROWS]
        if tiles < 1:
            return 0, half * 8 // (ops[i, K] * bits)
        return ceil_div(ceil_div(rows, chip[ROWS]), tiles), 0
    cap = chip[ACCUMULATOR_ROWS]
    if not x_resident:
        cap = min(cap, half * 8 // (ops[i, K] * bits))
    if cap < 1:
        return 0, cap
    return ceil_div(rows, cap), 0


@njit(cache=True, nogil=True)
def find_segments(ops, chip, segments, fused_into):
    """Fill the segment table; return (segments, -1) or (0, operator whose chunk cannot fit).

    Parameters
    ----------
    ops
        int64 `[ops, OP_SIZE]`.
    chip
        int64 `[CHIP_SIZE]`.
    segments
        int64 `[ops, SEGMENT_SIZE]`, overwritten.
    fused_into
        int64 `[ops]`, overwritten: index of the GEMM that serves the operator, or -1.
    """
    count = ops.shape[0]
    resident = np.zeros(count, np.bool_)
    sizes = np.zeros(count, np.int64)
    capacity = chip[ACTIVATION_BUFFER]
    used = 0
    filled = 0
    i = 0
    while i < count:
        last = i
        fused_into[i] = -1
        if ops[i, KIND] != VECTOR and chip[VECTOR_OVERLAP]:
            elements = ops[i, BATCH] * ops[i, M] * ops[i, N]
            while last + 1 < count:
                nxt = last + 1
                if (
                    ops[nxt, KIND] != VECTOR
                    or not ops[nxt, FUSABLE]
                    or ops[nxt, PARAMETERS] > 0
                    or ops[nxt, M] * ops[nxt, N] != elements
                    or ops[last, USES] != 1
                ):
                    break
                other = ops[nxt, IN1]
                if ops[nxt, IN0] != last:
                    if ops[nxt, IN1] != last:
                        break
                    other = ops[nxt, IN0]
                if other != NO_INPUT and (other < 0 or other == last or not resident[other]):
                    break
                last += 1
                fused_into[last] = i
        segments[filled, FIRST_OP] = i
        segments[filled, LAST_OP] = last
        segments[filled, FUSED] = last - i
        segments[filled, X_RESIDENT] = 1 if ops[i, IN0] >= 0 and resident[ops[i, IN0]] else 0
        segments[filled, W_RESIDENT] = 1 if ops[i, IN1] >= 0 and resident[ops[i, IN1]] else 0
        size = result_bytes(ops, last, chip)
        stays = ops[last, USES] > 0 and used + size <= capacity
        segments[filled, Y_RESIDENT] = 1 if stays else 0
        if stays:
            resident[last] = True
            sizes[last] = size
            used += size
        # an operand dies after its last reader
        for j in range(i, last + 1):
            for side in (IN0, IN1):
                source = ops[j, side]
                if source >= 0 and resident[source] and ops[source, LAST_USE] <= last:
                    used -= sizes[source]
                    sizes[source] = 0
                    resident[source] = False
        if ops[i, KIND] == VECTOR:
            segments[filled, CHUNKS] = 0
        else:
            streamed_resident = segments[filled, X_RESIDENT] == 1
            if chip[DATAFLOW] == INPUT_STATIONARY:
                streamed_resident = segments[filled, W_RESIDENT] == 1
            chunks, rows = chunking(ops, i, chip, streamed_resident)
            if chunks == 0:
                return 0, i
            segments[filled, CHUNKS] = chunks
            segments[filled, CHUNK_ROWS] = rows
        filled += 1
        i = last + 1
    return filled, -1

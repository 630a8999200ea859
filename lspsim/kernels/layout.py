"""Column numbers of the int64 vectors and tables that kernels share.

The chip vector and the operator table are built in `lspsim.schedule.lower`.
Plain module constants, because Numba compiles them in.
"""

from __future__ import annotations

# chip vector
(
    ROWS,
    COLS,
    CORES,
    DATAFLOW,
    OVERLAP,
    ACCUMULATOR_ROWS,
    PACKING,
    SPARSE,
    INDEX,
    ASSIGNMENT,
    WEIGHT_BITS,
    ACTIVATION_BITS,
    ACCUMULATOR_BITS,
    WEIGHT_BUFFER,
    ACTIVATION_BUFFER,
    IDEAL,
    SHARED,
    PREFETCH,
    BURST,
    LATENCY,
    RATE_NUM,  # cycles per byte of class c: chip[RATE_NUM + 2 c] / chip[RATE_NUM + 2 c + 1]
    RATE_DEN,
    RATE_NUM_ACTIVATIONS,
    RATE_DEN_ACTIVATIONS,
    RATE_NUM_WRITEBACK,
    RATE_DEN_WRITEBACK,
    NOC_NUM,
    NOC_DEN,
    LANES,
    VECTOR_LATENCY,
    VECTOR_OVERLAP,
    PASSES,  # passes of pass class c: chip[PASSES + c]
    PASSES_LAYERNORM,
    PASSES_SOFTMAX,
    SLOTS,
    CHIP_SIZE,
) = range(36)

WEIGHT_STATIONARY, OUTPUT_STATIONARY, INPUT_STATIONARY = 0, 1, 2
BITMAP, BSR = 0, 1
ROUND_ROBIN, LONGEST_FIRST = 0, 1
ELEMENTWISE, LAYERNORM, SOFTMAX = 0, 1, 2

# operator table
(
    KIND,
    M,
    K,
    N,
    BATCH,
    OP_WEIGHT_BITS,
    OP_ACTIVATION_BITS,
    OP_ACCUMULATOR_BITS,
    BIAS,
    IN0,
    IN1,
    PASS_CLASS,
    FUSABLE,
    OUT_ROWS,
    PARAMETERS,
    USES,
    LAST_USE,
    MASKED,
    BLOCK_OUT,
    BLOCK_IN,
    WORD_START,
    WORDS_PER_ROW,
    KEPT,
    SHAPE,  # equal for operators that differ in their masks' blocks only
    OP_SIZE,
) = range(25)

WEIGHT_GEMM, ACTIVATION_GEMM, VECTOR = 0, 1, 2
FROM_DRAM, NO_INPUT = -1, -2

# segment table (lspsim.kernels.segments)
(
    FIRST_OP,
    LAST_OP,
    X_RESIDENT,
    W_RESIDENT,
    Y_RESIDENT,
    FUSED,
    CHUNKS,
    CHUNK_ROWS,
    SEGMENT_SIZE,
) = range(9)

"""Lower hardware and workloads to the int64 tables that kernels read."""

from __future__ import annotations

import hashlib
import math
import weakref
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lspsim.arrays import IntArray
from lspsim.errors import ScheduleError, WorkloadError
from lspsim.kernels import layout as at
from lspsim.workload import INPUT, Gemm, VectorOp

if TYPE_CHECKING:
    from lspsim.hardware import Hardware
    from lspsim.workload import Workload


_DATAFLOWS = {
    "weight-stationary": at.WEIGHT_STATIONARY,
    "output-stationary": at.OUTPUT_STATIONARY,
    "input-stationary": at.INPUT_STATIONARY,
}
_OVERLAPS = {"double-buffered": 0, "single-buffered": 1, "none": 2}
_PASS_CLASSES = {"layernorm": at.LAYERNORM, "softmax": at.SOFTMAX}
_SHAPE_COLUMNS = [
    at.PASS_CLASS,
    at.FUSABLE,
    at.OUT_ROWS,
    at.PARAMETERS,
    at.MASKED,
    at.BLOCK_OUT,
    at.BLOCK_IN,
]
_FUSABLE = frozenset({"add", "gelu", "relu", "silu", "scale"})


def _rate(chip: IntArray, slot: int, cycles_per_byte: Fraction) -> None:
    chip[slot] = cycles_per_byte.numerator
    chip[slot + 1] = cycles_per_byte.denominator


def lower_hardware(hardware: Hardware) -> IntArray:
    """Return the chip vector `[CHIP_SIZE]` of `hardware`; see `lspsim.kernels.layout`."""
    array, memory, vector = hardware.array, hardware.memory, hardware.vector
    dram, precision = memory.dram, hardware.precision
    chip = np.zeros(at.CHIP_SIZE, np.int64)
    chip[at.ROWS] = array.rows
    chip[at.COLS] = array.cols
    chip[at.CORES] = hardware.cores
    chip[at.DATAFLOW] = _DATAFLOWS[array.dataflow]
    chip[at.OVERLAP] = _OVERLAPS[array.fold_overlap]
    chip[at.ACCUMULATOR_ROWS] = array.accumulator_rows
    chip[at.PACKING] = array.packing == "k-compact"
    chip[at.SPARSE] = array.sparsity == "block"
    chip[at.INDEX] = at.BSR if array.index == "bsr" else at.BITMAP
    chip[at.ASSIGNMENT] = (
        at.LONGEST_FIRST if array.assignment == "longest-first" else at.ROUND_ROBIN
    )
    chip[at.WEIGHT_BITS] = precision.weight_bits
    chip[at.ACTIVATION_BITS] = precision.activation_bits
    chip[at.ACCUMULATOR_BITS] = precision.accumulator_bits
    chip[at.WEIGHT_BUFFER] = hardware.buffers.weight_bytes
    chip[at.ACTIVATION_BUFFER] = hardware.buffers.activation_bytes
    chip[at.IDEAL] = memory.ideal
    chip[at.SHARED] = memory.channels == "shared"
    chip[at.PREFETCH] = memory.prefetch_across_layers
    chip[at.BURST] = dram.burst_bytes
    chip[at.LATENCY] = 0 if memory.ideal else math.ceil(dram.latency_s * hardware.clock_hz)
    base = Fraction(hardware.clock_hz) / (dram.bandwidth_bytes_per_s * dram.efficiency)
    shares = (Fraction(1),) * 3
    if memory.shares is not None and memory.channels == "separate":
        shares = (memory.shares.weights, memory.shares.activations, memory.shares.writeback)
    for request_class, share in enumerate(shares):
        _rate(chip, at.RATE_NUM + 2 * request_class, base / share)
    if hardware.noc is not None:
        _rate(chip, at.NOC_NUM, Fraction(hardware.clock_hz, hardware.noc.bandwidth_bytes_per_s))
    chip[at.LANES] = vector.lanes
    chip[at.VECTOR_LATENCY] = vector.latency_cycles
    chip[at.VECTOR_OVERLAP] = vector.overlap
    chip[at.PASSES + at.ELEMENTWISE] = vector.passes.elementwise
    chip[at.PASSES + at.LAYERNORM] = vector.passes.layernorm
    chip[at.PASSES + at.SOFTMAX] = vector.passes.softmax
    tile_bits = array.rows * array.cols * precision.weight_bits
    chip[at.SLOTS] = hardware.buffers.weight_bytes * 8 // tile_bits
    chip.setflags(write=False)
    return chip


_CHIPS: dict[int, tuple[weakref.ref[Hardware], IntArray]] = {}


def chip_of(hardware: Hardware) -> IntArray:
    """Return `lower_hardware(hardware)`, made once per `Hardware` object."""
    key = id(hardware)
    entry = _CHIPS.get(key)
    if entry is not None and entry[0]() is hardware:
        return entry[1]
    chip = lower_hardware(hardware)

    def drop(_: object) -> None:
        _CHIPS.pop(key, None)

    _CHIPS[key] = (weakref.ref(hardware, drop), chip)
    return chip


class OpTables(NamedTuple):
    """Operators of a workload as arrays."""

    ops: IntArray
    """`[ops, OP_SIZE]`; see `lspsim.kernels.layout`."""
    words: NDArray[np.uint64]
    """Packed masks of all operators, one after the other."""
    macs_dense: int
    """Multiply-accumulates with every weight kept."""
    shape_digest: bytes
    """Of everything but the masks' blocks."""


def _gemm_row(row: IntArray, op: Gemm) -> None:
    row[at.KIND] = at.WEIGHT_GEMM if op.rhs == "weight" else at.ACTIVATION_GEMM
    row[at.M], row[at.K], row[at.N], row[at.BATCH] = op.m, op.k, op.n, op.batch
    row[at.OP_WEIGHT_BITS] = op.weight_bits or 0
    row[at.OP_ACTIVATION_BITS] = op.activation_bits or 0
    row[at.OP_ACCUMULATOR_BITS] = op.accumulator_bits or 0
    row[at.BIAS] = op.bias
    row[at.OUT_ROWS] = op.m
    row[at.KEPT] = op.k * op.n


def _vector_row(row: IntArray, op: VectorOp) -> None:
    row[at.KIND] = at.VECTOR
    row[at.M], row[at.K], row[at.N], row[at.BATCH] = op.rows, 0, op.cols, 1
    row[at.PASS_CLASS] = _PASS_CLASSES.get(op.kind, at.ELEMENTWISE)
    row[at.FUSABLE] = op.kind in _FUSABLE
    row[at.OUT_ROWS] = op.rows if op.out_rows is None else op.out_rows
    row[at.PARAMETERS] = op.parameters


def lower_workload(workload: Workload) -> OpTables:
    """Return the operator tables of `workload`, made once and kept in its cache.

    Raises
    ------
    WorkloadError
        When a vector operator reads more than two tensors.
    """
    cached = workload.cache.get("op_tables")
    if isinstance(cached, OpTables):
        return cached
    count = len(workload.ops)
    ops = np.zeros((count, at.OP_SIZE), np.int64)
    ops[:, at.IN1] = at.NO_INPUT
    number = {INPUT: at.FROM_DRAM}
    words: list[NDArray[np.uint64]] = []
    shapes: dict[tuple[int, ...], int] = {}
    start = 0
    for i, (op, inputs) in enumerate(zip(workload.ops, workload.resolved_inputs(), strict=True)):
        row = ops[i]
        if isinstance(op, Gemm):
            _gemm_row(row, op)
            mask = op.mask
            if mask is not None and not mask.keep.all():
                packed = mask.words
                row[at.MASKED] = 1
                row[at.BLOCK_OUT], row[at.BLOCK_IN] = mask.block_out, mask.block_in
                row[at.WORD_START], row[at.WORDS_PER_ROW] = start, packed.shape[1]
                row[at.KEPT] = mask.kept_weights
                words.append(packed.ravel())
                start += packed.size
        else:
            _vector_row(row, op)
            if len(inputs) > 2:
                raise WorkloadError(
                    f"vector operator {op.name!r} reads {len(inputs)} tensors; at most 2 are "
                    "modelled: split it"
                )
        for side, name in zip((at.IN0, at.IN1), inputs, strict=False):
            source = number[name]
            row[side] = source
            if source >= 0:
                ops[source, at.LAST_USE] = i
                ops[source, at.USES] += 1
        number[op.name] = i
        shape = (*row[at.KIND : at.IN0].tolist(), *row[_SHAPE_COLUMNS].tolist())
        row[at.SHAPE] = shapes.setdefault(shape, len(shapes))
    packed_words = np.concatenate(words) if words else np.zeros(1, np.uint64)
    shape_columns = np.delete(ops, [at.WORD_START, at.KEPT], axis=1)
    digest = hashlib.sha256(shape_columns.tobytes()).digest()
    tables = OpTables(ops, packed_words, workload.macs_dense, digest)
    workload.cache["op_tables"] = tables
    return tables


def check_schedulable(workload: Workload, tables: OpTables, hardware: Hardware) -> None:
    """Refuse what the hardware cannot run.

    Raises
    ------
    ScheduleError
        Pruned weights on an input-stationary array, blocks that k-compact
        cannot gather, or operands wider than the array's.
    """
    array, precision = hardware.array, hardware.precision
    ops = tables.ops
    sparse = array.sparsity == "block"
    masked = ops[:, at.MASKED] == 1
    if array.dataflow == "input-stationary" and masked.any():
        name = workload.ops[int(masked.argmax())].name
        raise ScheduleError(
            f"gemm {name!r} has pruned blocks, but an input-stationary array streams every weight; "
            "use weight-stationary or output-stationary, or drop the mask"
        )
    if sparse and array.packing == "k-compact" and array.dataflow == "weight-stationary":
        height = np.where(masked, ops[:, at.BLOCK_IN], array.rows)
        bad = (array.rows % height != 0) & (height % array.rows != 0)
        if bad.any():
            i = int(bad.argmax())
            raise ScheduleError(
                f"gemm {workload.ops[i].name!r}: packing k-compact gathers blocks of "
                f"{int(height[i])} K values into tiles of {array.rows} rows; one must divide the "
                "other: change the block size, array.rows, or use packing: none"
            )
    for column, label, limit in (
        (at.OP_WEIGHT_BITS, "weight_bits", precision.weight_bits),
        (at.OP_ACTIVATION_BITS, "activation_bits", precision.activation_bits),
        (at.OP_ACCUMULATOR_BITS, "accumulator_bits", precision.accumulator_bits),
    ):
        wide = ops[:, column] > limit
        if wide.any():
            i = int(wide.argmax())
            raise ScheduleError(
                f"operator {workload.ops[i].name!r} needs {label}={int(ops[i, column])}, but the "
                f"array is built for {limit}; raise precision.{label}"
            )

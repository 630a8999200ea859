"""A chip on which numbers can be worked out by hand: 1 byte moves in 1 cycle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lspsim.hardware import Hardware, load_hardware
from lspsim.workload import BlockMask, Gemm, VectorOp

_PLAIN: dict[str, object] = {
    "clock": "1 GHz",
    "cores": 1,
    "array.rows": 4,
    "array.cols": 4,
    "array.dataflow": "weight-stationary",
    "array.fold_overlap": "double-buffered",
    "array.accumulator_rows": 8,
    "array.packing": "none",
    "array.sparsity": "none",
    "array.index": "bitmap",
    "array.assignment": "round-robin",
    "precision.weight_bits": 8,
    "precision.activation_bits": 8,
    "precision.accumulator_bits": 32,
    "buffers.weight": "64 B",
    "buffers.activation": "1000 B",
    "memory.ideal": False,
    "memory.channels": "shared",
    "memory.shares": None,
    "memory.prefetch_across_layers": True,
    "memory.dram.bandwidth": "1 GB/s",
    "memory.dram.efficiency": 1.0,
    "memory.dram.latency": "5 ns",
    "memory.dram.burst": "1 B",
    "noc.bandwidth": "1 GB/s",
    "vector.lanes": 4,
    "vector.latency_cycles": 2,
    "vector.overlap": True,
}
_BASE = load_hardware("edge_32x32").with_values(_PLAIN)

SEPARATE: dict[str, object] = {
    "memory.channels": "separate",
    "memory.shares": {"weights": 0.5, "activations": 0.25, "writeback": 0.25},
}
"""A byte of weights then takes 2 cycles, one of activations or results 4."""


def chip(**changes: object) -> Hardware:
    """4x4, 4 tiles of weights, 1000 bytes of activations; `changes` with `__` for dots."""
    return _BASE.with_values({path.replace("__", "."): value for path, value in changes.items()})


def chip_with(values: dict[str, object], **changes: object) -> Hardware:
    """Like `chip`, with a set of values by path first."""
    return _BASE.with_values(
        values | {path.replace("__", "."): value for path, value in changes.items()}
    )


def load(rows: int, cols: int, name: str = "load") -> VectorOp:
    """Bring the network's input on chip, so that the next operator finds it there."""
    return VectorOp(name, "copy", rows, cols)


def end(rows: int, cols: int) -> VectorOp:
    """Read the previous result, so that it may stay on chip."""
    return VectorOp("end", "softmax", rows, cols)


def blocks(rows: Sequence[Sequence[int]], out: int, inner: int) -> BlockMask:
    """Make a mask from zeros and ones, one row per block of N."""
    return BlockMask(np.array(rows, bool), out, inner)


def gemm(m: int, k: int, n: int, mask: BlockMask | None = None, bias: bool = False) -> Gemm:
    return Gemm("gemm", m, k, n, mask=mask, bias=bias)

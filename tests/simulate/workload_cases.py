"""Small random workloads and hardware for tests of schedule and engines together."""

from __future__ import annotations

import random

import numpy as np

from lspsim.hardware import Hardware, load_hardware
from lspsim.workload import BlockMask, Gemm, VectorOp, Workload
from lspsim.workload.ops import VectorKind

BASE = load_hardware("edge_32x32")


def random_mask(rng: random.Random, n: int, k: int, out: int, inner: int) -> BlockMask:
    shape = (-(-n // out), -(-k // inner))
    density = rng.choice([0.0, 0.1, 0.3, 0.5, 0.8, 1.0])
    keep = np.array([[rng.random() < density for _ in range(shape[1])] for _ in range(shape[0])])
    if rng.random() < 0.3:  # whole block rows gone: empty tile columns
        keep[rng.randrange(shape[0])] = False
    return BlockMask(keep.reshape(shape), out, inner, (n, k))


def random_hardware(rng: random.Random, **fixed: object) -> Hardware:
    """Draw hardware around an array of 1..8 x 1..8; `fixed` sets `array.*` and more by path."""
    rows, cols = rng.randint(1, 8), rng.randint(1, 8)
    dataflow = rng.choice(["weight-stationary"] * 3 + ["output-stationary", "input-stationary"])
    overlaps = ["none", "double-buffered"]
    if dataflow != "output-stationary":
        overlaps.append("single-buffered")
    bank = rng.choice([1, 4, 9, 64])
    cores = rng.choice([1, 1, 2, 3, 4])
    slots = rng.choice([1, 2, 3, 4, 8, 30])
    channels = rng.choice(["shared", "separate"])
    values: dict[str, object] = {
        "clock": "1 GHz",
        "cores": cores,
        "array.rows": rows,
        "array.cols": cols,
        "array.dataflow": dataflow,
        "array.fold_overlap": rng.choice(overlaps),
        "array.accumulator_rows": max(bank, rows) if dataflow == "output-stationary" else bank,
        "array.packing": rng.choice(["none", "k-compact"]),
        "array.sparsity": rng.choice(["block", "block", "block", "none"]),
        "array.index": rng.choice(["bitmap", "bsr"]),
        "array.assignment": rng.choice(["round-robin", "longest-first"]),
        "precision.weight_bits": 8,
        "precision.activation_bits": 8,
        "precision.accumulator_bits": 32,
        "buffers.weight": f"{rows * cols * slots + rng.randint(0, rows * cols - 1)} B",
        "buffers.activation": f"{rng.choice([80, 200, 600, 3000, 60000])} B",
        "memory.ideal": rng.random() < 0.08,
        "memory.channels": channels,
        "memory.shares": {"weights": 0.5, "activations": 0.25, "writeback": 0.25}
        if channels == "separate"
        else None,
        "memory.prefetch_across_layers": rng.random() < 0.6,
        "memory.dram.bandwidth": rng.choice(["0.7 GB/s", "3 GB/s", "25.6 GB/s", "400 GB/s"]),
        "memory.dram.efficiency": rng.choice([0.8, 1.0, 0.73]),
        "memory.dram.latency": rng.choice(["0 ns", "3 ns", "100 ns"]),
        "memory.dram.burst": rng.choice(["1 B", "8 B", "64 B"]),
        "noc.bandwidth": rng.choice(["1 GB/s", "32 GB/s"]),
        "vector.lanes": rng.choice([1, 4, 32]),
        "vector.latency_cycles": rng.choice([0, 3, 16]),
        "vector.overlap": rng.random() < 0.7,
    }
    values.update(fixed)
    return BASE.with_values(values)


def random_workload(rng: random.Random, hardware: Hardware) -> Workload:
    """Draw 1 to 6 operators in a chain, with residuals, masks that fit `hardware`."""
    rows = hardware.array.rows
    prunable = hardware.array.dataflow != "input-stationary"
    ops: list[Gemm | VectorOp] = []
    m, width = rng.randint(1, 30), rng.randint(1, 24)
    for i in range(rng.randint(1, 6)):
        kind = rng.choice(["gemm", "gemm", "gemm", "attention", "vector", "vector"])
        if kind == "gemm":
            n = rng.randint(1, 24)
            mask = None
            if prunable and rng.random() < 0.7:
                inner = rng.randint(1, 12)
                if hardware.array.packing == "k-compact":
                    divisors = [d for d in range(1, rows + 1) if rows % d == 0]
                    inner = rng.choice([*divisors, 2 * rows])
                mask = random_mask(rng, n, width, rng.randint(1, 12), inner)
            ops.append(Gemm(f"op{i}", m, width, n, mask=mask, bias=rng.random() < 0.5))
            width = n
        elif kind == "attention" and ops:
            batch = rng.randint(1, 3)
            n = rng.randint(1, 10)
            ops.append(Gemm(f"op{i}", m, width, n, batch=batch, rhs="activation"))
            m, width = m * batch, n
        else:
            ops.append(_vector_op(rng, ops, i, m, width))
    return Workload(ops)


def _vector_op(
    rng: random.Random, ops: list[Gemm | VectorOp], i: int, m: int, width: int
) -> VectorOp:
    kinds: list[VectorKind] = ["add", "gelu", "relu", "layernorm", "softmax", "copy"]
    kind = rng.choice(kinds)
    inputs = None
    if kind == "add" and len(ops) >= 2:
        inputs = (ops[-1].name, rng.choice(ops).name)
    return VectorOp(f"op{i}", kind, m, width, inputs=inputs)

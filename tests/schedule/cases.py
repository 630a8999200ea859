"""Random workloads that use every input of the scheduler, beside those of the engines' tests."""

from __future__ import annotations

import random

from lspsim.hardware import Hardware
from lspsim.workload import INPUT, Gemm, VectorOp, Workload
from lspsim.workload.ops import VectorKind
from tests.simulate.workload_cases import random_hardware, random_mask, random_workload

KINDS: list[VectorKind] = [
    *("add", "add", "gelu", "relu", "silu", "scale"),
    *("copy", "pool", "layernorm", "softmax"),
]


def odd_hardware(rng: random.Random) -> Hardware:
    """Draw hardware with odd buffers, operands that are not bytes, passes not the defaults."""
    weight_bits, activation_bits = rng.choice([3, 4, 8, 8, 8]), rng.choice([4, 5, 8, 8, 8, 16])
    activations = rng.choice([80, 200, 600, 3000, 60000]) + rng.randrange(20)
    return random_hardware(
        rng,
        **{
            "buffers.activation": f"{activations} B",
            "precision.weight_bits": weight_bits,
            "precision.activation_bits": activation_bits,
            "precision.accumulator_bits": rng.choice([24, 32, 37]),
            "vector.passes.elementwise": rng.choice([1, 2]),
            "vector.passes.layernorm": rng.choice([2, 5]),
            "vector.passes.softmax": rng.choice([3, 4]),
        },
    )


class _Tensors:
    """What an operator may read so far, by shape."""

    def __init__(self, rng: random.Random, rows: int, cols: int) -> None:
        self.rng = rng
        self.shapes: list[tuple[str, int, int]] = [(INPUT, rows, cols)]

    def pick(self) -> tuple[str, int, int]:
        """Draw a tensor, most often the newest."""
        return self.shapes[-1] if self.rng.random() < 0.7 else self.rng.choice(self.shapes)

    def of_size(self, rows: int, cols: int) -> str:
        """Draw a tensor of this shape: a residual."""
        return self.rng.choice([name for name, r, c in self.shapes if (r, c) == (rows, cols)])


def odd_workload(rng: random.Random, hardware: Hardware) -> Workload:
    """Draw a graph of 1 to 8 operators: residuals, fused chains, parameters, pools, attention."""
    wide = rng.random() < 0.1  # a mask's row then takes several 64-bit words
    cols = rng.randint(65, 200) if wide else rng.randint(1, 24)
    tensors = _Tensors(rng, rng.randint(1, 30), cols)
    ops: list[Gemm | VectorOp] = []
    for i in range(rng.randint(1, 8)):
        name, rows, cols = tensors.pick()
        draw = rng.random()
        if draw < 0.35:
            ops.append(_weight_gemm(rng, hardware, f"op{i}", name, rows, cols))
        elif draw < 0.5:
            other = tensors.pick()[0]
            n, batch = rng.randint(1, 12), rng.randint(1, 3)
            m = max(1, rows // batch)
            k = rng.randint(1, 12)
            inputs = (name, other)
            ops.append(Gemm(f"op{i}", m, k, n, batch=batch, rhs="activation", inputs=inputs))
        else:
            ops.append(_vector_op(rng, tensors, f"op{i}", name, rows, cols))
        op = ops[-1]
        if isinstance(op, Gemm):
            tensors.shapes.append((op.name, op.m * op.batch, op.n))
        else:
            tensors.shapes.append((op.name, op.out_rows or op.rows, op.cols))
    return Workload(ops)


def _weight_gemm(
    rng: random.Random, hardware: Hardware, name: str, source: str, m: int, k: int
) -> Gemm:
    n = rng.choice([k, rng.randint(1, 40)])
    mask = None
    if hardware.array.dataflow != "input-stationary" and rng.random() < 0.7:
        inner = rng.randint(1, 12)
        if hardware.array.packing == "k-compact":
            rows = hardware.array.rows
            inner = rng.choice([*(d for d in range(1, rows + 1) if rows % d == 0), 2 * rows])
        mask = random_mask(rng, n, k, rng.randint(1, 12), inner)
    return Gemm(
        name,
        m,
        k,
        n,
        mask=mask,
        bias=rng.random() < 0.5,
        inputs=(source,),
        weight_bits=rng.choice([None] * 5 + [2]),
        activation_bits=rng.choice([None] * 5 + [3]),
        accumulator_bits=rng.choice([None] * 5 + [19]),
    )


def _vector_op(
    rng: random.Random, tensors: _Tensors, name: str, source: str, rows: int, cols: int
) -> VectorOp:
    kind = rng.choice(KINDS)
    inputs: tuple[str, ...] = (source,)
    if kind == "add":
        inputs = (source, tensors.of_size(rows, cols))
        if rng.random() < 0.5:
            inputs = inputs[::-1]
    return VectorOp(
        name,
        kind,
        rows,
        cols,
        inputs=inputs,
        out_rows=rng.randint(1, rows) if kind == "pool" else None,
        parameters=rng.choice([0, 0, 0, cols, rows * cols]),
    )


def draw(seed: int) -> tuple[Workload, Hardware]:
    """Draw a case: even seeds as the engines' tests do, odd ones with everything odd."""
    rng = random.Random(seed)
    if seed % 2 == 0:
        hardware = random_hardware(rng)
        return random_workload(rng, hardware), hardware
    hardware = odd_hardware(rng)
    return odd_workload(rng, hardware), hardware

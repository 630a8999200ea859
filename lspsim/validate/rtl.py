"""The event engine against the RTL: the same GEMMs, results and cycles compared exactly."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lspsim.errors import LspsimError
from lspsim.hardware import Hardware
from lspsim.kernels import layout as at
from lspsim.rtl import (
    Case,
    CaseResult,
    Parameters,
    Simulator,
    build_simulator,
    lower_case,
    parameters_of,
)
from lspsim.rtl.parameters import finest_block
from lspsim.schedule.build import build_program
from lspsim.simulate.analytic import analyse
from lspsim.simulate.columns import COUNTS
from lspsim.simulate.event import run_event
from lspsim.workload import BlockMask, Gemm, VectorOp, Workload


@dataclass(frozen=True, slots=True)
class Figures:
    """What is compared, beside the results."""

    cycles: int
    weight_reads: int
    activation_reads: int
    accumulator_reads: int
    accumulator_writes: int


@dataclass(frozen=True, slots=True, eq=False)
class RtlCase:
    """A GEMM on a chip, lowered for the RTL, and what the event engine says of it."""

    name: str
    hardware: Hardware
    gemm: Gemm
    case: Case
    expected: Figures


@dataclass(frozen=True, slots=True)
class RtlRow:
    """The outcome of one case."""

    name: str
    folds: int
    expected: Figures
    measured: Figures
    results_equal: bool

    @property
    def agrees(self) -> bool:
        """Whether results, cycles and counts are all equal."""
        return self.results_equal and self.expected == self.measured


def make_case(
    name: str,
    gemm: Gemm,
    hardware: Hardware,
    parameters: Parameters,
    *,
    x_on_chip: bool = False,
    y_on_chip: bool = False,
    seed: int = 0,
) -> RtlCase:
    """Prepare one comparison.

    X is on chip behind a copy that leaves it there, Y stays for a softmax that reads it.

    Parameters
    ----------
    name
        Shown in tables.
    gemm
        With stored weights.
    hardware
        One core, without prefetching across layers where `x_on_chip`.
    parameters
        Of the build that runs the case.
    x_on_chip, y_on_chip
        Where X comes from and Y goes to, as far as they fit the activation buffer.
    seed
        Of the operands.

    Raises
    ------
    LspsimError
        When the hardware has several cores or fetches weights before the layer starts.
    """
    if hardware.cores != 1:
        raise LspsimError(f"the RTL is one core; set cores=1, got {hardware.cores}")
    if x_on_chip and hardware.memory.prefetch_across_layers:
        raise LspsimError(
            "with X on chip, weights would be fetched before the layer starts; set "
            "memory.prefetch_across_layers=false"
        )
    ops: list[Gemm | VectorOp] = [gemm]
    if x_on_chip:
        ops.insert(0, VectorOp("before", "copy", gemm.m, gemm.k))
    if y_on_chip:
        ops.append(VectorOp("after", "softmax", gemm.m, gemm.n))
    workload = Workload(ops)
    which = ops.index(gemm)
    analysis = analyse(workload, hardware)
    segments = analysis.segments
    segment = segments[:, at.FIRST_OP].tolist().index(which)
    timing = run_event(build_program(workload, hardware))
    start = int(timing.end[segment - 1]) if segment else 0
    counts = dict(zip(COUNTS, analysis.counts[which].tolist(), strict=True))
    precision = hardware.precision
    expected = Figures(
        cycles=int(timing.core_end[segment, 0]) - start,
        weight_reads=counts["weight_buffer_read_bytes"] * 8 // precision.weight_bits,
        activation_reads=counts["activation_buffer_read_bytes"] * 8 // precision.activation_bits,
        accumulator_reads=counts["accumulator_reads"],
        accumulator_writes=counts["accumulator_writes"],
    )
    case = lower_case(
        gemm,
        hardware,
        parameters,
        x_on_chip=bool(segments[segment, at.X_RESIDENT]),
        y_on_chip=bool(segments[segment, at.Y_RESIDENT]),
        seed=seed,
    )
    return RtlCase(name, hardware, gemm, case, expected)


def layer_case(gemm: Gemm, hardware: Hardware, parameters: Parameters, *, seed: int = 0) -> RtlCase:
    """Prepare a layer of a model as it is, alone: X from DRAM, Y to DRAM."""
    kept = 1.0 if gemm.mask is None else gemm.mask.density
    memory = "ideal memory" if hardware.memory.ideal else "its memory"
    name = f"{gemm.name} {gemm.m}x{gemm.k}x{gemm.n}, density {kept:.3g}, {memory}"
    alone = dataclasses.replace(gemm, inputs=None)
    return make_case(name, alone, hardware, parameters, seed=seed)


def verify(
    hardware: Hardware,
    cache_dir: Path,
    *,
    cases: int = 40,
    seed: int = 0,
    layers: Sequence[Gemm] = (),
    gather: int | None = None,
) -> list[RtlRow]:
    """Build one core of `hardware` as RTL and compare it with the event engine.

    Parameters
    ----------
    hardware
        The accelerator; of several cores one is compared.
    cache_dir
        Folder that keeps builds.
    cases
        Random GEMMs; every second one with slow DMA and a short FIFO, the rest with
        ideal memory.
    seed
        Of the random cases.
    layers
        Weight GEMMs to compare as they are, with ideal memory and with the hardware's.
    gather
        As for `lspsim.rtl.parameters_of`.

    Raises
    ------
    MissingDependencyError
        Without Verilator, make and g++.
    ConfigError
        For hardware that the RTL does not cover.
    """
    if hardware.cores > 1:
        hardware = hardware.with_values({"cores": 1})
    parameters = parameters_of(hardware, gather)
    simulator = build_simulator(parameters, cache_dir)
    drawn = [
        random_case(random.Random(f"{seed}/{i}"), hardware, parameters, ideal=i % 2 == 0, index=i)
        for i in range(cases)
    ]
    for layer in layers:
        for ideal in (True, False):
            memory = hardware.with_values({"memory.ideal": ideal})
            drawn.append(layer_case(layer, memory, parameters, seed=seed))
    return run_cases(simulator, drawn)


def run_cases(simulator: Simulator, cases: Sequence[RtlCase]) -> list[RtlRow]:
    """Run cases on the RTL and compare."""
    limits = [4 * case.expected.cycles + 10_000 for case in cases]
    results = simulator.run([case.case for case in cases], limits)
    return [_row(case, result) for case, result in zip(cases, results, strict=True)]


def _row(case: RtlCase, result: CaseResult) -> RtlRow:
    measured = Figures(
        result.cycles,
        result.weight_reads,
        result.activation_reads,
        result.accumulator_reads,
        result.accumulator_writes,
    )
    equal = bool(np.array_equal(result.y, case.case.product()))
    return RtlRow(case.name, len(case.case.folds), case.expected, measured, equal)


def random_case(
    rng: random.Random, hardware: Hardware, parameters: Parameters, *, ideal: bool, index: int = 0
) -> RtlCase:
    """Draw a GEMM, a mask and a memory for a core.

    Parameters
    ----------
    rng
        Everything is drawn from it.
    hardware
        The core; memory, buffers and the rows of a bank in use are replaced.
    parameters
        Of the build.
    ideal
        Whether memory is ideal; else mostly slow DMA, long latency, short FIFO.
    index
        For the case's name.
    """
    R, C = parameters.rows, parameters.cols
    packing = hardware.array.packing
    m = rng.choice([1, 2, rng.randint(1, R), rng.randint(1, 60), rng.randint(1, 300)])
    k = rng.randint(1, rng.choice([R, 4 * R, 8 * R, 12 * R]))
    n = rng.randint(1, rng.choice([C, 4 * C, 8 * C]))
    if not ideal:
        m = min(m, 100)
    depth = parameters.accumulator_rows
    least = R if parameters.output_stationary else 1
    values: dict[str, object] = {
        "array.accumulator_rows": rng.choice([depth, depth, rng.randint(least, depth)]),
        "array.index": rng.choice(["bitmap", "bsr"]),
        "memory.ideal": ideal,
        "memory.prefetch_across_layers": False,
        "buffers.activation": "16 MiB",
    }
    slots = rng.choice([1, 2, 2, 3, 4, 8, 40])
    if parameters.output_stationary:  # a column of weights stays
        slots = max(slots, -(-k // R) + rng.choice([0, 1, 5]))
    values["buffers.weight"] = f"{-(-slots * R * C * parameters.weight_bits // 8)} B"
    x_on_chip = rng.random() < 0.5
    if not ideal:
        latency = rng.choice([0, 0, rng.randint(1, R), 20, 100, 700])
        share = rng.choice([{"weights": 0.5, "activations": 0.25, "writeback": 0.25}, None])
        values |= {
            "memory.channels": "separate" if share else "shared",
            "memory.shares": share,
            # up to more than a row of results per cycle
            "memory.dram.bandwidth": f"{rng.choice([100, 300, 1000, 8000, 64_000, 256_000])} MB/s",
            "memory.dram.efficiency": rng.choice([0.5, 0.8, 1.0]),
            "memory.dram.latency": f"{latency} ns",
            "memory.dram.burst": f"{rng.choice([1, 8, 64])} B",
        }
        if not x_on_chip and rng.random() < 0.75:
            rows = rng.randint(least, max(least, m // rng.choice([1, 4, 8])))
            values["buffers.activation"] = (
                f"{-(-2 * rows * k * parameters.activation_bits // 8) + 1} B"
            )
    mask = _random_mask(rng, n, k, R, C, finest_block(R, parameters.gather), packing)
    gemm = Gemm("g", m, k, n, mask=mask, bias=rng.random() < 0.5)
    return make_case(
        f"random {index}, {'ideal memory' if ideal else 'stalled memory'}",
        gemm,
        hardware.with_values(values),
        parameters,
        x_on_chip=x_on_chip,
        y_on_chip=rng.random() < 0.5,
        seed=rng.randrange(1 << 30),
    )


def _random_mask(
    rng: random.Random, n: int, k: int, rows: int, cols: int, finest: int, packing: str
) -> BlockMask | None:
    if rng.random() < 0.1:
        return None
    block_out = rng.choice([1, rng.randint(1, 2 * cols), cols, 2 * cols])
    if packing == "none":
        block_in = rng.choice([1, rng.randint(1, 2 * rows), rows, 3 * rows])
    else:
        fine = [h for h in range(finest, rows, finest) if rows % h == 0]
        block_in = rng.choice([*fine, rows, 2 * rows])
    shape = (-(-n // block_out), -(-k // block_in))
    density = rng.choice([0.0, 0.05, 0.25, 0.5, 0.5, rng.random(), rng.random(), 0.95, 1.0])
    keep = np.array([[rng.random() < density for _ in range(shape[1])] for _ in range(shape[0])])
    return BlockMask(keep, block_out, block_in, (n, k))


__all__ = [
    "Figures",
    "RtlCase",
    "RtlRow",
    "layer_case",
    "make_case",
    "random_case",
    "run_cases",
    "verify",
]

"""A small made-up transformer and made-up results of it, so that reports are tested alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lspsim.hardware import Hardware, load_hardware
from lspsim.report.summary import RunSummary
from lspsim.simulate.columns import BUCKETS, COUNTS
from lspsim.simulate.result import OpTable, SimulationResult, Totals
from lspsim.workload import BlockMask, Gemm, VectorOp, Workload

COMPONENTS = ("mac", "weight_buffer", "index", "dram", "leakage")

ResultMaker = Callable[..., SimulationResult]


@pytest.fixture(scope="session")
def hardware() -> Hardware:
    return load_hardware("edge_32x32")


def make_workload(
    blocks: int = 3, dim: int = 128, masked: bool = True, model: str = "tiny"
) -> Workload:
    rng = np.random.default_rng(0)

    def gemm(name: str, k: int, n: int, density: float) -> Gemm:
        keep = rng.random((n // 32, k // 32)) < density
        keep[0, 0] = True
        mask = BlockMask(keep, 32, 32) if masked else None
        return Gemm(name, m=197, k=k, n=n, mask=mask)

    ops: list[Gemm | VectorOp] = [Gemm("patch_embed.proj", m=196, k=dim, n=dim)]
    for i in range(blocks):
        b = f"blocks.{i}"
        ops += [
            VectorOp(f"{b}.norm1", "layernorm", 197, dim),
            gemm(f"{b}.attn.qkv", dim, 3 * dim, 0.5),
            Gemm(f"{b}.attn.qk", m=197, k=64, n=197, batch=dim // 64, rhs="activation"),
            VectorOp(f"{b}.attn.softmax", "softmax", 197 * dim // 64, 197),
            gemm(f"{b}.mlp.fc1", dim, 4 * dim, 0.3 + 0.1 * (i % 5)),
            VectorOp(f"{b}.mlp.act", "gelu", 197, 4 * dim),
            gemm(f"{b}.mlp.fc2", 4 * dim, dim, 0.5),
        ]
    ops.append(Gemm("head", m=1, k=dim, n=1000))
    return Workload(ops, model=model)


def make_result(
    hardware: Hardware, workload: Workload | None = None, seed: int = 0
) -> SimulationResult:
    """Random figures that obey the contract: buckets sum to cores x cycles, fused = no cycles."""
    workload = workload or make_workload()
    rng = np.random.default_rng(seed)
    ops = workload.ops
    size = np.array(
        [op.macs_dense / 1000 if isinstance(op, Gemm) else op.rows * op.cols / 32 for op in ops]
    )
    fused = np.array(
        [i - 1 if getattr(op, "kind", "") == "gelu" else -1 for i, op in enumerate(ops)]
    )
    is_gemm = np.array([isinstance(op, Gemm) for op in ops])
    split = rng.random((len(ops), len(BUCKETS))) * np.array([8, 2, 3, 1, 1, 0.2, 0.5, 0.3])
    split[~is_gemm] = np.array([0, 0, 0, 0, 0.1, 0, 1, 0])
    buckets = (split / split.sum(1, keepdims=True) * size[:, None] * hardware.cores).astype(
        np.int64
    )
    buckets[fused >= 0] = 0
    # The compute bucket takes up the remainder modulo the cores.
    buckets[:, 0] += -buckets.sum(1) % hardware.cores
    cycles = buckets.sum(1) // hardware.cores
    counts = np.zeros((len(ops), len(COUNTS)), np.int64)
    executed = [
        op.m * (op.mask.kept_weights if op.mask else op.k * op.n) * op.batch
        if isinstance(op, Gemm)
        else 0
        for op in ops
    ]
    counts[:, COUNTS.index("macs_executed")] = executed
    reads = [op.k * op.n if isinstance(op, Gemm) and op.rhs == "weight" else 0 for op in ops]
    counts[:, COUNTS.index("dram_read_bytes")] = reads
    energy = rng.random((len(ops), len(COMPONENTS))) * size[:, None] * np.array([5, 3, 0.01, 9, 1])
    total = int(cycles.sum())
    joules = float(energy.sum()) * 1e-12
    seconds = total / hardware.clock_hz
    macs = sum(executed)
    return SimulationResult(
        workload=workload,
        hardware=hardware,
        engine="event",
        lower_bound=False,
        table=OpTable(
            cycles_total=cycles,
            cycles_array=cycles,
            buckets=buckets,
            counts=counts,
            tiles_live=np.where(is_gemm, 7, 0),
            tiles_total=np.where(is_gemm, 12, 0),
            folds=np.where(is_gemm, 7, 0),
            fused_into=fused,
        ),
        totals=Totals(
            cycles_total=total,
            latency_s=seconds,
            energy_j=joules,
            energy_low_j=0.8 * joules,
            energy_high_j=1.3 * joules,
            power_w=joules / seconds,
            macs_dense=workload.macs_dense,
            macs_executed=macs,
            utilization=macs / (hardware.macs_per_cycle * total),
            dram_read_bytes=sum(reads),
            dram_write_bytes=0,
            area_mm2=6.5,
            area_low_mm2=4.0,
            area_high_mm2=11.0,
        ),
        make_energy=lambda: (COMPONENTS, energy),
    )


@pytest.fixture(scope="session")
def workload() -> Workload:
    return make_workload()


@pytest.fixture(scope="session")
def result(hardware: Hardware) -> SimulationResult:
    return make_result(hardware)


@pytest.fixture(scope="session")
def run(result: SimulationResult) -> RunSummary:
    return RunSummary.of(result)


@pytest.fixture(scope="session")
def new_result(hardware: Hardware) -> ResultMaker:
    """Make further results: `new_result(workload=..., seed=..., hardware=...)`."""

    def make(
        workload: Workload | None = None, seed: int = 0, hardware: Hardware = hardware
    ) -> SimulationResult:
        return make_result(hardware, workload, seed)

    return make


@pytest.fixture(scope="session")
def new_workload() -> Callable[..., Workload]:
    """Make further workloads: `new_workload(blocks=..., masked=...)`."""
    return make_workload

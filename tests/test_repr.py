"""What a forgotten `print` shows: a line with the figures that matter, not the arrays."""

from __future__ import annotations

import numpy as np
import pytest

from lspsim.gpu import GpuModel, load_gpu, predict
from lspsim.hardware import load_hardware
from lspsim.simulate import SimulationResult, simulate
from lspsim.workload import BlockMask, Gemm, VectorOp, Workload

MASK = BlockMask(np.eye(6, 4, dtype=bool), 32, 64, (192, 250))


def network(blocks: int) -> Workload:
    layers = [
        op
        for i in range(blocks)
        for op in (
            Gemm(f"blocks.{i}.fc1", m=50, k=250, n=192, mask=MASK),
            VectorOp(f"blocks.{i}.act", "gelu", 50, 192),
            Gemm(f"blocks.{i}.fc2", m=50, k=192, n=250),
        )
    ]
    return Workload(layers, model="net", batch=2)


@pytest.fixture(scope="module")
def result() -> SimulationResult:
    return simulate(network(60), load_hardware("edge_32x32"), engine="analytic")


def test_a_mask() -> None:
    kept = "BlockMask(shape=(192, 250), block_out=32, block_in=64, kept=4 of 24)"
    assert repr(MASK) == str(MASK) == kept


def test_a_workload() -> None:
    dense = 60 * 2 * 50 * 250 * 192
    # three whole blocks, and the last at the edge: 250 - 3 * 64 columns
    kept = 60 * 50 * (250 * 192 + 32 * (3 * 64 + 58))
    workload = network(60)
    assert (workload.macs_dense, workload.macs_kept) == (dense, kept)
    assert repr(workload) == (
        f"Workload(model='net', batch=2, operators=180, masked=60, macs_dense={dense}, "
        f"macs_kept={kept})"
    )


def test_a_result(result: SimulationResult) -> None:
    totals = result.totals
    assert repr(result) == (
        "SimulationResult(model='net', batch=2, hardware='edge_32x32', engine='analytic', "
        f"latency_s={totals.latency_s:.4g}, energy_j={totals.energy_j:.4g}, operators=180, "
        "lower_bound=True)"
    )
    exact = simulate(network(1), load_hardware("edge_32x32"))
    assert "lower_bound" not in repr(exact)
    assert "engine='event'" in repr(exact)


def test_its_layers(result: SimulationResult) -> None:
    layers = result.layers
    assert str(layers) == "<180 LayerResult: 'blocks.0.fc1' to 'blocks.59.fc2'>"
    first = layers[0]
    assert repr(first) == (
        f"LayerResult(name='blocks.0.fc1', kind='gemm', cycles_total={first.cycles_total}, "
        f"bound_by={first.bound_by!r})"
    )
    assert layers == list(layers)
    assert repr(type(layers)()) == "<0 LayerResult>"


def test_a_gpu_prediction() -> None:
    found = predict(network(60), GpuModel(load_gpu("h200")))
    assert repr(found) == (
        "GpuPrediction(model='net', batch=2, gpu='h200', dtype='bf16', framework='cuda-graph', "
        f"latency_s={found.latency_s:.4g}, energy_j={found.energy_j:.4g}, "
        f"layers={len(found.layers)})"
    )

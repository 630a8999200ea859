"""Folds, transfers and action counts against brute force over every element."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from lspsim.hardware import Hardware
from lspsim.kernels import counts as kernel
from lspsim.schedule.build import build_program
from lspsim.schedule.program import Program
from lspsim.simulate.columns import COUNTS
from lspsim.simulate.simulate import simulate
from lspsim.workload import BlockMask, Gemm, VectorOp, Workload
from tests.simulate.oracle_counts import Oracle, chunks_of, count, whole_bursts
from tests.simulate.workload_cases import random_hardware, random_mask

CASES = 160


def draw(seed: int) -> tuple[Workload, Hardware, Gemm, bool, bool]:
    """Draw a GEMM whose input is on chip or not, and whose result stays or not."""
    rng = random.Random(seed)
    x_resident, y_resident = rng.random() < 0.5, rng.random() < 0.5
    roomy = x_resident or y_resident
    fixed: dict[str, object] = {
        "cores": 1,
        "memory.ideal": False,
        "buffers.activation": "60000 B" if roomy else f"{rng.choice([400, 1500])} B",
    }
    rows, cols = rng.randint(1, 8), rng.randint(1, 8)
    dataflow = rng.choice(["weight-stationary"] * 3 + ["output-stationary", "input-stationary"])
    slots = rng.choice([1, 4, 40]) if dataflow == "weight-stationary" else 40
    fixed |= {
        "array.rows": rows,
        "array.cols": cols,
        "array.dataflow": dataflow,
        "array.fold_overlap": rng.choice(["none", "double-buffered"]),
        "array.accumulator_rows": rng.choice([8, 9, 64]),
        "buffers.weight": f"{rows * cols * slots} B",
    }
    hardware = random_hardware(rng, **fixed)
    m, k, n = rng.randint(1, 40), rng.randint(1, 20), rng.randint(1, 30)
    mask = None
    if hardware.array.dataflow != "input-stationary" and rng.random() < 0.8:
        inner = rng.randint(1, 12)
        if hardware.array.packing == "k-compact":
            inner = rng.choice([*(d for d in range(1, rows + 1) if rows % d == 0), 2 * rows])
        mask = random_mask(rng, n, k, rng.randint(1, 12), inner)
    gemm = Gemm("gemm", m, k, n, mask=mask, bias=rng.random() < 0.5)
    before = [VectorOp("before", "copy", m, k)] if x_resident else []
    after = [VectorOp("after", "softmax", m, n)] if y_resident else []
    return Workload([*before, gemm, *after]), hardware, gemm, x_resident, y_resident


@pytest.mark.parametrize("seed", range(CASES))
def test_counts_equal_brute_force(seed: int) -> None:
    workload, hardware, gemm, x_resident, y_resident = draw(seed)
    at = workload.ops.index(gemm)
    oracle = count(gemm, hardware, x_resident, y_resident)
    table = simulate(workload, hardware, engine="analytic").table
    found = dict(zip(COUNTS, table.counts[at].tolist(), strict=True))
    expected = expected_counts(oracle, gemm, hardware, x_resident, y_resident)
    assert found == expected
    assert table.folds[at] == len(oracle.folds)
    assert table.tiles_total[at] == oracle.tiles_total
    assert table.tiles_live[at] == oracle.tiles_live


def expected_counts(
    oracle: Oracle, gemm: Gemm, hardware: Hardware, x_resident: bool, y_resident: bool
) -> dict[str, int]:
    """Lay the oracle's counts out in the columns; all operands are bytes here."""
    array, burst = hardware.array, hardware.memory.dram.burst_bytes
    stationary_from_sram = array.dataflow == "input-stationary" and x_resident
    streams_weights = array.dataflow == "input-stationary"
    stationary = oracle.activation_words_read if streams_weights else oracle.weight_words_read
    streamed = oracle.weight_words_read if streams_weights else oracle.activation_words_read
    tile_bytes = array.rows * array.cols
    reads = {"weight": 0, "activation": 0}
    reads["activation" if stationary_from_sram else "weight"] += stationary
    reads["weight" if streams_weights else "activation"] += streamed
    writes = {"weight": oracle.tile_transfers * tile_bytes, "activation": 0}
    writes["weight" if streams_weights else "activation"] += sum(oracle.stream_bytes)
    if y_resident:
        writes["activation"] += gemm.m * gemm.n
    gathers = array.packing == "k-compact" and array.dataflow == "weight-stationary"
    return {
        "macs_executed": oracle.macs_executed,
        "macs_effectual": oracle.macs_effectual,
        "weight_register_shifts": oracle.weight_register_shifts,
        "activation_hops": oracle.activation_hops,
        "partial_sum_hops": oracle.partial_sum_hops,
        "activation_buffer_read_bytes": reads["activation"],
        "activation_buffer_write_bytes": writes["activation"],
        "weight_buffer_read_bytes": reads["weight"],
        "weight_buffer_write_bytes": writes["weight"],
        "accumulator_reads": oracle.accumulator_reads,
        "accumulator_writes": oracle.accumulator_writes,
        "gather_mux_words": oracle.activation_words_read if gathers else 0,
        "vector_lane_ops": 0,
        "index_bytes": oracle.index_bytes,
        "dram_read_bytes": oracle.tile_transfers * whole_bursts([tile_bytes], burst)
        + whole_bursts(oracle.header_bytes, burst)
        + whole_bursts(oracle.stream_bytes, burst),
        "dram_write_bytes": whole_bursts(oracle.write_bytes, burst),
        "noc_bytes": 0,
    }


@pytest.mark.parametrize("seed", range(CASES))
def test_programs_equal_brute_force(seed: int) -> None:
    """What the engines execute: visits, folds, transfers and their channel cycles."""
    workload, hardware, gemm, x_resident, y_resident = draw(seed)
    program = build_program(workload, hardware)
    segment = program.segment_op.tolist().index(workload.ops.index(gemm))
    here = program.visit_segment == segment
    oracle = count(gemm, hardware, x_resident, y_resident)
    folds = [(fold.streamed, fold.column, fold.chunk) for fold in oracle.folds]
    lengths = np.repeat(program.visit_length[here], program.visit_folds[here])
    assert sorted(lengths.tolist()) == sorted(length for length, _, _ in folds)
    streamed = hardware.array.dataflow == "input-stationary" or not x_resident
    columns = len(oracle.header_bytes)
    assert here.sum() == columns * len(chunks_of(gemm, hardware, streamed))
    assert program.visit_acquire[here].sum() == oracle.tile_transfers

    def cycles(sizes: list[int], share: str) -> list[int]:
        return sorted(transfer_cycles(size, hardware, share) for size in sizes if size)

    tile = hardware.array.rows * hardware.array.cols
    if oracle.tile_transfers:
        assert program.segment_tile_cycles[segment] == cycles([tile], "weights")[0]
    assert nonzero(program, "visit_writeback_cycles", here) == cycles(
        oracle.write_bytes, "writeback"
    )
    own = program.act_segment == segment
    assert sorted(program.act_cycles[own].tolist()) == cycles(oracle.stream_bytes, "activations")
    if hardware.memory.channels == "shared":
        headers = nonzero(program, "visit_header_cycles", here)
        assert headers == cycles(oracle.header_bytes, "weights")
    if y_resident:
        drains = sum(chunks_of(gemm, hardware, streamed)) * columns  # a row per cycle
        assert program.visit_drain_cycles[here].sum() == drains


def nonzero(program: Program, name: str, here: np.ndarray[Any, Any]) -> list[int]:
    values = getattr(program, name)[here]
    return sorted(values[values > 0].tolist())


def transfer_cycles(size: int, hardware: Hardware, share: str) -> int:
    """Count the cycles until the channel has moved whole bursts, one by one."""
    dram = hardware.memory.dram
    rate = dram.bandwidth_bytes_per_s * dram.efficiency / hardware.clock_hz
    if hardware.memory.shares is not None:
        rate *= getattr(hardware.memory.shares, share)
    left = whole_bursts([size], dram.burst_bytes)
    cycles = max(1, int(left / rate) - 1)
    while cycles * rate < left:
        cycles += 1
    return cycles


SPREAD = ("activation_buffer_write_bytes", "dram_read_bytes", "noc_bytes")
"""What several cores do more than once: each fetches its own copy of X and keeps one of Y."""


@pytest.mark.parametrize("seed", range(40))
def test_cores_share_the_work(seed: int) -> None:
    workload, hardware, gemm, _, y_resident = draw(seed)
    at = workload.ops.index(gemm)
    one = simulate(workload, hardware, engine="analytic").table
    three = simulate(workload, hardware.with_values({"cores": 3}), engine="analytic").table
    for name in set(COUNTS) - set(SPREAD):
        if hardware.array.dataflow == "input-stationary" and name == "weight_buffer_write_bytes":
            continue  # W is what an input-stationary core streams
        column = COUNTS.index(name)
        assert one.counts[at, column] == three.counts[at, column], name
    noc = three.counts[at, COUNTS.index("noc_bytes")]
    assert noc == (2 * gemm.m * gemm.n if y_resident else 0)
    assert one.folds[at] == three.folds[at]


def test_kernel_columns_are_the_named_columns() -> None:
    numbered = [kernel.MACS, kernel.EFFECTUAL, kernel.SHIFTS, kernel.HOPS, kernel.SUM_HOPS]
    assert numbered == list(range(5))
    assert len(COUNTS) == kernel.COUNT_SIZE
    assert COUNTS[kernel.MUX] == "gather_mux_words"
    assert COUNTS[kernel.DRAM_WRITE] == "dram_write_bytes"


def test_zero_weights_in_live_tiles_are_not_effectual() -> None:
    keep = np.array([[True, False], [False, False]])
    gemm = Gemm("g", m=5, k=8, n=8, mask=BlockMask(keep, 4, 4))
    rng = random.Random(0)
    fixed: dict[str, object] = {
        "cores": 1,
        "array.rows": 8,
        "array.cols": 8,
        "array.dataflow": "weight-stationary",
        "array.fold_overlap": "none",
        "array.packing": "none",
        "array.sparsity": "block",
        "buffers.weight": "1 KiB",
        "buffers.activation": "1 KiB",
    }
    hardware = random_hardware(rng, **fixed)
    layer = simulate(Workload([gemm]), hardware).layers[0]
    assert layer.counts["macs_executed"] == 5 * 8 * 8
    assert layer.counts["macs_effectual"] == 5 * 4 * 4
    assert layer.density == 0.25

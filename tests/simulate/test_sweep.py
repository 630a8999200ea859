"""`sweep` equals `simulate` chip by chip."""

import numpy as np
import pytest

from lspsim import BlockMask, Gemm, ScheduleError, VectorOp, Workload, load_hardware, simulate
from lspsim.kernels import counts as count_kernel
from lspsim.simulate.columns import COUNTS
from lspsim.simulate.sweep import sweep


def block(i, rng, m=70, dim=96):
    keep = rng.random((dim // 16, dim // 16)) < 0.5
    mask = BlockMask(keep, 16, 16)
    return [
        Gemm(f"{i}.fc", m, dim, dim, mask=mask, bias=True),
        VectorOp(f"{i}.act", "gelu", m, dim),
        VectorOp(f"{i}.norm", "layernorm", m, dim, parameters=2 * dim),
    ]


@pytest.fixture
def workload():
    rng = np.random.default_rng(3)
    return Workload([op for i in range(3) for op in block(i, rng)])


def chips(base, count=60):
    rng = np.random.default_rng(4)
    out = []
    for _ in range(count):
        out.append(
            base.with_values(
                {
                    "array.rows": int(rng.choice([16, 32])),
                    "array.dataflow": str(
                        rng.choice(["weight-stationary", "output-stationary"], p=[0.8, 0.2])
                    ),
                    "cores": int(rng.integers(1, 4)),
                    "noc": {"bandwidth": "16 GB/s"},
                    "vector.lanes": int(rng.choice([2, 32])),
                    "memory.dram.bandwidth": f"{rng.integers(1, 40)} GB/s",
                    "memory.ideal": bool(rng.random() < 0.3),
                    "buffers.activation": f"{rng.choice([8, 24, 2048])} KiB",
                }
            )
        )
    return out


def test_sweep_equals_simulate(workload):
    hardware = chips(load_hardware("edge_32x32"))
    totals = sweep(workload, hardware)
    for i, chip in enumerate(hardware):
        one = simulate(workload, chip, engine="analytic")
        assert totals.cycles_total[i] == one.totals.cycles_total
        np.testing.assert_array_equal(totals.counts[i], one.table.counts.sum(axis=0))
        assert totals.energy_pj[i] * 1e-12 == pytest.approx(one.totals.energy_j, rel=1e-12)


def test_a_chip_that_cannot_run_it_is_an_error(workload):
    edge = load_hardware("edge_32x32")
    with pytest.raises(ScheduleError, match="input-stationary"):
        sweep(workload, [edge, edge.with_values({"array.dataflow": "input-stationary"})])


def test_the_kernel_knows_the_count_columns():
    names = {
        "MACS": "macs_executed",
        "EFFECTUAL": "macs_effectual",
        "SHIFTS": "weight_register_shifts",
        "HOPS": "activation_hops",
        "SUM_HOPS": "partial_sum_hops",
        "ACT_READ": "activation_buffer_read_bytes",
        "ACT_WRITE": "activation_buffer_write_bytes",
        "WEIGHT_READ": "weight_buffer_read_bytes",
        "WEIGHT_WRITE": "weight_buffer_write_bytes",
        "ACC_READS": "accumulator_reads",
        "ACC_WRITES": "accumulator_writes",
        "MUX": "gather_mux_words",
        "LANE_OPS": "vector_lane_ops",
        "INDEX_BYTES": "index_bytes",
        "DRAM_READ": "dram_read_bytes",
        "DRAM_WRITE": "dram_write_bytes",
        "NOC": "noc_bytes",
    }
    assert tuple(names.values()) == COUNTS
    for position, constant in enumerate(names):
        assert getattr(count_kernel, constant) == position
    assert len(COUNTS) == count_kernel.COUNT_SIZE

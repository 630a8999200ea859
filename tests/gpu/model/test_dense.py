import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lspsim.errors import ConfigError, WorkloadError
from lspsim.gpu.config.load import gpu_names, load_gpu
from lspsim.gpu.model.dense import ACCUMULATOR_BYTES, SPLITS, STEP, TILES, chip_of, dense_times
from lspsim.gpu.model.gpu_model import GpuModel
from tests.gpu.model.gpu_cases import model

SIZES = st.integers(1, 70_000)


def slow_dense(chip, rates, m, n, k, batch=1, warm=False):
    """The formula of docs/gpu.md, one tile after the other."""
    value, best = chip.value_bytes, math.inf
    f = rates.compute_efficiency * chip.peak_flop_per_s / chip.sms
    g = rates.feed / 100 * chip.peak_flop_per_s / chip.sms
    moved = batch * value * (m * k + n * k + m * n)
    cold = 0 if warm else batch * value * n * k
    missed = max(moved - rates.l2_share * chip.l2_bytes, cold)
    l2 = rates.l2_efficiency * chip.l2_bytes_per_s
    memory = missed / (rates.dram_efficiency * chip.dram_bytes_per_s) + moved / l2
    for tm, tn in TILES:
        for s in SPLITS:
            part = math.ceil(k / s / STEP) * STEP
            block = max(2 * tm * tn * part / f, value * (tm + tn) * part / g)
            block += value * tm * tn / g + rates.block_s
            blocks = math.ceil(m / tm) * math.ceil(n / tn) * s * batch
            compute = math.ceil(blocks / chip.sms) * block
            t = max(compute, memory) + rates.overlap_loss * min(compute, memory)
            if s > 1:
                t += 2 * ACCUMULATOR_BYTES * m * n * s * batch / l2 + rates.split_s
            best = min(best, t)
    return rates.launch_s + best


@given(
    m=SIZES,
    n=SIZES,
    k=SIZES,
    batch=st.integers(1, 100),
    gpu=st.sampled_from(gpu_names()),
    warm=st.booleans(),
)
def test_agrees_with_plain_loops(m, n, k, batch, gpu, warm):
    chosen = model(gpu)
    expected = slow_dense(chosen.chip, chosen.rates, m, n, k, batch, warm)
    found = chosen.dense_latency(m, n, k, batch, warm=warm)
    assert found.latency_s == pytest.approx(expected, rel=1e-9)


def test_a_cold_weight_passes_dram_and_a_warm_one_need_not():
    chosen = model("h200")
    cold, warm = (chosen.dense_latency(197, 3072, 768, warm=warm) for warm in (False, True))
    assert cold.dram_bytes == 2 * 3072 * 768
    assert warm.dram_bytes == 0
    assert cold.latency_s > warm.latency_s


@given(m=SIZES, n=SIZES, k=SIZES)
def test_never_beats_the_hardware(m, n, k):
    chosen = model("a100")
    time = chosen.dense_latency(m, n, k)
    assert time.latency_s >= time.flops / chosen.chip.peak_flop_per_s
    assert time.latency_s >= time.dram_bytes / chosen.chip.dram_bytes_per_s
    assert 0 <= time.dram_bytes <= time.bytes


@given(n=st.integers(1, 8192), k=st.integers(1, 8192), m=SIZES, more=st.integers(1, 10_000))
def test_more_rows_never_take_less_time(m, n, k, more):
    chosen = model()
    assert chosen.dense_latency(m, n, k).latency_s <= chosen.dense_latency(m + more, n, k).latency_s


def test_many_at_once_are_the_same_as_one_by_one():
    chosen = model("rtx4090")
    rng = np.random.default_rng(0)
    m, n, k = rng.integers(1, 9000, (3, 50)).astype(float)
    together = dense_times(chosen.chip, chosen.rates, m, n, k).latency_s
    alone = [chosen.dense_latency(*map(int, size)).latency_s for size in zip(m, n, k, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_what_bounds_a_gemm():
    chosen = model("h200")
    assert chosen.dense_latency(1, 32, 32).bound_by == "launch"
    assert chosen.dense_latency(16, 16384, 16384).bound_by == "memory"
    assert chosen.dense_latency(16384, 16384, 16384).bound_by == "compute"


def test_wider_formats_are_slower():
    times = [
        model("a100", dtype).dense_latency(8192, 4096, 4096) for dtype in ("bf16", "tf32", "fp32")
    ]
    assert times[0].latency_s < times[1].latency_s < times[2].latency_s
    assert times[1].bytes == 2 * times[0].bytes


def test_bad_sizes_and_formats_are_refused():
    with pytest.raises(WorkloadError, match="at least 1, got m=0"):
        model().dense_latency(0, 1, 1)
    with pytest.raises(ConfigError, match="number format 'fp8' is not modelled; take bf16"):
        GpuModel(load_gpu("h200"), "fp8")


def test_peaks_scale_to_the_highest_clock():
    gpu = load_gpu("h200")
    assert chip_of(gpu, "bf16").peak_flop_per_s == pytest.approx(989.5e12 * 1980 / 1830)

import heapq
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lspsim.errors import WorkloadError
from lspsim.gpu.model.sparse import RESIDENT, TOKEN_TILES, efficiency, makespan, sparse_kernels
from lspsim.workload import BlockMask
from tests.gpu.model.gpu_cases import model, random_mask

ROWS = st.lists(st.floats(0.01, 10), min_size=1, max_size=40)


def slow_waves(row_s, copies, sms):
    """Longest first, each wave as long as its longest, one thread block at a time."""
    jobs = sorted((t for t in row_s for _ in range(copies)), reverse=True)
    return sum(max(jobs[i : i + sms]) for i in range(0, len(jobs), sms))


def greedy(row_s, copies, sms):
    """Longest first, each thread block onto the SM that is free first."""
    free = [0.0] * sms
    for t in sorted((t for t in row_s for _ in range(copies)), reverse=True):
        heapq.heappush(free, heapq.heappop(free) + t)
    return max(free)


@given(row_s=ROWS, copies=st.integers(1, 20), sms=st.integers(1, 132))
def test_makespan_agrees_with_plain_loops(row_s, copies, sms):
    found = makespan(np.array(row_s), copies, sms)
    assert found == pytest.approx(slow_waves(row_s, copies, sms), rel=1e-9)
    load = sum(row_s) * copies / sms
    assert max(load, max(row_s)) <= found * (1 + 1e-9)
    assert found <= load + max(row_s) + 1e-9


@given(row_s=ROWS, copies=st.integers(1, 20), sms=st.integers(1, 132))
def test_makespan_is_near_what_a_greedy_scheduler_reaches(row_s, copies, sms):
    found, reached = makespan(np.array(row_s), copies, sms), greedy(row_s, copies, sms)
    assert abs(found - reached) <= max(row_s) * (1 + 1e-9)


@given(row_s=ROWS, copies=st.integers(1, 20), sms=st.integers(1, 132), data=st.data())
def test_makespan_never_grows_when_a_row_gets_shorter(row_s, copies, sms, data):
    before = makespan(np.array(row_s), copies, sms)
    i = data.draw(st.integers(0, len(row_s) - 1))
    row_s[i] *= data.draw(st.floats(0, 1))
    assert makespan(np.array(row_s), copies, sms) <= before * (1 + 1e-12)


def slow_sparse(chosen, mask, m, warm=False):
    """The kernel with its fastest tile, and the copy that padding takes; plain loops."""
    chip, rates = chosen.chip, chosen.rates
    out, inner, value = mask.block_out, mask.block_in, chip.value_bytes
    n, k = mask.shape
    f = efficiency(chosen.parameters.sparse, out, inner) * chip.peak_flop_per_s / chip.sms
    g = rates.feed / 100 * chip.peak_flop_per_s / chip.sms
    best = math.inf
    for tile in TOKEN_TILES:
        jobs = []
        for row in mask.keep:
            one = max(2 * out * inner * tile / f, value * inner * (out + tile) / g)
            jobs.append(row.sum() * one + value * out * tile / g + rates.block_s / RESIDENT)
        tiles = math.ceil(m / tile)
        compute = slow_waves(jobs, tiles, int(chip.sms))
        weights = mask.keep.sum() * (out * inner * value + 4)
        wide_n, wide_k = math.ceil(n / out) * out, math.ceil(k / inner) * inner
        moved = weights + value * tiles * tile * (wide_k + wide_n)
        missed = max(moved - rates.l2_share * chip.l2_bytes, 0 if warm else weights)
        memory = max(
            missed / (rates.dram_efficiency * chip.dram_bytes_per_s),
            moved / (rates.l2_efficiency * chip.l2_bytes_per_s),
        )
        t = rates.launch_s + max(compute, memory) + rates.overlap_loss * min(compute, memory)
        if tiles * tile != m or wide_k != k:
            t += chosen.elementwise(value * m * k, value * tiles * tile * wide_k).latency_s
        if wide_n != n:
            t += chosen.elementwise(value * m * n, value * m * n).latency_s
        best = min(best, t)
    return best


@pytest.mark.parametrize("block", [(16, 16), (32, 64), (64, 64), (128, 128)])
@pytest.mark.parametrize("m", [197, 208, 1024, 12608])
@pytest.mark.parametrize(("gpu", "warm"), [("a100", False), ("h200", False), ("h200", True)])
@pytest.mark.parametrize("shape", [(768, 1536), (1000, 777)])
def test_agrees_with_plain_loops(block, m, gpu, warm, shape):
    chosen = model(gpu)
    mask = random_mask(*shape, block, 0.7)
    assert chosen.sparse_latency(mask, m, warm=warm).latency_s == pytest.approx(
        slow_sparse(chosen, mask, m, warm), rel=1e-9
    )


@given(seed=st.integers(0, 1000), sparsity=st.floats(0, 1), m=st.sampled_from([64, 197, 5000]))
def test_removing_a_block_never_takes_longer(seed, sparsity, m):
    chosen = model()
    mask = random_mask(512, 256, (32, 32), sparsity, seed)
    keep = mask.keep.copy()
    keep[seed % 16, seed % 8] = False
    fewer = BlockMask(keep, 32, 32, mask.shape)
    before, after = chosen.sparse_latency(mask, m), chosen.sparse_latency(fewer, m)
    assert after.latency_s <= before.latency_s * (1 + 1e-12)
    assert after.flops <= before.flops


def test_an_uneven_mask_is_slower_than_an_even_one():
    """As many blocks, all in the first rows: the SMs of the others wait."""
    even, uneven = np.zeros((2, 96, 96), dtype=bool)
    even[:, :12] = True
    uneven[:12] = True
    m, chosen = 64, model("a100")
    times = [chosen.sparse_latency(BlockMask(k, 32, 32), m) for k in (even, uneven)]
    assert times[0].flops == times[1].flops
    assert times[1].latency_s > 1.3 * times[0].latency_s


def test_padding_is_charged():
    chosen = model("a100")
    mask = random_mask(768, 768, (64, 64), 0.9)
    whole, ragged = chosen.sparse_latency(mask, 208), chosen.sparse_latency(mask, 197)
    assert (whole.kernels, ragged.kernels) == (1, 2)
    assert ragged.latency_s > whole.latency_s
    assert set(sparse_kernels(chosen.chip, chosen.rates, chosen.parameters.sparse, mask, 208)) == {
        208,
        224,
        256,
    }


def test_efficiency_lies_between_the_fitted_sides():
    fitted = model("a100").parameters.sparse
    assert efficiency(fitted, 64, 64) == pytest.approx(float(fitted.efficiency_64))
    assert efficiency(fitted, 32, 128) == pytest.approx(float(fitted.efficiency_64))
    low, high = float(fitted.efficiency_32), float(fitted.efficiency_64)
    assert efficiency(fitted, 32, 64) == pytest.approx((low + high) / 2)
    assert efficiency(fitted, 256, 256) == pytest.approx(float(fitted.efficiency_128))


@pytest.mark.parametrize("block", [(8, 8), (24, 24), (16, 48)])
def test_blocks_that_the_kernel_does_not_take_are_refused(block):
    with pytest.raises(WorkloadError, match=f"powers of two from 16 up, not {block[0]}x{block[1]}"):
        model().sparse_latency(random_mask(96, 96, block, 0.5), 64)


def test_half_of_32x32_gains_nothing():
    """What SuperBlock found on an A100, and what the product must not promise otherwise."""
    for gpu in ("a100", "h200"):
        for m in (197, 12608, 50432):
            for n, k in ((2304, 768), (768, 768), (3072, 768), (768, 3072)):
                mask = random_mask(n, k, (32, 32), 0.5)
                chosen = model(gpu)
                dense = chosen.dense_latency(m, n, k).latency_s
                assert chosen.sparse_latency(mask, m).latency_s > dense

import pytest

from lspsim.errors import WorkloadError
from lspsim.gpu.model.breakeven import PROBES, network_break_evens, shape_break_even
from lspsim.workload import Gemm, Workload
from lspsim.workload.generate import random_masks
from tests.gpu.model.gpu_cases import model, transformer


def slow_break_even(chosen, m, n, k, block):
    """Try every sparsity from 0 up."""
    steps = (n // block[0]) * (k // block[1])
    workload = Workload([Gemm("layer", m, k, n)])
    dense = chosen.dense_latency(m, n, k).latency_s
    for i in range(steps + 1):
        mask = random_masks(
            workload, sparsity=i / steps, block_out=block[0], block_in=block[1], names=["layer"]
        )["layer"]
        if chosen.sparse_latency(mask, m).latency_s <= dense:
            return i / steps
    return None


@pytest.mark.parametrize("gpu", ["a100", "h200"])
@pytest.mark.parametrize("m", [64, 197, 12608])
@pytest.mark.parametrize("block", [(64, 64), (64, 128)])
def test_bisection_finds_what_a_scan_finds(gpu, m, block):
    chosen = model(gpu)
    found = shape_break_even(chosen, m, 768, 768, block)
    assert found.sparsity == slow_break_even(chosen, m, 768, 768, block)


def test_larger_blocks_break_even_earlier_and_speedups_cross_one_there():
    chosen = model("a100")
    found = [shape_break_even(chosen, 12608, 3072, 768, (b, b)) for b in (16, 32, 64)]
    assert found[0].sparsity > found[1].sparsity > found[2].sparsity
    for row in found:
        for probe, speedup in zip(PROBES, row.speedups, strict=True):
            assert (speedup >= 1) == (probe >= row.sparsity)
        assert list(row.speedups) == sorted(row.speedups)


def test_a_layer_that_is_all_launch_never_breaks_even():
    assert shape_break_even(model("h200"), 197, 192, 192, (32, 32)).sparsity is None


def test_a_network_gets_a_row_per_shape_and_one_for_all():
    rows = network_break_evens(model("a100"), transformer(), (64, 64))
    assert [row.layer for row in rows] == [
        "attn.qkv",
        "attn.proj",
        "mlp.fc1",
        "mlp.fc2",
        "all prunable",
    ]
    assert rows[-1].batch == 64
    single = [row.sparsity for row in rows[:-1]]
    assert min(single) <= rows[-1].sparsity <= max(single)


def test_a_layer_that_does_not_fit_into_memory_is_refused():
    for m, n in ((10**20, 768), (197, 10**9)):
        with pytest.raises(WorkloadError, match=r"layer \(.* needs at least .* h200 has 141"):
            shape_break_even(model(), m, n, 768, (16, 16))


def test_nothing_to_prune_and_blocks_that_do_not_fit_are_refused():
    with pytest.raises(WorkloadError, match="no linear layer"):
        network_break_evens(model(), Workload([Gemm("g", 1, 1, 1)]), (32, 32))
    with pytest.raises(WorkloadError, match="powers of two"):
        shape_break_even(model(), 197, 768, 768, (12, 12))

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lspsim.errors import LspsimError
from lspsim.gpu.model.cost import GpuCost, wave_shares
from lspsim.gpu.model.limits import least_cost, nothing_to_gain
from lspsim.gpu.model.sparse import makespan
from lspsim.simulate.cost import CostModel
from lspsim.workload import BlockMask, Gemm, Workload
from tests.gpu.model.gpu_cases import model, random_mask, transformer

NAMES = ("blocks.0.mlp.fc1", "blocks.1.attn.qkv")


def masked(sparsity, seed=0, block=(64, 64)):
    workload = transformer()
    shapes = {gemm.name: (gemm.n, gemm.k) for gemm in workload.gemms}
    return workload.with_masks(
        {name: random_mask(*shapes[name], block, sparsity, seed) for name in NAMES}
    )


def test_is_a_cost_model_whose_figures_agree():
    model_ = GpuCost(model("a100"))
    assert isinstance(model_, CostModel)
    workload = masked(0.8)
    cost, found = model_.cost(workload), model_.predict(workload)
    assert cost.latency_s == found.latency_s
    assert cost.cycles == pytest.approx(found.latency_s * 1.41e9)
    assert cost.energy_pj == pytest.approx(found.energy_j * 1e12)
    removed = sum(
        gemm.m * (gemm.n * gemm.k - gemm.mask.kept_weights) for gemm in workload.gemms if gemm.mask
    )
    assert cost.macs == workload.macs_dense - removed


@pytest.mark.parametrize("kernels", ["best", "sparse"])
@given(seed=st.integers(0, 10_000), sparsity=st.floats(0.3, 0.99))
def test_fewer_blocks_never_cost_more(kernels, seed, sparsity):
    model_ = GpuCost(model("a100"), kernels=kernels)
    workload = masked(sparsity, seed)
    name = NAMES[seed % 2]
    mask = next(gemm.mask for gemm in workload.gemms if gemm.name == name)
    keep = mask.keep & (np.random.default_rng(seed).random(mask.keep.shape) < 0.9)
    fewer = workload.with_masks({name: BlockMask(keep, 64, 64, mask.shape)})
    before, after = model_.cost(workload), model_.cost(fewer)
    for kind in ("cycles", "latency_s", "energy_pj", "macs"):
        assert getattr(after, kind) <= getattr(before, kind) * (1 + 1e-12)


@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.95])
def test_marginals_add_up_to_what_removing_the_layer_saves(sparsity):
    model_ = GpuCost(model("a100"), kernels="sparse")
    workload = masked(sparsity)
    marginals = model_.marginal(workload)
    assert set(marginals) == set(NAMES)
    for name in NAMES:
        mask = next(gemm.mask for gemm in workload.gemms if gemm.name == name)
        empty = BlockMask(np.zeros_like(mask.keep), 64, 64, mask.shape)
        here, gone = model_.cost(workload), model_.cost(workload.with_masks({name: empty}))
        found = marginals[name]
        assert found.cycles.sum() == pytest.approx(here.cycles - gone.cycles)
        assert found.energy_pj.sum() == pytest.approx(here.energy_pj - gone.energy_pj)
        assert (found.cycles[~mask.keep] == 0).all()
        assert (found.cycles >= 0).all()


def test_only_the_longest_row_costs_time_where_the_others_wait_for_it():
    """16 thread blocks on 108 SMs: the longest row is the layer's time."""
    keep = np.zeros((16, 96), dtype=bool)
    keep[:, 0] = keep[5] = True
    mask = BlockMask(keep, 64, 64)
    workload = Workload([Gemm("g", 64, 6144, 1024, mask=mask)])
    model_ = GpuCost(model("a100"), kernels="sparse")
    assert model_.predict(workload).layers[0].time.bound_by == "compute"
    found = model_.marginal(workload)["g"]
    assert (found.cycles[5] > 0).all()
    assert (np.delete(found.cycles, 5, axis=0) == 0).all()
    assert (found.energy_pj[keep] > 0).all()


@given(kept=st.lists(st.integers(0, 40), min_size=1, max_size=30), sms=st.integers(1, 50))
def test_wave_shares_follow_the_makespan(kept, sms):
    rows = np.array(kept, dtype=float)
    shares = wave_shares(rows, sms, 640)
    assert shares.sum() == pytest.approx(1)
    waves = -(-rows.size * 10 // sms)
    assert (shares * waves * rows).sum() == pytest.approx(makespan(rows, 10, sms))
    for value in set(kept):
        assert len(set(shares[rows == value].round(12))) == 1


def test_a_layer_that_runs_dense_saves_nothing():
    found = GpuCost(model("h200")).marginal(masked(0.3, block=(32, 32)))
    assert all((m.cycles == 0).all() and (m.energy_pj == 0).all() for m in found.values())


def test_the_least_that_can_be_reached_and_its_message():
    model_ = GpuCost(model("h200"))
    large, small = transformer(), transformer(images=1, width=192, heads=3)
    share = {
        workload.batch: least_cost(model_, workload, squares(64)).latency_s
        / model_.cost(workload).latency_s
        for workload in (large, small)
    }
    assert share[64] < 0.8
    assert share[1] > 0.95
    words = ("gpu:h200", small, "latency=0.5", share[1])
    error = nothing_to_gain(*words, "64x64", squares(64))
    assert isinstance(error, LspsimError)
    assert "kernel launches" in str(error)
    assert "lspsim gpu breakeven" in str(error)
    assert "powers of two from 16 up" in str(nothing_to_gain(*words, "8x8", squares(8)))


def test_the_least_takes_the_best_size_of_every_layer():
    model_, workload = GpuCost(model("h200")), transformer()
    before = workload.resolved_inputs()
    workload = Workload(
        [replace(op, inputs=names) for op, names in zip(workload.ops, before, strict=True)],
        model="vit",
        batch=64,
    )
    both, one = (least_cost(model_, workload, squares(*sides)) for sides in ((8, 64), (64,)))
    assert both == one
    assert one.latency_s < least_cost(model_, workload, squares(8)).latency_s


def squares(*sides):
    """Return the block sizes that every layer may take."""
    return lambda name, shape: [(side, side) for side in sides]

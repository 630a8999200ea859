"""The allocation of `lspsim.prune` with a GPU behind the `CostModel` protocol."""

import numpy as np
import pytest

from lspsim.allocate.budgets import parse_budgets
from lspsim.allocate.curves import LayerCurve
from lspsim.allocate.search import search
from lspsim.errors import LspsimError
from lspsim.gpu.model.cost import GpuCost
from lspsim.prune.study import open_study
from lspsim.simulate.target import Target
from lspsim.workload.generate import prunable_names
from tests.gpu.model.gpu_cases import model, transformer
from tests.train.loop_cases import tiny_card


def curves(workload, block=64, seed=0):
    """Convex curves of losses, in random order of blocks."""
    rng = np.random.default_rng(seed)
    shapes = {gemm.name: (gemm.n, gemm.k) for gemm in workload.gemms}
    found = []
    for name in prunable_names(workload):
        n, k = shapes[name]
        blocks = (n // block) * (k // block)
        loss = np.r_[0.0, np.cumsum(np.sort(rng.exponential(1e-3, blocks)))]
        found.append(LayerCurve(name, (n, k), block, block, rng.permutation(blocks), loss))
    return found


@pytest.mark.parametrize("budget", ["latency=0.8", "energy=0.75", "cycles=0.9"])
@pytest.mark.parametrize("method", ["knapsack", "lagrangian"])
def test_budgets_on_a_gpu_are_met(budget, method):
    workload = transformer()
    cost = GpuCost(model("a100"))
    budgets = parse_budgets([budget])
    found = search(curves(workload), workload, budgets, cost, cost, method)
    pruned = workload.with_masks(dict(found.masks))
    assert budgets[0].of(cost.cost(pruned)) <= budgets[0].ceiling(cost.cost(workload))
    assert found.used[budgets[0].kind] > 0.97


def test_nothing_is_removed_where_it_gains_nothing():
    """Below its break-even a layer loses accuracy for no time: it stays whole."""
    workload = transformer()
    cost = GpuCost(model("a100"))
    budgets = parse_budgets(["latency=0.8"])
    found = search(curves(workload), workload, budgets, cost, cost, "knapsack")
    prediction = cost.predict(workload.with_masks(dict(found.masks)))
    kinds = {layer.name: layer.kind for layer in prediction.layers}
    for name, mask in found.masks.items():
        assert (kinds[name] == "gemm") == bool(mask.keep.all())


def test_a_small_network_has_nothing_to_gain():
    workload = transformer(images=1, tokens=65, width=192, heads=3)
    cost = GpuCost(model("h200"))
    with pytest.raises(LspsimError, match=r"budget latency=0\.9: with every block removed"):
        search(curves(workload), workload, parse_budgets(["latency=0.9"]), cost, cost, "knapsack")


def test_a_study_takes_a_gpu_for_a_chip(tmp_path):
    target = Target("gpu:h200", "digest", GpuCost(model("h200")))
    study = open_study(
        str(tiny_card(tmp_path)), "digits", target, calibration_images=8, test_images=8, batch=4
    )
    assert study.workload.batch == 4
    assert study.fast is study.exact is target.cost
    assert study.dense.latency_s == target.cost.cost(study.workload).latency_s

import pytest

pytest.importorskip("torch")

import torch
from torch.utils.flop_counter import FlopCounterMode

from lspsim.allocate.budgets import parse_budgets
from lspsim.bench.steps import _FACTORISATIONS, noise_images, timed_steps
from lspsim.models import load_model, workload_from_model
from lspsim.prune.recipe import PruneRecipe
from lspsim.simulate.cost import SimulatorCost
from tests.bench.bench_cases import tiny_model
from tests.train.loop_cases import chip


def counted(work) -> int:
    with FlopCounterMode(display=False, custom_mapping=_FACTORISATIONS) as counter:
        work()
    return counter.get_total_flops()


def test_factorisations_are_counted():
    matrix = torch.eye(30, dtype=torch.float64).expand(4, -1, -1).contiguous()
    right = torch.ones(4, 30, 7, dtype=torch.float64)
    assert counted(lambda: torch.linalg.cholesky_ex(matrix)) == 4 * 30**3 // 3
    assert counted(lambda: torch.cholesky_inverse(matrix)) == 4 * 2 * 30**3 // 3
    assert counted(lambda: torch.cholesky_solve(right, matrix)) == 4 * 2 * 30**2 * 7
    triangle = torch.linalg.solve_triangular
    assert counted(lambda: triangle(matrix, right, upper=False)) == 4 * 30**2 * 7
    assert counted(lambda: triangle(matrix, right.mT, upper=False, left=False)) == 4 * 30**2 * 7
    assert counted(lambda: matrix @ right) == 4 * 2 * 30 * 30 * 7


def test_steps_add_up(tmp_path):
    model = load_model(str(tiny_model(tmp_path)))
    workload = workload_from_model(model)
    images = noise_images(model, 16)
    loop, exact = SimulatorCost(chip(8), "analytic"), SimulatorCost(chip(8))
    steps, pruned = timed_steps(
        model, images, workload, PruneRecipe(8, 8), parse_budgets(["cycles=0.6"]), loop, exact
    )
    named = {step.name: step for step in steps}
    assert len(named) == len(steps)
    assert {"gathering layer statistics", "block-OBS", "allocating", "compensating"} <= set(named)
    assert all(step.seconds > 0 and step.peak_bytes > 10**7 for step in steps)
    # forward, gradients of the activations (weights have none), and Grams
    assert named["gathering layer statistics"].flop > 2 * 2 * 16 * workload.macs_dense
    assert named["allocating"].flop == 0
    assert pruned.sparsity > 0


def test_noise_is_the_same_in_any_order(tmp_path):
    images = noise_images(load_model(str(tiny_model(tmp_path))), 4)
    assert images.images.shape == (4, 3, 32, 32)
    assert torch.equal(images.read([3, 1])[1], images.images[1])
    assert not torch.equal(images.images[0], images.images[1])

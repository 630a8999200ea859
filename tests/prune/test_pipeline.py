from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from lspsim.allocate.budgets import parse_budgets
from lspsim.allocate.correction import corrected
from lspsim.allocate.curves import LayerCurve
from lspsim.calibrate.statistics import collect
from lspsim.errors import LspsimError
from lspsim.models import load_model, workload_from_model
from lspsim.models.data import load_dataset
from lspsim.networks.quality import quality, reference_logits
from lspsim.prune.compensate.refit import least_squares_refit
from lspsim.prune.compensate.refit_curve import refit_curve
from lspsim.prune.pipeline import prepare, prune
from lspsim.prune.recipe import SCORE_NAMES, PruneRecipe, lpvit_recipe
from lspsim.simulate.cost import ProportionalCost, SimulatorCost
from tests.train.loop_cases import chip, tiny_card

BLOCK = 16
CYCLES = parse_budgets(["cycles=0.55"])


class Digits:
    """The shipped model, a chip with an array as large as a block, and a few images."""

    def __init__(self) -> None:
        self.model = load_model("lspsim/deit_digits")
        self.workload = workload_from_model(self.model)
        self.images = load_dataset("digits", "calibration", 32)
        hardware = chip(BLOCK)
        self.fast, self.exact = SimulatorCost(hardware, "analytic"), SimulatorCost(hardware)

    def prepare(self, recipe: PruneRecipe):
        return prepare(self.model, self.images, self.workload, recipe)

    def prune(self, prepared, budgets=CYCLES):
        return prune(prepared, self.workload, budgets, self.fast, self.exact)


@pytest.fixture(scope="module")
def digits():
    return Digits()


@pytest.fixture(scope="module")
def prepared(digits):
    return digits.prepare(PruneRecipe(BLOCK, BLOCK))


@pytest.fixture(scope="module")
def pruned(digits, prepared):
    return digits.prune(prepared)


def removed_weights(pruned) -> torch.Tensor:
    parts = []
    for name, mask in pruned.masks.items():
        kept = np.kron(mask.keep, np.ones((mask.block_out, mask.block_in), bool))
        parts.append(pruned.model.get_submodule(name).weight[torch.from_numpy(~kept)])
    return torch.cat(parts)


def same_masks(one, other) -> bool:
    assert one.masks.keys() == other.masks.keys()
    return all(np.array_equal(mask.keep, other.masks[n].keep) for n, mask in one.masks.items())


def test_permutation_keeps_the_function(digits, prepared) -> None:
    images = digits.images
    dense = reference_logits(digits.model, images)
    assert prepared.model is not digits.model
    before = digits.model.get_submodule("blocks.0.mlp.fc1").weight
    assert not torch.equal(before, prepared.model.get_submodule("blocks.0.mlp.fc1").weight)
    assert (reference_logits(prepared.model, images) - dense).abs().max() < 1e-4
    found = quality(prepared.model, images, dense)
    assert found.kl_nats == pytest.approx(0, abs=1e-6)


def test_preparing_leaves_the_dense_model_alone(digits) -> None:
    before = {name: value.clone() for name, value in digits.model.state_dict().items()}
    digits.prepare(PruneRecipe(32, 32))
    digits.prepare(PruneRecipe(32, 32, "lpvit", "lagrangian", "none"))
    assert all(torch.equal(value, before[n]) for n, value in digits.model.state_dict().items())


def test_pruning_leaves_what_was_prepared_alone(digits, prepared, pruned) -> None:
    assert not removed_weights(pruned).any()
    again = digits.prune(prepared)
    assert same_masks(again, pruned)
    for name, value in pruned.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])


def test_the_same_seed_gives_the_same_masks(digits, pruned) -> None:
    again = digits.prune(digits.prepare(PruneRecipe(BLOCK, BLOCK)))
    assert same_masks(again, pruned)


def test_another_seed_gives_other_random_masks(digits) -> None:
    found = [
        digits.prune(digits.prepare(PruneRecipe(32, 32, "random", "uniform", "none", seed)))
        for seed in (1, 1, 2)
    ]
    assert same_masks(found[0], found[1])
    assert not same_masks(found[0], found[2])


@pytest.mark.parametrize(
    "texts",
    [
        ["cycles=0.55"],
        ["energy=0.6"],
        ["macs=0.5"],
        ["cycles=0.6", "energy=0.55"],
        ["latency=0.6", "macs=0.9"],
    ],
    ids=",".join,
)
def test_every_budget_is_met_and_one_binds(digits, prepared, texts) -> None:
    budgets = parse_budgets(texts)
    pruned = digits.prune(prepared, budgets)
    dense = digits.exact.cost(digits.workload)
    simulated = digits.exact.cost(digits.workload.with_masks(dict(pruned.masks)))
    used = [budget.of(simulated) / budget.ceiling(dense) for budget in budgets]
    assert max(used) <= 1
    assert max(used) >= 0.995
    assert simulated == pruned.outcome.cost


@pytest.mark.parametrize("allocate", ["uniform", "lagrangian", "greedy"])
def test_other_allocators_meet_it_too_and_lose_no_less(digits, prepared, pruned, allocate) -> None:
    recipe = replace(prepared.recipe, allocate=allocate)
    other = digits.prune(replace(prepared, recipe=recipe))
    dense = digits.exact.cost(digits.workload)
    assert 0.99 * 0.55 < other.outcome.cost.cycles / dense.cycles <= 0.55
    assert pruned.outcome.loss <= other.outcome.loss


def test_the_proxy_in_the_loop_loses_no_less(digits, pruned, prepared) -> None:
    """As `bench proxy` runs it: everything else alike, dead units included."""
    proxy = ProportionalCost(digits.exact.cost(digits.workload))
    other = prune(prepared, digits.workload, CYCLES, proxy, digits.exact)
    assert pruned.outcome.loss <= other.outcome.loss == pruned.outcome.proxy.loss


def test_curves_are_monotone_and_in_nats(prepared) -> None:
    for (curve,) in prepared.curves.values():
        assert curve.unit == "nats"
        assert curve.loss[0] == 0
        assert (np.diff(curve.loss) >= 0).all()


def test_correction_brings_curves_to_what_was_measured(digits, prepared) -> None:
    """Twice corrected is once corrected, at the two sparsities where it was measured."""
    name = "blocks.1.mlp.fc2"
    model, images = prepared.model, digits.images
    obs = prepared.alone[name]
    own = collect(model, images.batches(32), [name], {"gram"})
    raw = obs.curve(name)

    def weights_at(_: str, __: int, removed: int):
        return obs.weights_at(removed)

    (once,) = corrected(model, images, weights_at, {name: (raw,)}, own)[name]
    layer = model.get_submodule(name)
    kept = layer.weight.detach().clone(), layer.bias.detach().clone()
    reference = reference_logits(model, images)
    mean = torch.from_numpy(own[name].input_mean)
    for fraction in (0.5, 0.8):
        removed = round(fraction * raw.blocks)
        new = torch.from_numpy(obs.weights_at(removed))
        with torch.no_grad():
            layer.bias.add_(((layer.weight.double() - new) @ mean).float())
            layer.weight.copy_(new)
        measured = quality(model, images, reference).kl_nats
        assert once.loss[removed] >= measured * (1 - 1e-4)  # the running maximum may lift it
        with torch.no_grad():
            layer.weight.copy_(kept[0])
            layer.bias.copy_(kept[1])
    (again,) = corrected(model, images, weights_at, {name: (once,)}, own)[name]
    assert np.allclose(again.loss, once.loss, rtol=1e-3, atol=1e-12)
    assert torch.equal(layer.weight, kept[0])
    assert torch.equal(layer.bias, kept[1])


def test_compensation_helps(digits, pruned) -> None:
    test = load_dataset("digits", "test")
    reference = reference_logits(digits.model, test)
    plain = digits.prune(digits.prepare(PruneRecipe(BLOCK, BLOCK, "block-obs", "knapsack", "none")))
    full, bare = (quality(p.model, test, reference) for p in (pruned, plain))
    assert 0 < full.kl_nats < 0.01 < bare.kl_nats
    assert full.top1 >= 0.97
    assert full.top1 > bare.top1
    assert pruned.coupled > 0
    assert {layer.name for layer in pruned.report} == set(pruned.masks)


def test_no_layer_of_lpvit_loses_more_than_its_cap(digits) -> None:
    prepared = digits.prepare(lpvit_recipe(BLOCK, BLOCK))
    budgets = parse_budgets(["macs=0.15"])
    capped = digits.prune(prepared, budgets)
    assert max(1 - mask.density for mask in capped.masks.values()) <= 0.95 + 1e-9
    assert digits.exact.cost(digits.workload.with_masks(dict(capped.masks))) == capped.outcome.cost
    with pytest.raises(LspsimError, match=r"macs=0.04.*least"):
        digits.prune(prepared, parse_budgets(["macs=0.04"]))


@pytest.mark.parametrize("score", SCORE_NAMES)
def test_every_score_prunes(tmp_path, score: str) -> None:
    model = load_model(str(tiny_card(tmp_path)))
    workload = workload_from_model(model)
    compensate = "full" if score == "block-obs" else "least-squares"
    recipe = PruneRecipe(8, 8, score, "knapsack", compensate)
    images = load_dataset("digits", "calibration", 16)
    hardware = chip(8)
    fast, exact = SimulatorCost(hardware, "analytic"), SimulatorCost(hardware)
    told: list[str] = []
    ready = prepare(model, images, workload, recipe, batch_size=8, tell=told.append)
    pruned = prune(ready, workload, parse_budgets(["macs=0.6"]), fast, exact, tell=told.append)
    assert not removed_weights(pruned).any()
    assert pruned.sparsity > 0.3
    assert told[-1] == "compensating"


@pytest.mark.parametrize("score", ["block-obs", "l1", "lpvit"])
def test_blocks_that_straddle_heads_are_refused_for_every_score(digits, score: str) -> None:
    recipe = PruneRecipe(48, 48, score, "uniform", "none")
    with pytest.raises(LspsimError, match=r"does not divide the head dimension 64"):
        digits.prepare(recipe)


def tiny(tmp_path):
    """A random model of two blocks, 32 wide, and few images."""
    model = load_model(str(tiny_card(tmp_path)))
    return model, workload_from_model(model), load_dataset("digits", "calibration", 16)


def prune_tiny(tmp_path, recipe, budget="macs=0.6"):
    model, workload, images = tiny(tmp_path)
    fast, exact = SimulatorCost(chip(8), "analytic"), SimulatorCost(chip(8))
    ready = prepare(model, images, workload, recipe)
    return ready, prune(ready, workload, parse_budgets([budget]), fast, exact)


def test_any_score_may_have_the_turned_basis_and_coupling(tmp_path) -> None:
    recipe = PruneRecipe(
        8, 8, "random", "knapsack", "least-squares", basis="rotate", couple=True, losses="refit"
    )
    ready, pruned = prune_tiny(tmp_path, recipe, "macs=0.3")
    assert ready.changes is not None
    assert pruned.outcome.unit == "nats"
    for (curve,) in ready.curves.values():
        assert (np.diff(curve.loss) >= 0).all()
    removed = {round(1 - mask.density, 2) for mask in pruned.masks.values()}
    assert len(removed) > 1  # not the same share of every layer
    assert not removed_weights(pruned).any()


def test_full_goes_with_any_order_of_blocks(tmp_path) -> None:
    ready, pruned = prune_tiny(tmp_path, PruneRecipe(8, 8, "taylor"), "macs=0.3")
    assert pruned.outcome.unit == "nats"
    assert set(ready.alone) == set(pruned.masks)
    assert not removed_weights(pruned).any()
    parts = PruneRecipe(
        8, 8, "taylor", "knapsack", "least-squares", basis="rotate", couple=True, losses="refit"
    )
    _, plain = prune_tiny(tmp_path, parts, "macs=0.3")
    for name, mask in pruned.masks.items():
        assert np.array_equal(mask.keep, plain.masks[name].keep)
    last = "blocks.1.mlp.fc2"  # the ridge is drawn to the layer refitted alone
    ours, theirs = (one.model.get_submodule(last).weight for one in (pruned, plain))
    assert not torch.equal(ours, theirs)


def test_refitted_curves_are_corrected_near_their_end_too(tmp_path) -> None:
    """What was measured there is what a second measurement finds: it changes nothing."""
    recipe = PruneRecipe(8, 8, "l1", "knapsack", "least-squares")
    model, workload, images = tiny(tmp_path)
    ready = prepare(model, images, workload, recipe)

    def weights_at(name: str, number: int, removed: int):
        layer, mask = ready.alone[name], ready.curves[name][number].mask(removed)
        return least_squares_refit(layer.weight, layer.gram, mask.keep, 8, 8, 0.01).weight

    again = corrected(ready.model, images, weights_at, ready.curves, ready.alone, (0.5, 0.8, 0.95))
    for name, (curve,) in again.items():
        end = round(0.95 * curve.blocks)
        assert curve.loss[end] == pytest.approx(ready.curves[name][0].loss[end], rel=0.03)


def test_layers_choose_among_block_sizes(tmp_path) -> None:
    both = PruneRecipe(8, 8, more_sizes=((4, 16),))
    ready, pruned = prune_tiny(tmp_path, both)
    assert all(len(options) == 2 for options in ready.curves.values())
    found = {(mask.block_out, mask.block_in) for mask in pruned.masks.values()}
    assert found <= {(8, 8), (4, 16)}
    alone = [prune_tiny(tmp_path, PruneRecipe(*size))[1] for size in ((8, 8), (4, 16))]
    assert pruned.outcome.loss <= min(one.outcome.loss for one in alone) * 1.02
    assert not removed_weights(pruned).any()


def test_refitted_losses_are_those_of_the_refitted_layer(tmp_path) -> None:
    model, _, images = tiny(tmp_path)
    name = "blocks.0.mlp.fc2"
    layer = collect(model, images.batches(8), [name], {"gram", "row_gain"})[name]
    order = np.random.default_rng(0).permutation(4 * 16)
    raw = LayerCurve(name, (32, 128), 8, 8, order, np.arange(65.0), "count")
    found = refit_curve(raw, layer, fractions=(0.25, 0.5, 1.0))
    assert found.unit == "nats"
    assert np.array_equal(found.order, order)
    ridge = 0.01 * np.trace(layer.gram) / 128
    metric = layer.gram + ridge * np.eye(128)
    for removed in (16, 32, 64):
        keep = np.kron(raw.mask(removed).keep, np.ones((8, 8), bool))
        total = 0.0
        for row, (weights, kept) in enumerate(zip(layer.weight, keep, strict=True)):
            solved = np.zeros(128)
            if kept.any():
                own = metric[np.ix_(kept, kept)]
                solved[kept] = np.linalg.solve(own, (metric @ weights)[kept])
            change = weights - solved
            total += 0.5 * layer.row_gain[row] * change @ metric @ change
        assert found.loss[removed] == pytest.approx(total, rel=1e-9)
    assert found.loss[24] == pytest.approx((found.loss[16] + found.loss[32]) / 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"score": "l3"}, "there is no score 'l3'; known are"),
        ({"compensate": "prayer"}, "there is no compensation 'prayer'; known are none, bias"),
        ({"score": "l1", "compensate": "obs"}, "goes with score 'block-obs', not 'l1'"),
    ],
)
def test_recipes_that_mean_nothing(options, words: str) -> None:
    with pytest.raises(LspsimError, match=words):
        PruneRecipe(32, 32, **options)

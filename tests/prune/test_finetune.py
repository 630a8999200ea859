from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.nn.functional import softmax

from lspsim.errors import ModelError
from lspsim.prune import finetune as module
from lspsim.prune.finetune import PRESETS, Distillation, finetune
from lspsim.prune.loop import Recipe
from lspsim.prune.train import initial_model
from lspsim.workload import BlockMask

ARCHITECTURE = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "num_classes": 10,
}
QUICK = Distillation(Recipe(epochs=2, batch_size=32, learning_rate=2e-3, weight_decay=0.02))
LAYERS = {"blocks.0.mlp.fc1": (64, 16), "blocks.1.attn.qkv": (48, 16)}


@pytest.fixture
def dense():
    return initial_model(ARCHITECTURE, 3).eval()


@pytest.fixture
def masks():
    chooser = np.random.default_rng(0)
    return {
        name: BlockMask(chooser.random((n // 8, k // 8)) < 0.5, 8, 8)
        for name, (n, k) in LAYERS.items()
    }


def removed(model, masks):
    """Return the weights that the masks remove."""
    parts = []
    for name, mask in masks.items():
        kept = np.kron(mask.keep, np.ones((8, 8), bool))
        parts.append(model.get_submodule(name).weight[torch.from_numpy(~kept)])
    return torch.cat(parts)


def distil(model, dense, masks, out: Path, **options):
    return finetune(model, dense, masks, "digits", out, QUICK, epoch_images=64, **options)


def test_masks_hold_while_kept_weights_move(dense, masks, tmp_path: Path) -> None:
    model, before = copy.deepcopy(dense), copy.deepcopy(dense.state_dict())
    finetuned = distil(model, dense, masks, tmp_path)
    assert all(torch.equal(value, before[key]) for key, value in dense.state_dict().items())
    assert not removed(model, masks).any()
    assert removed(dense, masks).any()
    weight = model.get_submodule("blocks.0.mlp.fc1").weight
    start = dense.get_submodule("blocks.0.mlp.fc1").weight
    assert ((weight != 0) & (weight != start)).any()
    assert not model.training
    assert finetuned.records[1].loss < finetuned.records[0].loss
    assert finetuned.records[-1].scores == {"validation": finetuned.accuracy}


def test_masks_hold_after_every_single_step(
    dense, masks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = copy.deepcopy(dense), []
    held_run = module.run

    def watch(*arguments, hooks, **options):
        def after_step() -> None:
            before = removed(model, masks).detach().abs().sum()
            hooks.after_step()
            seen.append((float(before), float(removed(model, masks).detach().abs().sum())))

        return held_run(*arguments, hooks=replace(hooks, after_step=after_step), **options)

    monkeypatch.setattr(module, "run", watch)
    distil(model, dense, masks, tmp_path)
    assert len(seen) == 4
    assert all(before > 0 for before, _ in seen)  # the optimiser does move them
    assert all(after == 0 for _, after in seen)


def test_averaged_weights_hold_the_masks_too(dense, masks, tmp_path: Path) -> None:
    model = copy.deepcopy(dense)
    averaging = replace(QUICK, recipe=replace(QUICK.recipe, ema_decay=0.9), alpha=0.5)
    finetune(model, dense, masks, "digits", tmp_path, averaging, epoch_images=64)
    assert not removed(model, masks).any()


def test_an_interrupted_run_resumes_to_the_same_weights(
    dense, masks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = copy.deepcopy(dense)
    distil(straight, dense, masks, tmp_path / "straight")
    model, measure, calls = copy.deepcopy(dense), module.top1, []

    def interrupt(*arguments):
        calls.append(0)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(module, "top1", interrupt)
    with pytest.raises(KeyboardInterrupt):
        distil(model, dense, masks, tmp_path / "broken")
    monkeypatch.undo()
    again = copy.deepcopy(dense)
    finetuned = distil(again, dense, masks, tmp_path / "broken")
    assert len(finetuned.records) == 2
    for key, value in straight.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])


def test_other_masks_are_no_continuation(dense, masks, tmp_path: Path) -> None:
    distil(copy.deepcopy(dense), dense, masks, tmp_path)
    name = next(iter(masks))
    other = {**masks, name: BlockMask(~masks[name].keep, 8, 8)}
    with pytest.raises(ModelError, match=r"belongs to a run with other settings .masks"):
        distil(copy.deepcopy(dense), dense, other, tmp_path)


def test_loss_against_its_definition() -> None:
    draw = torch.Generator().manual_seed(0)
    pruned, dense = torch.randn(2, 5, 7, generator=draw, dtype=torch.float64).float()
    labels = torch.tensor([0, 1, 2, 3, 6])
    p, q = softmax(dense / 2, 1), softmax(pruned / 2, 1)
    divergence = 4 * (p * (p / q).log()).sum(1).mean()
    assert QUICK.loss(pruned, dense, labels) == pytest.approx(float(divergence), rel=1e-5)
    entropy = -softmax(pruned, 1)[torch.arange(5), labels].log().mean()
    mixed = replace(QUICK, alpha=0.25).loss(pruned, dense, labels)
    assert mixed == pytest.approx(float(0.25 * divergence + 0.75 * entropy), rel=1e-5)
    assert QUICK.loss(dense, dense, labels) == pytest.approx(0, abs=1e-6)


def test_presets() -> None:
    short, paper = PRESETS["short"], PRESETS["lpvit"]
    assert (short.temperature, short.alpha) == (2.0, 1.0)
    assert (short.recipe.learning_rate, short.recipe.weight_decay) == (4e-4, 0.02)
    assert (paper.temperature, paper.alpha, paper.recipe.epochs) == (1.0, 0.5, 300)
    assert paper.recipe.ema_decay == 0.99996


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("blocks.9.mlp.fc1", (64, 16), "the model has no such layer"),
        ("blocks.0.mlp.fc1", (16, 64), r"the model has a weight of \[64, 16\]"),
    ],
)
def test_masks_that_do_not_fit(dense, tmp_path: Path, name: str, shape, words: str) -> None:
    mask = BlockMask(np.ones((shape[0] // 8, shape[1] // 8), bool), 8, 8)
    with pytest.raises(ModelError, match=words):
        distil(copy.deepcopy(dense), dense, {name: mask}, tmp_path)


@pytest.mark.parametrize("device", ["gpu", "meta"])
def test_unknown_devices(dense, masks, tmp_path: Path, device: str) -> None:
    with pytest.raises(ModelError, match="use cpu or cuda"):
        distil(copy.deepcopy(dense), dense, masks, tmp_path, device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_device(dense, masks, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="sees no CUDA device; use --device cpu"):
        distil(copy.deepcopy(dense), dense, masks, tmp_path, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_cuda_device(dense, masks, tmp_path: Path) -> None:
    model = copy.deepcopy(dense)
    distil(model, dense, masks, tmp_path, device="cuda")
    assert not removed(model, masks).any()
    assert next(model.parameters()).device.type == "cpu"


def test_outputs_that_do_not_fit_the_dataset(masks, tmp_path: Path) -> None:
    other = initial_model({**ARCHITECTURE, "num_classes": 7}, 0).eval()
    with pytest.raises(ModelError, match="7 outputs and dataset 'digits' has 10 classes"):
        distil(copy.deepcopy(other), other, masks, tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"temperature": 0.0}, "temperature must be above 0"), ({"alpha": 1.5}, "alpha must lie")],
)
def test_distillations_that_mean_nothing(options, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Distillation(QUICK.recipe, **options)

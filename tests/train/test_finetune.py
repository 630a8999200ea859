from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from PIL import Image
from torch.nn.functional import softmax

from lspsim.errors import ModelError
from lspsim.models.data import load_dataset
from lspsim.models.data.stream import training_stream
from lspsim.networks.quality import quality, reference_logits
from lspsim.train import finetune as module
from lspsim.train.finetune import KL, PRESETS, TOP1, Distillation, finetune
from lspsim.train.from_scratch import initial_model
from lspsim.train.loop import Recipe
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
    assert finetuned.epochs_kept == 2
    assert finetuned.scores == finetuned.records[-1].scores
    assert finetuned.scores[KL] < finetuned.start[KL]
    images = load_dataset("digits", "validation")
    found = quality(model, images, reference_logits(dense, images))
    assert finetuned.scores == pytest.approx({KL: found.kl_nats, TOP1: found.top1}, rel=1e-5)


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
    model, measure, calls = copy.deepcopy(dense), module.compare, []

    def interrupt(*arguments):
        calls.append(0)
        if len(calls) == 3:  # before the first epoch, after it, after the second
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(module, "compare", interrupt)
    with pytest.raises(KeyboardInterrupt):
        distil(model, dense, masks, tmp_path / "broken")
    monkeypatch.undo()
    assert (tmp_path / "broken" / "finetune.pt").exists()
    again = copy.deepcopy(dense)
    finetuned = distil(again, dense, masks, tmp_path / "broken")
    assert len(finetuned.records) == 2
    for key, value in straight.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])


def pruned(dense, masks):
    """Return the dense model with the masked weights at zero."""
    model = copy.deepcopy(dense)
    with torch.no_grad():
        for name, mask in masks.items():
            kept = np.kron(mask.keep, np.ones((8, 8), np.float32))
            model.get_submodule(name).weight.mul_(torch.from_numpy(kept))
    return model


def test_a_model_that_only_gets_worse_is_handed_back_as_it_was(
    dense, masks, tmp_path: Path
) -> None:
    model = pruned(dense, masks)
    before = copy.deepcopy(model)
    wild = replace(QUICK, recipe=replace(QUICK.recipe, learning_rate=10.0))
    finetuned = finetune(model, dense, masks, "digits", tmp_path, wild, epoch_images=64)
    assert finetuned.epochs_kept == 0
    assert finetuned.scores == finetuned.start
    assert all(record.scores[KL] > finetuned.start[KL] for record in finetuned.records)
    images = load_dataset("digits", "validation").images
    with torch.no_grad():
        assert torch.equal(model(images), before(images))


def test_the_last_epoch_is_handed_back_when_asked_for(dense, masks, tmp_path: Path) -> None:
    model = pruned(dense, masks)
    wild = replace(QUICK, recipe=replace(QUICK.recipe, learning_rate=10.0))
    finetuned = finetune(
        model, dense, masks, "digits", tmp_path, wild, epoch_images=64, keep_best=False
    )
    assert finetuned.epochs_kept == 2
    assert finetuned.scores == finetuned.records[1].scores
    images = load_dataset("digits", "validation")
    found = quality(model, images, reference_logits(dense, images))
    assert finetuned.scores[KL] == pytest.approx(found.kl_nats, rel=1e-5)
    assert finetuned.scores[KL] > finetuned.start[KL]


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


def test_labels_of_other_classes_are_not_learnt_from(dense, masks, tmp_path: Path) -> None:
    other = initial_model({**ARCHITECTURE, "num_classes": 12}, 0).eval()
    labelled = replace(QUICK, alpha=0.5)
    with pytest.raises(ModelError, match=r"12 outputs .* has 10 classes; .*\(alpha=1\)"):
        finetune(copy.deepcopy(other), other, masks, "digits", tmp_path, labelled)
    finetuned = distil(copy.deepcopy(other), other, masks, tmp_path)
    assert set(finetuned.scores) == {KL}  # no top-1: outputs are not the classes


def wide_images(folder: Path, count: int) -> None:
    """Write two classes of `count` images of 60x90 pixels, dark and bright."""
    draw = np.random.default_rng(0)
    for name, shade in (("bright", 200), ("dark", 0)):
        (folder / name).mkdir()
        for number in range(count):
            pixels = draw.integers(shade, shade + 50, (60, 90, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_images_of_a_folder_come_as_the_model_wants_them(tmp_path: Path) -> None:
    """Every split alike: size and normalisation of the model, not timm's defaults."""
    wide_images(tmp_path, 30)
    model = initial_model({**ARCHITECTURE, "img_size": 48, "num_classes": 2}, 0).eval()
    wants = {"input_size": (3, 48, 48), "mean": (0.5, 0.25, 0.0), "std": (0.1, 0.2, 0.5)}
    model.pretrained_cfg = {**wants, "crop_pct": 1.0, "interpolation": "bilinear"}
    stream = training_stream(str(tmp_path), 1, 0, model=model)
    seen = torch.cat([images for images, _ in stream.batches(0, 0.0)])
    wanted = load_dataset(str(tmp_path), "train", model=model).images
    assert seen.shape == wanted.shape == (stream.steps_per_epoch, 3, 48, 48)
    seen, wanted = (x[x.mean((1, 2, 3)).argsort()] for x in (seen, wanted))
    assert torch.allclose(seen, wanted, atol=1e-3)

    dense, sizes = copy.deepcopy(model), set()
    model.register_forward_pre_hook(lambda _, inputs: sizes.add(inputs[0].shape[1:]))
    quick = replace(QUICK, recipe=replace(QUICK.recipe, epochs=1, batch_size=8))
    finetune(model, dense, {}, str(tmp_path), tmp_path / "out", quick)
    assert sizes == {(3, 48, 48)}


@pytest.mark.parametrize(
    ("options", "words"),
    [({"temperature": 0.0}, "temperature must be above 0"), ({"alpha": 1.5}, "alpha must lie")],
)
def test_distillations_that_mean_nothing(options, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Distillation(QUICK.recipe, **options)

"""Weights with their own classes and blocks, from pruning to simulating; masks of other models."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from PIL import Image
from safetensors.torch import save_file

from lspsim.models import load_model
from lspsim.models.load import build
from lspsim.networks.load import load_point
from lspsim.networks.record import MASKS, RECORD, WEIGHTS, read_point
from lspsim.workload.mask_io import load_masks, save_masks
from tests.train.loop_cases import TINY as TINY_CARD
from tests.train.loop_cases import tiny_card

CHIP = ("--hw", "edge_32x32", "--set", "array.rows=16", "--set", "array.cols=16")
TINY = "deit_tiny_patch16_224"
PLAIN = ("--score", "l1", "--compensate", "none", "--allocate", "uniform")
FEW = ("--images", "8", "--test-images", "4")


def cycles(answer):
    assert answer.code == 0, answer.err
    return json.loads(answer.out)["totals"]["cycles_total"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of three classes, sixteen images each."""
    folder = tmp_path_factory.mktemp("images")
    draw = np.random.default_rng(0)
    for name in ("ant", "bee", "cat"):
        (folder / name).mkdir()
        for number in range(16):
            pixels = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def weights(folder, num_classes):
    torch.manual_seed(0)
    path = folder / f"of{num_classes}.safetensors"
    save_file(load_model(TINY, num_classes=num_classes).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A DeiT-T of three classes, as fine-tuning on `images` would leave it."""
    return weights(tmp_path_factory.mktemp("trained"), 3)


@pytest.fixture
def digit_point(run, tmp_path):
    """The shipped digit model at half of its cycles, in 16x16 blocks."""
    out = tmp_path / "digits"
    words = ("--data", "digits", "--block", "16x16", *FEW, "--budget", "cycles=0.5")
    assert run("prune", "lspsim/deit_digits", *CHIP, *words, *PLAIN, "--out", out).code == 0
    (place,) = out.iterdir()
    return place


def test_a_checkpoint_with_its_own_classes_is_pruned_and_simulated(run, images, trained, tmp_path):
    words = ("prune", TINY, *CHIP, *PLAIN, *FEW, "--data", images, "--budget", "macs=0.6")
    answer = run(*words, "--checkpoint", trained, "--out", tmp_path / "points")
    assert answer.code == 0, answer.err
    (place,) = (tmp_path / "points").iterdir()
    record = read_point(place)
    assert record.pruned.top1 is not None  # three outputs, three classes
    point = load_point(place)
    assert point.model(torch.zeros(1, 3, 224, 224)).shape == (1, 3)
    for source in (("--checkpoint", place), ("--masks", place)):
        answer = run("simulate", TINY, *CHIP, *source, "--format", "json")
        layers = {layer["name"]: layer for layer in json.loads(answer.out)["layers"]}
        assert layers["head"]["n"] == 3
        assert cycles(answer) == record.pruned.cycles
    answer = run("gpu", "predict", TINY, "--gpu", "h200", "--checkpoint", place, "--format", "json")
    assert answer.code == 0, answer.err
    again = run(*words, "--checkpoint", place, "--out", tmp_path / "further")
    assert again.code == 0, again.err
    assert WEIGHTS in read_point(next((tmp_path / "further").iterdir())).provenance["checkpoint"]


def test_a_point_with_its_own_classes_is_finetuned(run, images, tmp_path):
    """Of a model card that was written for ten."""
    card = tiny_card(tmp_path)
    torch.manual_seed(0)
    own = build({**TINY_CARD, "num_classes": 3})
    save_file(own.state_dict(), tmp_path / "own.safetensors")
    words = ("prune", card, *CHIP, *PLAIN, *FEW, "--data", images, "--budget", "macs=0.8")
    block = ("--block", "8x8", "--checkpoint", tmp_path / "own.safetensors")
    answer = run(*words, *block, "--out", tmp_path / "points")
    assert answer.code == 0, answer.err
    (place,) = (tmp_path / "points").iterdir()
    tune = ("finetune", place, "--epochs", "1", "--epoch-images", "8")
    answer = run(*tune, "--out", tmp_path / "tuned")
    assert answer.code == 0, answer.err
    assert "top-1" in answer.out
    assert load_point(tmp_path / "tuned").model.get_submodule("head").weight.shape[0] == 3


def test_folders_that_do_not_fit_the_classifier(refused, images, tmp_path):
    words = ("prune", TINY, *CHIP, *PLAIN, *FEW, "--data", images, "--budget", "macs=0.6")
    out = ("--out", tmp_path / "points")
    two = weights(tmp_path, 2)
    message = refused(*words, *out, "--checkpoint", two)
    assert "of2.safetensors has 2 outputs" in message
    assert "3 classes; take a model that was trained on these" in message
    assert "has no classifier" in refused(*words, *out, "--checkpoint", weights(tmp_path, 0))
    assert not (tmp_path / "points").exists()


def test_a_backbone_is_simulated_without_a_head(run, tmp_path):
    answer = run("simulate", TINY, *CHIP, "--checkpoint", weights(tmp_path, 0), "--format", "json")
    assert "head" not in {layer["name"] for layer in json.loads(answer.out)["layers"]}


def test_weights_of_fewer_layers_are_refused(refused, digit_point, tmp_path):
    shutil.copy(digit_point / WEIGHTS, tmp_path / "loose.safetensors")
    message = refused("simulate", TINY, *CHIP, "--checkpoint", tmp_path / "loose.safetensors")
    assert "does not fit deit_tiny_patch16_224: patch_embed.proj is 192x" in message
    assert "name the model that it was saved from" in message


@pytest.mark.parametrize(
    ("saved", "named", "reason"),
    [
        ("deit_small_patch16_224", TINY, "patch_embed.proj is 384x768 there and 192x768 in it"),
        ("deit_tiny_distilled_patch16_224", TINY, "the model has no head_dist"),
        (TINY, "deit_tiny_distilled_patch16_224", "it has no head_dist.weight"),
    ],
)
def test_weights_of_another_architecture_are_refused(refused, tmp_path, saved, named, reason):
    save_file(load_model(saved).state_dict(), tmp_path / "other.safetensors")
    message = refused("simulate", named, *CHIP, "--checkpoint", tmp_path / "other.safetensors")
    assert f"other.safetensors does not fit {named}: {reason}" in message


@pytest.mark.parametrize(("option", "file"), [("--masks", MASKS), ("--checkpoint", WEIGHTS)])
def test_a_directory_without_what_is_asked_for(refused, tmp_path, option, file):
    message = refused("simulate", TINY, *CHIP, option, tmp_path)
    assert f"{tmp_path} holds no {file}; name a file, or a directory of lspsim prune" in message


@pytest.mark.parametrize("option", ["--masks", "--checkpoint"])
def test_another_models_point_is_not_measured(refused, digit_point, tmp_path, option):
    words = ("gpu", "measure", "--device", "cpu", "--model", "lspsim/deit_glyphs", "--batch", "1")
    message = refused(*words, option, digit_point, "--out", tmp_path / "m.jsonl")
    assert "belongs to lspsim/deit_digits, not to lspsim/deit_glyphs" in message
    assert not (tmp_path / "m.jsonl").exists()


@pytest.mark.parametrize("command", [("simulate", *CHIP), ("gpu", "predict", "--gpu", "h200")])
def test_what_is_another_models_is_refused(run, refused, digit_point, tmp_path, command):
    """The manifest says so; where masks were saved without a name, the record beside them does."""
    alone = tmp_path / "alone.npz"
    shutil.copy(digit_point / MASKS, alone)
    belongs = "belongs to lspsim/deit_digits, not to deit_tiny_patch16_224"
    for source in (digit_point, digit_point / MASKS, alone):
        assert belongs in refused(*command, TINY, "--masks", source)
    assert belongs in refused(*command, TINY, "--checkpoint", digit_point)
    assert run(*command, "lspsim/deit_digits", "--masks", alone).err.count("masks cover") == 0
    masks = load_masks(digit_point / MASKS)
    save_masks(digit_point / MASKS, masks)
    assert belongs in refused(*command, TINY, "--masks", digit_point)
    save_masks(alone, masks)
    answer = run(*command, TINY, "--masks", alone)
    assert answer.code == 0
    assert "note: masks cover 8 of 48 prunable layers; the others are dense" in answer.err


def test_a_point_brings_its_blocks(run, digit_point):
    """The recorded cycles, without a word about blocks."""
    recorded = read_point(digit_point).pruned.cycles
    words = ("simulate", "lspsim/deit_digits", *CHIP, "--format", "json", "--checkpoint")
    for source in (digit_point, digit_point / WEIGHTS):
        answer = run(*words, source)
        assert cycles(answer) == recorded
        assert "note: blocks of 16x16, as " in answer.err
    answer = run(*words, digit_point, "--block", "32x32")
    assert cycles(answer) > recorded
    assert "blocks of" not in answer.err


def test_a_point_of_several_block_sizes_brings_them_all(run, tmp_path):
    block = ("--block", "16x16,fc1=32x32")
    words = ("--data", "digits", *block, *FEW, "--budget", "cycles=0.5", *PLAIN)
    assert run("prune", "lspsim/deit_digits", *CHIP, *words, "--out", tmp_path / "p").code == 0
    (place,) = (tmp_path / "p").iterdir()
    assert len({mask.block_out for mask in load_masks(place / MASKS).values()}) == 2
    words = ("simulate", "lspsim/deit_digits", *CHIP, "--format", "json", "--checkpoint", place)
    assert cycles(run(*words)) == read_point(place).pruned.cycles


def test_a_directory_without_weights_is_named(refused, digit_point):
    (digit_point / WEIGHTS).unlink()
    assert WEIGHTS in refused("simulate", "lspsim/deit_digits", *CHIP, "--checkpoint", digit_point)


@pytest.mark.parametrize(
    "command",
    [
        ("simulate", "SMALL", *CHIP),
        ("trace", "SMALL", *CHIP),
        ("compare", "edge_32x32", "mid_64x64", "--model", "SMALL"),
        ("gpu", "predict", "SMALL", "--gpu", "h200"),
    ],
)
def test_options_that_would_be_ignored_are_refused(refused, small, tmp_path, command):
    words = [small if word == "SMALL" else word for word in command]
    masks, weights = ("--masks", tmp_path), ("--checkpoint", tmp_path)
    assert "--block goes with --sparsity or --checkpoint" in refused(*words, "--block", "32x32")
    assert "have their own blocks" in refused(*words, *masks, "--block", "32x32")
    for source in ((), masks, weights):
        message = refused(*words, *source, "--seed", "0")
        assert "--seed draws the masks of --sparsity" in message


@pytest.mark.parametrize("words", [("--sparsity", "0.5"), ("--batch", "2"), ("--seed", "0")])
def test_compare_refuses_a_workload_without_a_model(refused, tmp_path, words):
    assert "go with --model" in refused("compare", tmp_path, tmp_path, *words)


def test_outputs_that_are_no_classes_are_explained(run, tmp_path):
    words = ("--data", "digits", *FEW, "--budget", "macs=0.7", *PLAIN, *CHIP)
    words = ("prune", "lspsim/deit_glyphs", *words, "--out", tmp_path / "points")
    for _ in range(2):  # the second time it is there already
        answer = run(*words)
        assert answer.code == 0
        assert (
            "note: lspsim/deit_glyphs has 50 outputs, digits 10 classes: "
            "KL to the dense model is measured, top-1 is not" in answer.err
        )
    assert (next((tmp_path / "points").iterdir()) / RECORD).is_file()

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import save_file

from lspsim.allocate.budgets import parse_budgets
from lspsim.errors import LspsimError, ModelError
from lspsim.models import cached_workload, load_model, load_state, masks_from_weights
from lspsim.models.cards import CARD_SCHEMA
from lspsim.models.data import load_dataset
from lspsim.networks.load import load_point
from lspsim.networks.origin import dense_model, dense_of
from lspsim.networks.quality import quality, reference_logits
from lspsim.networks.record import MASKS, WEIGHTS, read_point, write_point
from lspsim.prune.pipeline import prepare
from lspsim.prune.recipe import PruneRecipe
from lspsim.prune.study import open_study, run_point
from lspsim.simulate import simulate
from lspsim.train.finetune import digest
from lspsim.workload.mask_io import load_masks
from tests.models import vit_cases
from tests.train.loop_cases import TINY, chip, tiny_card


@pytest.fixture(scope="module")
def study():
    return open_study(
        "lspsim/deit_digits", "digits", chip(16), calibration_images=32, test_images=200
    )


@pytest.fixture(scope="module")
def point(study):
    prepared = prepare(study.model, study.calibration, study.workload, PruneRecipe(16, 16))
    return run_point(study, prepared, parse_budgets(["cycles=0.5"]))


@pytest.fixture(scope="module")
def place(point, tmp_path_factory):
    folder = tmp_path_factory.mktemp("points") / "half"
    return write_point(folder, point.record, point.pruned.model.state_dict(), point.pruned.masks)


def test_dense_figures(study) -> None:
    dense = study.dense
    assert dense.kl_nats == 0
    assert dense.images == 200
    assert dense.top1 is not None
    assert dense.top1 > 0.95
    assert dense.cycles == simulate(study.workload, study.hardware).totals.cycles_total


@pytest.mark.parametrize("kind", ["cycles", "energy", "latency", "macs"])
def test_the_least_reachable_is_what_pruning_reaches(study, kind) -> None:
    """Known without a score, it refuses what pruning refuses, in the same words."""
    reach = study.reach(PruneRecipe(16, 16))
    (whole,) = parse_budgets([f"{kind}=1"])
    share = whole.of(reach.least) / whole.of(reach.dense)
    budgets = parse_budgets([f"{kind}={0.999 * share:.9f}"])
    with pytest.raises(LspsimError) as early:
        reach.check(budgets)
    plain = PruneRecipe(16, 16, "l1", "uniform", "none")
    prepared = prepare(study.model, study.calibration, study.workload, plain)
    with pytest.raises(LspsimError) as late:
        run_point(study, prepared, budgets)
    assert str(early.value) == str(late.value)
    reachable = parse_budgets([f"{kind}={1.001 * share:.9f}"])
    reach.check(reachable)
    assert run_point(study, prepared, reachable).record.pruned.cycles > 0


def test_calibration_and_test_share_no_image(study) -> None:
    seen = {image.numpy().tobytes() for image in study.calibration.images}
    assert not seen & {image.numpy().tobytes() for image in study.test.images}


def test_the_record_says_what_came_out(study, point) -> None:
    record = point.record
    assert record.label == "cycles=0.5"
    assert record.budgets == {"cycles": "0.5"}
    assert 0.995 * 0.5 < record.pruned.cycles / record.dense.cycles <= 0.5
    assert record.provenance["binding"] == ["cycles"]
    assert record.provenance["candidate"] == point.pruned.outcome.candidate
    assert record.allocation.multipliers["lambda"] == record.allocation.multipliers["cycles"] > 0
    assert record.allocation.multipliers["beta"] == 0
    assert record.allocation.bound is not None
    assert 0 <= record.allocation.bound <= record.allocation.loss * (1 + 1e-9)
    assert record.allocation.unit == "nats"
    assert set(record.damping) == set(point.pruned.masks)
    found = quality(point.pruned.model, study.test, study.reference)
    assert (record.pruned.top1, record.pruned.kl_nats) == (found.top1, found.kl_nats)


def test_a_pruned_checkpoint_reloads_to_the_same_outputs(study, point, place) -> None:
    expected = reference_logits(point.pruned.model, study.test)
    again = load_model("lspsim/deit_digits", place / WEIGHTS)
    assert torch.equal(reference_logits(again, study.test), expected)
    loaded = load_point(place)
    assert torch.equal(reference_logits(loaded.model, study.test), expected)
    assert loaded.record == point.record


def test_the_zeros_of_a_checkpoint_are_its_masks(study, point, place) -> None:
    found = masks_from_weights(load_state(place / WEIGHTS), 16, 16)
    saved = load_masks(place / MASKS)
    assert found.keys() == saved.keys() == point.pruned.masks.keys()
    for name, mask in point.pruned.masks.items():
        assert np.array_equal(found[name].keep, mask.keep)
        assert np.array_equal(saved[name].keep, mask.keep)


def test_the_simulator_finds_the_recorded_cycles_by_the_models_name(study, place) -> None:
    masks = masks_from_weights(load_state(place / WEIGHTS), 16, 16)
    workload = cached_workload("lspsim/deit_digits").with_masks(masks)
    totals = simulate(workload, study.hardware).totals
    record = read_point(place)
    assert totals.cycles_total == record.pruned.cycles
    assert totals.energy_j * 1e12 == pytest.approx(record.pruned.energy_pj)


def test_shapes_of_a_shipped_model_at_another_size() -> None:
    own, larger = (
        cached_workload("lspsim/deit_digits"),
        cached_workload("lspsim/deit_digits", 2, 64),
    )
    tokens = {op.m for op in own.ops if op.name == "blocks.0.mlp.fc1"}
    assert tokens == {65}
    assert {op.m for op in larger.ops if op.name == "blocks.0.mlp.fc1"} == {2 * 257}
    with pytest.raises(ModelError, match=r"did you mean lspsim/deit_digits"):
        cached_workload("lspsim/deit_digit")


def test_the_dense_model_is_found_again(tmp_path) -> None:
    """A checkpoint's weights, not the card's, are what a point is distilled from."""
    card = tiny_card(tmp_path)
    other = vit_cases.vit(7, **TINY)
    checkpoint = tmp_path / "other.safetensors"
    save_file({name: value.contiguous() for name, value in other.state_dict().items()}, checkpoint)
    study = open_study(
        str(card),
        "digits",
        chip(8),
        checkpoint=str(checkpoint),
        calibration_images=16,
        test_images=20,
    )
    recipe = PruneRecipe(8, 8, "l1", "uniform", "none")
    prepared = prepare(study.model, study.calibration, study.workload, recipe)
    record = run_point(study, prepared, parse_budgets(["macs=0.5"])).record
    images = load_dataset("digits", "test", 20)
    assert torch.equal(reference_logits(dense_of(record), images), reference_logits(other, images))
    checkpoint.write_bytes((tmp_path / "tiny.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r"other.safetensors are not those .* was pruned from"):
        dense_of(record)


def test_untrained_models_are_the_same_for_the_same_seed() -> None:
    name = "vit_tiny_patch16_224"
    made = [digest(dense_model(name, None, False, seed)) for seed in (3, 3, 4)]
    assert made[0] == made[1] != made[2]


def card_with(folder, **changes):
    """Write a tiny card and weights with another architecture."""
    folder.mkdir()
    card = folder / "other.json"
    architecture = TINY | changes
    model = vit_cases.vit(0, **architecture)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()},
        folder / "other.safetensors",
    )
    card.write_text(json.dumps({"schema": CARD_SCHEMA, "architecture": architecture}))
    return str(card)


def test_models_that_do_not_fit_the_images_are_refused(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"7 outputs and digits 10 classes"):
        open_study(card_with(tmp_path / "seven", num_classes=7), "digits", chip(8))
    with pytest.raises(ModelError, match=r"takes images of 64x64 pixels, digits has 32x32"):
        open_study(card_with(tmp_path / "large", img_size=64), "digits", chip(8))


def test_more_outputs_than_classes_leave_kl_but_no_top1(tmp_path) -> None:
    study = open_study(
        card_with(tmp_path / "many", num_classes=12),
        "digits",
        chip(8),
        calibration_images=8,
        test_images=20,
    )
    assert not study.named
    assert study.dense.top1 is None
    recipe = PruneRecipe(8, 8, "l1", "uniform", "bias")
    prepared = prepare(study.model, study.calibration, study.workload, recipe)
    record = run_point(study, prepared, parse_budgets(["macs=0.5"])).record
    assert record.pruned.top1 is None
    assert record.pruned.kl_nats is not None
    assert record.pruned.kl_nats > 0

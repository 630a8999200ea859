from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from lspsim.allocate.budgets import parse_budgets
from lspsim.errors import ResultError
from lspsim.networks.load import load_point
from lspsim.networks.record import read_point, write_point
from lspsim.prune.pipeline import prepare
from lspsim.prune.recipe import PruneRecipe
from lspsim.prune.study import open_study, run_point
from lspsim.train import finetune_saved
from lspsim.train.finetune import PRESETS
from lspsim.train.finetune_saved import finetune_point
from tests.train.loop_cases import chip, tiny_card

SHORT = PRESETS["short"]
QUICK = replace(SHORT, recipe=replace(SHORT.recipe, epochs=1, batch_size=32, bf16=False))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retune")
    study = open_study(
        str(tiny_card(folder)), "digits", chip(8), calibration_images=16, test_images=50
    )
    recipe = PruneRecipe(8, 8, "l1", "uniform", "none")
    prepared = prepare(study.model, study.calibration, study.workload, recipe)
    point = run_point(study, prepared, parse_budgets(["macs=0.5"]))
    state = point.pruned.model.state_dict()
    return write_point(folder / "point", point.record, state, point.pruned.masks)


def test_it_holds_masks_and_costs_and_approaches_the_dense_model(place, tmp_path) -> None:
    out = tmp_path / "tuned"
    tuned = finetune_point(place, out, QUICK, epoch_images=640)
    before, after = load_point(place), load_point(out)  # which checks zeros against masks
    assert after.masks.keys() == before.masks.keys()
    for name, mask in before.masks.items():
        assert np.array_equal(after.masks[name].keep, mask.keep)
    assert read_point(out) == tuned
    assert tuned.label == f"{before.record.label}, distilled"
    assert tuned.dense == before.record.dense
    for field in ("cycles", "latency_s", "energy_pj", "macs", "images"):
        assert getattr(tuned.pruned, field) == getattr(before.record.pruned, field)
    assert tuned.pruned.kl_nats is not None
    assert before.record.pruned.kl_nats is not None
    assert tuned.pruned.kl_nats < before.record.pruned.kl_nats
    how = tuned.provenance["finetuned"]
    assert (how["epochs"], how["epochs_kept"]) == (1, 1)
    assert how["learning_rate"] == QUICK.recipe.learning_rate
    assert how["end"]["validation_kl_nats"] < how["start"]["validation_kl_nats"]
    assert sorted(tmp_path.iterdir()) == [out]  # no state is left


def test_a_point_that_would_only_get_worse_stays_what_it_is(place, tmp_path) -> None:
    wild = replace(QUICK, recipe=replace(QUICK.recipe, learning_rate=10.0))
    tuned = finetune_point(place, tmp_path / "best", wild, epoch_images=64)
    before = read_point(place)
    assert tuned.provenance["finetuned"]["epochs_kept"] == 0
    assert tuned.pruned == before.pruned
    last = finetune_point(place, tmp_path / "last", wild, epoch_images=64, keep_best=False)
    assert last.provenance["finetuned"]["epochs_kept"] == 1
    assert last.pruned.kl_nats is not None
    assert before.pruned.kl_nats is not None
    assert last.pruned.kl_nats > before.pruned.kl_nats


def test_a_taken_place_is_refused_before_any_work(place, tmp_path, monkeypatch) -> None:
    def work(*_, **__):
        raise AssertionError("distilled for nothing")

    monkeypatch.setattr(finetune_saved, "finetune", work)
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ResultError, match="mine"):
        finetune_point(place, tmp_path, QUICK)
    with pytest.raises(ResultError, match="exists"):
        finetune_point(place, place, QUICK)
    with pytest.raises(ResultError, match="not a pruned network"):
        finetune_point(tmp_path, tmp_path / "out", QUICK)


def test_an_interrupted_run_leaves_its_state_and_goes_on(place, tmp_path, monkeypatch) -> None:
    out = tmp_path / "tuned"

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finetune_saved, "quality", interrupt)
        with pytest.raises(KeyboardInterrupt):
            finetune_point(place, out, QUICK, epoch_images=64)
    assert [path.name for path in tmp_path.iterdir()] == ["tuned.state"]
    assert (tmp_path / "tuned.state" / "finetune.pt").exists()
    finetune_point(place, out, QUICK, epoch_images=64)
    assert sorted(tmp_path.iterdir()) == [out]

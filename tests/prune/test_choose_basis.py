from __future__ import annotations

import pytest

pytest.importorskip("torch")

from lspsim.allocate.budgets import parse_budgets
from lspsim.errors import LspsimError
from lspsim.prune.pipeline import prepare
from lspsim.prune.recipe import PruneRecipe
from lspsim.prune.study import open_study, run_point
from tests.train.loop_cases import chip, tiny_card


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    card = tiny_card(tmp_path_factory.mktemp("tiny"))
    return open_study(str(card), "digits", chip(8), calibration_images=24, test_images=40)


def test_the_basis_that_does_better_on_held_out_images_is_kept(study, monkeypatch) -> None:
    told: list[str] = []
    prepared = study.prepare(PruneRecipe(8, 8, basis="auto"), told.append)
    found = prepared.held_out_kl
    assert set(found) == {"permute", "rotate"}
    assert prepared.recipe.basis == min(found, key=found.get)
    assert any(text.startswith("trial of basis permute: ") for text in told)
    point = run_point(study, prepared, parse_budgets(["macs=0.6"]))
    assert point.record.provenance["held_out_kl"] == found
    assert point.record.provenance["basis"] == prepared.recipe.basis


def test_images_that_judge_are_not_those_that_choose(study, monkeypatch) -> None:
    from lspsim.prune import choose_basis as module

    seen: dict[str, set[bytes]] = {"choose": set(), "judge": set()}

    def prints(images):
        return {image.numpy().tobytes() for image in images.images}

    def preparing(model, images, *rest, **more):
        seen["choose"] |= prints(images)
        return prepare(model, images, *rest, **more)

    measure = module.quality

    def judging(model, images, reference):
        seen["judge"] |= prints(images)
        return measure(model, images, reference)

    monkeypatch.setattr(module, "prepare", preparing)
    monkeypatch.setattr(module, "quality", judging)
    study.prepare(PruneRecipe(8, 8, basis="auto"))
    assert (len(seen["choose"]), len(seen["judge"])) == (18, 6)
    assert not seen["choose"] & seen["judge"]


def test_too_few_images_are_refused(study) -> None:
    from lspsim.prune.choose_basis import choose_basis

    few = study.calibration.first(15)
    with pytest.raises(LspsimError, match=r"15 are too few; take at least 16"):
        choose_basis(study.model, few, study.workload, PruneRecipe(8, 8))
    with pytest.raises(LspsimError, match=r"must be chosen first"):
        prepare(study.model, few, study.workload, PruneRecipe(8, 8, basis="auto"))

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from lspsim.errors import LspsimError
from lspsim.models import load_model, workload_from_model
from lspsim.models.data import load_dataset
from lspsim.networks.quality import quality, reference_logits
from lspsim.prune.patterns.units import structured_masks, units_of
from lspsim.prune.pipeline import make_up, prepare
from lspsim.prune.recipe import PruneRecipe
from tests.train.loop_cases import tiny_card

SIZE = 4


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    model = load_model(str(tiny_card(tmp_path_factory.mktemp("tiny"))))
    workload = workload_from_model(model)
    images = load_dataset("digits", "calibration", 32)
    recipe = PruneRecipe(SIZE, SIZE, by_kind=units_of(SIZE))
    return model, workload, prepare(model, images, workload, recipe)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_it_saves_what_was_asked_for_and_little_more(case, share) -> None:
    _, workload, prepared = case
    rows = {gemm.name: gemm.m for gemm in workload.gemms}
    total = sum(rows[n] * np.prod(prepared.curves[n][0].shape) for n in prepared.layers)
    wanted = int(share * total)
    masks, loss = structured_masks(prepared, workload, wanted)
    saved = total - sum(rows[n] * mask.kept_weights for n, mask in masks.items())
    largest = rows["blocks.0.mlp.fc2"] * SIZE * 64
    assert wanted <= saved < wanted + largest
    assert loss > 0


def test_both_halves_of_a_unit_go(case) -> None:
    _, workload, prepared = case
    masks, _ = structured_masks(prepared, workload, workload.macs_dense // 2)
    for block in (0, 1):
        qkv, proj, fc1, fc2 = (
            masks[f"blocks.{block}.{name}"].keep
            for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
        )
        queries, keys, values = np.split(qkv[:, 0], 3)
        assert np.array_equal(queries, keys)
        assert np.array_equal(values, proj[0])
        assert np.array_equal(fc1[:, 0], fc2[0])


def test_more_savings_cost_more_and_are_made_up_for(case) -> None:
    model, workload, prepared = case
    reference = reference_logits(model, prepared.images)
    found = []
    for share in (0.2, 0.4):
        masks, loss = structured_masks(prepared, workload, int(share * workload.macs_dense))
        network = make_up(prepared, masks).model
        found.append((loss, quality(network, prepared.images, reference).kl_nats))
    assert found[0] < found[1]


def test_what_whole_units_cannot_save_is_refused(case) -> None:
    _, workload, prepared = case
    with pytest.raises(LspsimError, match=r"structured pruning saves .* at most"):
        structured_masks(prepared, workload, workload.macs_dense)

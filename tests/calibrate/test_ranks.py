"""Ranks of layer inputs, against a decomposition of all rows at once."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from lspsim.calibrate.ranks import input_ranks, principal_directions
from lspsim.errors import LspsimError
from lspsim.models import workload_from_model
from lspsim.models.data import ImageSet
from tests.models import vit_cases


def image_set(pixels: torch.Tensor) -> ImageSet:
    labels = torch.zeros(len(pixels), dtype=torch.int64)
    return ImageSet("noise", "calibration", labels, ("a",), lambda numbers: pixels[numbers])


def test_ranks_are_those_of_the_stacked_inputs() -> None:
    model, pixels = vit_cases.vit(), vit_cases.images(20)
    fractions = (0.5, 0.9, 0.99, 0.999)
    rows = input_ranks(model, image_set(pixels), workload_from_model(model), fractions, 8)
    seen = vit_cases.inputs_of(model, pixels)
    assert [row.layer for row in rows] == vit_cases.names(model) == list(seen)
    for row in rows:
        inputs = seen[row.layer].double().numpy()
        variance = np.linalg.svd(inputs - inputs.mean(0), compute_uv=False) ** 2
        assert row.inputs == inputs.shape[1] == len(variance)
        assert list(row.ranks) == list(fractions)
        for fraction, rank in row.ranks.items():
            assert variance[:rank].sum() >= fraction * variance.sum()
            assert variance[: rank - 1].sum() < fraction * variance.sum()
    assert len({row.ranks[0.99] for row in rows}) > 1


def test_few_images_bound_the_ranks() -> None:
    """One image that is all one colour: tokens differ by their position alone."""
    model = vit_cases.vit(embed_dim=64, num_heads=2)
    workload = workload_from_model(model)
    rows = input_ranks(model, image_set(torch.ones(1, 3, 16, 16)), workload)
    assert max(rank for row in rows for rank in row.ranks.values()) <= 16  # 17 tokens, centred


def test_directions_of_a_known_gram() -> None:
    gram = np.diag([1.0, 8.0, 0.0, 1.0])
    counts = [principal_directions(gram, fraction) for fraction in (0.1, 0.8, 0.85, 0.95)]
    assert counts == [1, 1, 2, 3]
    assert principal_directions(np.zeros((3, 3)), 0.9) == 0
    assert principal_directions(gram - 1e-12 * np.eye(4), 0.999) == 3  # rounding below zero


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan")])
def test_fractions_that_mean_nothing(fraction: float) -> None:
    model = vit_cases.vit()
    with pytest.raises(LspsimError, match="above 0 and below 1"):
        input_ranks(
            model, image_set(vit_cases.images(2)), workload_from_model(model), [0.9, fraction]
        )

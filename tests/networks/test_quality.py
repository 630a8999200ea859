from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from scipy.stats import binomtest
from torch import nn

from lspsim.errors import LspsimError
from lspsim.models.data.image_set import ImageSet
from lspsim.networks.quality import Quality, compare, quality, reference_logits


class Fixed(nn.Module):
    """Returns rows of a table; an image is its own row number."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(logits)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.table[images.long()]


def numbers(labels: torch.Tensor, classes: int = 5) -> ImageSet:
    return ImageSet("rows", "test", labels, tuple("abcde"[:classes]), torch.from_numpy)


@pytest.fixture
def logits() -> torch.Tensor:
    return 2 * torch.randn(40, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def images(logits: torch.Tensor) -> ImageSet:
    labels = logits.argmax(1)
    labels[::4] = (labels[::4] + 1) % 5  # the reference is wrong on a quarter
    return numbers(labels)


def test_the_dense_model_differs_from_itself_in_nothing(logits, images) -> None:
    model = Fixed(logits)
    found = quality(model, images, reference_logits(model, images), batch_size=7)
    assert found == Quality(0.75, 0.0, 40, 0, 0)
    assert found.p_value == 1.0


def test_against_definitions(logits, images) -> None:
    other = logits + torch.randn(40, 5, generator=torch.Generator().manual_seed(1))
    found = quality(Fixed(other), images, logits, batch_size=16)
    p, q = logits.double().softmax(1), other.double().softmax(1)
    assert found.kl_nats == pytest.approx(float((p * (p / q).log()).sum(1).mean()), rel=1e-9)
    right, before = other.argmax(1) == images.labels, logits.argmax(1) == images.labels
    assert found.top1 == pytest.approx(float(right.double().mean()))
    assert (found.lost, found.won) == (int((before & ~right).sum()), int((right & ~before).sum()))
    assert found.lost > 0
    assert found.top1 - 0.75 == pytest.approx((found.won - found.lost) / 40)


def test_quality_compares_logits_and_reads_each_image_once(logits, images) -> None:
    other = logits + torch.randn(40, 5, generator=torch.Generator().manual_seed(1))
    read: list[int] = []

    def count(chosen: np.ndarray) -> torch.Tensor:
        read.extend(chosen.tolist())
        return torch.from_numpy(chosen)

    found = quality(Fixed(other), replace(images, read=count), logits, batch_size=7)
    assert found == compare(other, images.labels, logits)
    assert read == list(range(40))


@pytest.mark.parametrize("seed", range(5))
def test_kl_is_never_negative(logits, images, seed: int) -> None:
    other = logits + 0.01 * torch.randn(40, 5, generator=torch.Generator().manual_seed(seed))
    assert quality(Fixed(other), images, logits).kl_nats > 0


@pytest.mark.parametrize(
    ("lost", "won"), [(0, 0), (1, 0), (3, 3), (10, 2), (2, 10), (150, 99), (700, 600)]
)
def test_mcnemar_is_the_exact_binomial_test(lost: int, won: int) -> None:
    expected = binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert Quality(0.5, 0.1, 2000, lost, won).p_value == pytest.approx(expected, rel=1e-9)


def test_logits_leave_the_model_as_it_was(logits, images) -> None:
    model = Fixed(logits).train()
    found = reference_logits(model, images, batch_size=9)
    assert model.training
    assert torch.equal(found, logits)
    assert not found.requires_grad


def test_other_classes_and_infinite_outputs_are_refused(logits, images) -> None:
    with pytest.raises(LspsimError, match=r"logits \(40, 5\), the reference \(40, 4\)"):
        quality(Fixed(logits), images, logits[:, :4])
    broken = logits.clone()
    broken[3, 1] = np.nan
    with pytest.raises(LspsimError, match="the model's outputs are not finite"):
        quality(Fixed(broken), images, logits)
    with pytest.raises(LspsimError, match="the reference's outputs are not finite"):
        compare(logits, images.labels, broken)
    with pytest.raises(LspsimError, match=r"logits \(40, 5\) for \(39,\) labels; give one"):
        compare(logits, images.labels[1:], logits)

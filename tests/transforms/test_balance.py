"""Balanced channels: the same outputs to the last bit, and weights of like size."""

from __future__ import annotations

import copy

import pytest

pytest.importorskip("torch")

import torch

from lspsim.transforms import balance_channels, rotate_heads
from tests.models import vit_cases as cases

WIDTH = 32


def norms(model, block=0):
    """Return the norms `[channels]` of Q, K and V rows, and of proj's columns."""
    attention = model.get_submodule(f"blocks.{block}.attn")
    q, k, v = attention.qkv.weight.detach().norm(dim=1).split(WIDTH)
    return q, k, v, attention.proj.weight.detach().norm(dim=0)


def unbalanced(**options):
    """Return a ViT whose value channels are up to 2^12 too small, and keys as much too large."""
    model = cases.vit(**options)
    scale = torch.logspace(0, 12, WIDTH, base=2)
    with torch.no_grad():
        for block in model.blocks:
            qkv, proj = block.attn.qkv, block.attn.proj
            _, k, v = (slice(i * WIDTH, (i + 1) * WIDTH) for i in range(3))
            for weights in filter(lambda x: x is not None, (qkv.weight, qkv.bias)):
                rows = scale.reshape(-1, *[1] * (weights.ndim - 1))
                weights[v] /= rows
                weights[k] *= rows
            proj.weight *= scale
    return model


@pytest.mark.parametrize("options", [{}, {"qkv_bias": False}])
def test_outputs_are_the_same_bits_and_channels_alike(options) -> None:
    model = unbalanced(**options)
    balanced = copy.deepcopy(model)
    balance_channels(balanced)
    with torch.no_grad():
        assert torch.equal(model(cases.images()), balanced(cases.images()))
    for block in (0, 1):
        q, k, v, out = norms(balanced, block)
        assert ((q / k).log2().abs() <= 1 + 1e-5).all()
        assert ((v / out).log2().abs() <= 1 + 1e-5).all()
        _, _, before, _ = norms(model, block)
        assert (before / v).log2().min() < -5


def test_what_is_balanced_stays() -> None:
    model = unbalanced()
    balance_channels(model)
    again = copy.deepcopy(model)
    balance_channels(again)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )


def test_zeros_stay_and_their_channels_are_left_alone() -> None:
    model = unbalanced()
    attention = model.get_submodule("blocks.0.attn")
    with torch.no_grad():
        attention.qkv.weight[2 * WIDTH : 2 * WIDTH + 8] = 0
        attention.proj.weight[:, 8:16] = 0
    before = copy.deepcopy(attention)
    balance_channels(model)
    assert torch.equal(attention.qkv.weight == 0, before.qkv.weight == 0)
    assert torch.equal(attention.proj.weight == 0, before.proj.weight == 0)
    assert torch.equal(attention.proj.weight[:, :8], before.proj.weight[:, :8])
    rows = slice(2 * WIDTH + 8, 2 * WIDTH + 16)
    assert torch.equal(attention.qkv.weight[rows], before.qkv.weight[rows])


def test_normalised_queries_and_values_are_left_alone() -> None:
    model = unbalanced(qk_norm=True)
    before = copy.deepcopy(model)
    balance_channels(model)
    for kept, now in zip(norms(before)[:2], norms(model)[:2], strict=True):
        assert torch.equal(kept, now)
    with torch.no_grad():
        assert torch.equal(model(cases.images()), before(cases.images()))


def test_rotated_heads_survive_a_step_of_adam() -> None:
    """What it is for: one step from the optimum of distillation, in both bases."""
    dense = cases.vit()
    found = cases.statistics(dense, cases.images())
    for statistics in found.values():
        statistics.row_gain *= 1e-6  # as far from the loss as a trained network is
    rotated = rotate_heads(dense, found)
    balanced = copy.deepcopy(rotated)
    balance_channels(balanced)
    losses = []
    for model in (rotated, balanced):
        optimizer = torch.optim.Adam(model.parameters(), lr=4e-4)
        wanted = dense(cases.images()).detach() + 1e-3
        (model(cases.images()) - wanted).square().sum().backward()
        optimizer.step()
        losses.append(float((model(cases.images()) - wanted).square().mean().detach()))
    assert losses[1] < losses[0] / 10

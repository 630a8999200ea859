"""Permutations and rotations change the weights and not the function."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from lspsim.errors import LspsimError, ModelError
from lspsim.models.torchvision_guard import import_timm
from lspsim.prune.compensate import block_obs
from lspsim.transforms import (
    Permutations,
    find_permutations,
    permute,
    rebase,
    removal_order,
    residual_obstacle,
    rotate_heads,
    rotate_residual,
)
from lspsim.transforms.residual import basis_with_ones
from lspsim.transforms.rotate import balancing_basis, value_basis
from tests.models import vit_cases as cases
from tests.prune.compensate import compensation_cases


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def same_logits(one, other, x=None):
    with torch.no_grad():
        x = cases.images(12, seed=5) if x is None else x
        wanted, got = one(x), other(x)
    assert wanted.std() > 0.05
    assert (wanted - got).abs().max() < 1e-4


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"qk_norm": True},
        {"init_values": 0.3},
        {"qkv_bias": False, "proj_bias": False, "init_values": 0.3},
    ],
)
@pytest.mark.parametrize("change", ["permute", "rotate", "values", "residual", "all"])
def test_logits_stay(options, change):
    model = cases.vit(**options)
    found = cases.statistics(model, cases.images())
    if change == "permute":
        result = permute(model, find_permutations(model, found))
    elif change == "rotate":
        result = rotate_heads(model, found)
    elif change == "values":
        result = rotate_heads(model, found, query_keys=False)
    elif change == "residual":
        result = rotate_residual(model, found)
    else:
        result = rotate_residual(model, found)
        result = rotate_heads(result, cases.statistics(result, cases.images()))
        orders = find_permutations(result, cases.statistics(result, cases.images()))
        result = permute(result, orders)
    same_logits(model, result)
    changed = [
        not torch.equal(a, b) for a, b in zip(model.parameters(), result.parameters(), strict=True)
    ]
    assert any(changed)


@pytest.mark.parametrize(
    "options",
    [{"global_pool": "avg"}, {"class_token": False, "global_pool": "avg", "reg_tokens": 2}],
)
def test_residual_rotation_with_other_poolings(options):
    model = cases.vit(**options)
    found = cases.statistics(model, cases.images())
    same_logits(model, rotate_residual(model, found))


def test_distilled_deit_rotates_both_heads():
    timm = import_timm()
    torch.manual_seed(0)
    model = timm.models.deit.VisionTransformerDistilled(
        img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=2, num_classes=7
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    found = cases.statistics(model, cases.images())
    same_logits(model, rotate_residual(model, found))


def test_swin_is_permuted_and_rotated():
    timm = import_timm()
    torch.manual_seed(0)
    model = timm.models.swin_transformer.SwinTransformer(
        img_size=32,
        patch_size=2,
        embed_dim=16,
        depths=(1, 2),
        num_heads=(2, 2),
        window_size=4,
        num_classes=5,
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(4, 3, 32, 32)
    found = cases.statistics(model, x)
    same_logits(model, permute(model, find_permutations(model, found)), x)
    same_logits(model, rotate_heads(model, found), x)
    with pytest.raises(ModelError, match="not timm's VisionTransformer"):
        rotate_residual(model, found)


@pytest.mark.parametrize("heads", ["keep", "permute", "rotate"])
@pytest.mark.parametrize("residual", [False, True])
def test_rebase_from_one_set_of_statistics(heads, residual):
    model = cases.vit(init_values=0.4)
    result, changes = rebase(model, cases.statistics(model, cases.images()), heads, residual)
    same_logits(model, result)
    assert set(changes.permutations.hidden) == {"blocks.0.mlp", "blocks.1.mlp"}
    assert len(changes.permutations.value) == (2 if heads == "permute" else 0)
    assert torch.equal(result.norm.weight, torch.ones(32)) == residual


def test_rebase_knows_its_options_and_obstacles():
    model = cases.vit()
    with pytest.raises(LspsimError, match="choose one of"):
        rebase(model, {}, "spin")
    assert residual_obstacle(model) == ""
    assert "pooling" in residual_obstacle(cases.vit(global_pool="max"))


def test_a_shift_that_no_bias_takes_and_no_norm_can_carry_is_an_obstacle():
    model = cases.vit(qkv_bias=False)
    assert residual_obstacle(model) == ""
    with torch.no_grad():
        model.blocks[1].norm1.weight[3] = 1e-6
    assert residual_obstacle(model).startswith("blocks.1.norm1 shifts a channel by more than 1000")
    with torch.no_grad():
        model.blocks[1].norm1.bias[3] = 0
    assert residual_obstacle(model) == ""


def test_removal_order_is_that_of_single_column_obs():
    weight, _, gram = compensation_cases.layer(1, 6, 20, rank=8)
    scale = np.random.default_rng(0).uniform(0.5, 2, 6)
    assert_array_equal(
        removal_order(weight, gram, scale), block_obs(weight, gram, 6, 1, scale).order
    )


def test_several_columns_per_step_find_nearly_the_same_half():
    weight, _, gram = compensation_cases.layer(2, 6, 80)
    exact, grouped = removal_order(weight, gram), removal_order(weight, gram, steps=27)
    assert_array_equal(np.sort(grouped), np.arange(80))
    assert len(set(grouped[:40]) & set(exact[:40])) >= 32


def test_orders_stay_within_heads_and_reorder_statistics():
    model, x = cases.vit(), cases.images()
    found = cases.statistics(model, x)
    orders = find_permutations(model, found)
    for order in [*orders.value.values(), *orders.query_key.values()]:
        assert_array_equal(order // 16, np.arange(32) // 16)
    permuted = permute(model, orders)
    again = cases.statistics(permuted, x)
    for name, (rows, columns) in orders.layer_orders().items():
        old, new = found[name], again[name]
        rows = np.arange(len(old.row_gain)) if rows is None else rows
        columns = np.arange(len(old.gram)) if columns is None else columns
        assert_allclose(new.weight, old.weight[rows][:, columns])
        assert_allclose(new.gram, old.gram[columns][:, columns], atol=1e-4)
        assert_allclose(new.row_gain, old.row_gain[rows], rtol=1e-2, atol=1e-5)


def test_query_key_order_follows_the_measured_products():
    model, x = cases.vit(), cases.images()
    orders = find_permutations(model, cases.statistics(model, x))
    rows = cases.inputs_of(model, x)["blocks.1.attn.qkv"]
    with torch.no_grad():
        out = model.blocks[1].attn.qkv(rows).double().numpy()
    products = (out[:, :32] ** 2).mean(0) * out[:, 32:64].var(0)
    ranked = products[orders.query_key["blocks.1.attn"]].reshape(2, 16)
    assert (np.diff(ranked, axis=1) > -1e-6).all()


def test_permutation_makes_blocks_cheaper():
    model, x = cases.vit(embed_dim=64), cases.images(64)
    with torch.no_grad():  # half of the hidden units hardly matter, in no order
        small = torch.randperm(256, generator=torch.Generator().manual_seed(0))[:128]
        model.blocks[0].mlp.fc2.weight[:, small] *= 0.05
    found = cases.statistics(model, x)["blocks.0.mlp.fc2"]
    before = block_obs(found.weight, found.gram, 16, 16)
    permuted = permute(model, find_permutations(model, cases.statistics(model, x)))
    found = cases.statistics(permuted, x)["blocks.0.mlp.fc2"]
    after = block_obs(found.weight, found.gram, 16, 16)
    half = len(before.order) // 2
    assert after.loss[half] < 0.5 * before.loss[half]


def test_value_basis_diagonalises_both():
    rng = np.random.default_rng(0)
    readout = torch.from_numpy(rng.standard_normal((20, 6)))
    root = torch.from_numpy(rng.standard_normal((6, 6)))
    basis = value_basis(readout, root @ root.T)
    columns = readout @ torch.linalg.inv(basis)
    assert_allclose((columns.T @ columns).numpy(), np.eye(6), atol=1e-4)
    covariance = (basis @ root @ root.T @ basis.T).numpy()
    assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-4)
    assert (np.diff(np.diag(covariance)) > 0).all()


def test_balancing_basis_makes_both_one_diagonal():
    rng = np.random.default_rng(1)
    a, b = (torch.from_numpy(rng.standard_normal((5, 5))) for _ in range(2))
    query, key = a @ a.T + torch.eye(5), b @ b.T + torch.eye(5)
    basis = balancing_basis(query, key)
    inverse = torch.linalg.inv(basis)
    first, second = basis @ query @ basis.T, inverse.T @ key @ inverse
    assert_allclose(first.numpy(), second.numpy(), atol=1e-9)
    assert_allclose(first.numpy(), np.diag(np.diag(first.numpy())), atol=1e-9)
    assert (np.diff(np.diag(first.numpy())) > 0).all()


def test_residual_basis_keeps_ones_and_gathers_variance():
    rng = np.random.default_rng(2)
    root = torch.from_numpy(rng.standard_normal((48, 6)))
    covariance = root @ root.T
    basis = basis_with_ones(covariance)
    assert_allclose((basis.T @ basis).numpy(), np.eye(48), atol=1e-9)
    assert_allclose(basis.sum(1).numpy(), 1, atol=1e-9)
    variance = (basis.T @ covariance @ basis).diagonal().numpy()
    assert variance[:32].sum() < 0.05 * variance.sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pre_norm": True}, "norm before the first block"),
        ({"num_classes": 0}, "no classifier"),
        ({"global_pool": "max"}, "pooling 'max'"),
        ({"embed_norm_layer": import_timm().layers.LayerNorm}, "norm before the positions"),
        ({"norm_layer": import_timm().layers.RmsNorm}, r"blocks\.0\.norm1 is no LayerNorm"),
        ({"mlp_layer": import_timm().layers.SwiGLU}, r"blocks\.0 holds a SwiGLU"),
    ],
)
def test_models_that_cannot_be_rotated_are_named(options, message):
    model = cases.vit(**options)
    with pytest.raises(ModelError, match=message):
        rotate_residual(model, {})


def test_missing_statistics_and_bad_orders_are_named():
    model = cases.vit()
    for act in (find_permutations, rotate_heads, rotate_residual):
        with pytest.raises(LspsimError, match=r"no calibration statistics of 'blocks\.0"):
            act(model, {})
    bad = Permutations({"blocks.0.mlp": np.zeros(128, np.int64)}, {}, {})
    with pytest.raises(LspsimError, match="no permutation of 128"):
        permute(model, bad)

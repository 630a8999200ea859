"""Sequential compensation of a small ViT against fits on rows held in full."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from lspsim.calibrate.blocked import element_keep
from lspsim.errors import LspsimError, ModelError
from lspsim.models.checkpoints import masks_from_weights
from lspsim.models.torchvision_guard import import_timm
from lspsim.networks.masks import apply_masks
from lspsim.prune.compensate import block_obs, compensate
from lspsim.prune.compensate.moments import Moments
from tests.models import vit_cases as cases


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices: a second thread costs more than it brings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batches(x, size=8):
    return list(x.split(size))


def stream(model, x, index):
    """Residual stream before block `index`, and after its attention."""
    held = []
    hook = model.blocks[index].register_forward_pre_hook(lambda _, args: held.append(args[0]))
    with torch.no_grad():
        model(x)
        hook.remove()
        block = model.blocks[index]
        return held[0], held[0] + block.ls1(block.attn(block.norm1(held[0])))


@pytest.mark.parametrize("options", [{}, {"init_values": 0.5}])
def test_each_layer_is_the_least_squares_fit_to_its_target(options):
    """Oracle: lstsq with an intercept, on the final network's own rows and the dense targets."""
    model, x = cases.vit(**options).double(), cases.images().double()
    masks = cases.random_masks(model, (8, 8), 0.6)
    done = compensate(model, masks, batches(x), damping=1e-10)
    seen, dense_seen = cases.inputs_of(done.model, x), cases.inputs_of(model, x)
    dense, pruned = dict(model.named_modules()), dict(done.model.named_modules())
    for name, mask in masks.items():
        index = int(name.split(".")[1])
        if name.endswith(("qkv", "fc1")):
            target = dense[name](dense_seen[name])
        else:
            before, middle = stream(done.model, x, index)
            _, dense_middle = stream(model, x, index)
            block = model.blocks[index]
            if name.endswith("proj"):
                target, scale = dense_middle - before, block.ls1
            else:
                after = dense_middle + block.ls2(block.mlp(block.norm2(dense_middle)))
                target, scale = after - middle, block.ls2
            target = target.flatten(0, 1) / getattr(scale, "gamma", 1.0)
        rows = seen[name].numpy()
        keep = element_keep(mask.keep, mask.shape, 8, 8)
        outputs = pruned[name](seen[name]).detach().numpy()
        for row in range(0, mask.shape[0], 11):
            design = np.column_stack([rows[:, keep[row]], np.ones(len(rows))])
            wanted = target[:, row].detach().numpy()
            # A norm's outputs lie in a hyperplane: the solution is not unique, its outputs are.
            best = design @ np.linalg.lstsq(design, wanted, rcond=None)[0]
            assert_allclose(outputs[:, row], best, atol=1e-5)


@pytest.mark.parametrize("method", ["none", "bias", "least-squares", "obs"])
def test_removed_blocks_are_zero_and_the_dense_model_is_untouched(method):
    model, x = cases.vit(), cases.images()
    before = copy.deepcopy(model.state_dict())
    masks = cases.random_masks(model, (16, 8), 0.5)
    anchors = {}
    if method == "obs":
        anchors = {name: dict(model.named_modules())[name].weight.detach() for name in masks}
    done = compensate(model, masks, batches(x), method, anchors=anchors)
    assert {k: m.keep.tolist() for k, m in masks_from_weights(done.model, 16, 8).items()} == {
        k: m.keep.tolist() for k, m in masks.items()
    }
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in done.model.parameters())
    done.model(x).sum().backward()  # it can be trained on


def test_methods_improve_on_each_other():
    model, x, fresh = cases.vit(), cases.images(48), cases.images(64, seed=9)
    masks = cases.random_masks(model, (8, 8), 0.7)
    with torch.no_grad():
        wanted = model(fresh)
        errors = {
            method: float(
                (compensate(model, masks, batches(x), method).model(fresh) - wanted).square().mean()
            )
            for method in ("none", "bias", "least-squares")
        }
    assert errors["least-squares"] < errors["bias"] < errors["none"]


def test_report_states_error_before_and_after():
    model, x = cases.vit(), cases.images()
    done = compensate(model, cases.random_masks(model, (8, 8), 0.5), batches(x), damping=0.02)
    assert [entry.name for entry in done.report] == cases.names(model)
    assert all(entry.error_after < entry.error_before for entry in done.report)
    assert all(0 < entry.error_after < 1 for entry in done.report)
    assert {entry.damping for entry in done.report} == {0.02}


def test_full_masks_leave_the_function_alone():
    model, x = cases.vit(), cases.images()
    done = compensate(model, {}, batches(x))
    with torch.no_grad():
        assert torch.allclose(done.model(x), model(x), atol=1e-4)


def test_progress_names_the_layers_in_order():
    model, seen = cases.vit(), []
    compensate(model, {}, [cases.images()], progress=seen.append)
    assert seen == cases.names(model)


def test_token_weights_fit_the_tokens_that_count():
    """With all weight on the class token its error falls below that of the plain fit."""
    model, x = cases.vit(), cases.images(200)
    masks = {"blocks.1.mlp.fc2": cases.random_masks(model, (8, 8), 0.4)["blocks.1.mlp.fc2"]}
    weight = torch.full((17,), 1e-3)
    weight[0] = 17.0
    plain = compensate(model, masks, batches(x, 50), damping=1e-6).model
    aimed = compensate(
        model, masks, batches(x, 50), damping=1e-6, token_weights={"blocks.1.mlp.fc2": weight}
    ).model
    with torch.no_grad():
        wanted = model(x)
        assert (aimed(x) - wanted).square().mean() < 0.8 * (plain(x) - wanted).square().mean()


def test_swin_is_walked_through_windows_shifts_and_merging():
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
    x = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    masks = cases.random_masks(model, (8, 8), 0.7)
    assert len(masks) == 12
    with torch.no_grad():
        same = compensate(model, {}, batches(x)).model
        assert torch.allclose(same(x), model(x), atol=1e-4)
        fitted = compensate(model, masks, batches(x)).model(x)
        masked = compensate(model, masks, [], "none").model(x)
        wanted = model(x)
    assert (fitted - wanted).square().mean() < 0.5 * (masked - wanted).square().mean()


def test_moments_equal_those_of_all_rows_at_once():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(90, 5, generator=rng, dtype=torch.float64) + 100
    z = torch.randn(90, 3, generator=rng, dtype=torch.float64) - 50
    w = torch.rand(90, generator=rng, dtype=torch.float64)
    moments = Moments("layer", reference_gram=True)
    for part in range(0, 90, 40):
        moments.add(x[part : part + 40], z[part : part + 40], w[part : part + 40])
    both = torch.cat([x, z], 1).T.numpy()
    expected = np.cov(both, aweights=w.numpy(), ddof=0)
    assert_allclose(moments.gram.numpy(), expected[:5, :5], atol=1e-12)
    assert_allclose(moments.cross.numpy(), expected[5:, :5], atol=1e-12)
    assert_allclose(moments.reference_gram.numpy(), expected[5:, 5:], atol=1e-12)
    assert_allclose(moments.input_mean.numpy(), np.average(x.numpy(), 0, w.numpy()), atol=1e-12)


def test_loss_in_nats_matches_the_measured_kl():
    """Half the row-scaled score is the KL per image of a linear softmax model.

    There only independence is left to assume: of gradients and inputs, and of
    outputs (many classes), both nearly true here.
    """
    torch.manual_seed(0)
    classes, tokens = 32, 3
    layer = nn.Linear(24, classes)
    with torch.no_grad():
        layer.weight.mul_(2)
        x = torch.randn(4000, tokens, 24) * torch.linspace(0.3, 1.5, 24)
        mean = x.mean((0, 1))

        def logits(weight):
            return (x @ weight.T + layer.bias + (layer.weight - weight) @ mean).mean(1)

        dense = logits(layer.weight)
        p = dense.softmax(1)
        gain = tokens * (p * (1 - p) / tokens**2).mean(0)  # E over labels of (p - y)^2, per token
        rows = (x - mean).flatten(0, 1).double()
        gram = rows.T @ rows / len(rows)
        found = block_obs(layer.weight, gram, 4, 4, gain.double().sqrt(), damping=1e-6)
        for removed in (8, 16):
            changed = logits(torch.from_numpy(found.weights_at(removed)).float())
            kl = (p * (dense.log_softmax(1) - changed.log_softmax(1))).sum(1).mean().item()
            assert found.loss[removed] == pytest.approx(kl, rel=0.1)


def test_bad_input_is_named():
    model, x = cases.vit(), cases.images()
    masks = cases.random_masks(model, (8, 8), 0.5)
    with pytest.raises(LspsimError, match="choose one of"):
        compensate(model, masks, batches(x), "magic")
    with pytest.raises(LspsimError, match="no calibration images"):
        compensate(model, masks, [])
    with pytest.raises(LspsimError, match="needs the block-OBS weights"):
        compensate(model, masks, batches(x), "obs")
    x[3, 0, 0, 0] = float("nan")
    with pytest.raises(LspsimError, match=r"blocks\.0\.attn\.qkv: activations hold NaN"):
        compensate(model, masks, batches(x))
    with pytest.raises(LspsimError, match="no linear layer"):
        apply_masks(model, {"blocks.9.mlp.fc1": masks["blocks.0.mlp.fc1"]})
    with pytest.raises(LspsimError, match="the model's is"):
        apply_masks(model, {"blocks.0.mlp.fc1": masks["blocks.0.mlp.fc2"]})
    with pytest.raises(ModelError, match="neither"):
        compensate(nn.Sequential(nn.Linear(4, 4)), {}, batches(x))

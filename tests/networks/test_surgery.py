"""Pruned points come back as they were; compact models compute what pruned ones do."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from lspsim.errors import LspsimError, ModelError, ResultError
from lspsim.models import load_state, masks_from_weights, workload_from_model
from lspsim.models.load import load_model
from lspsim.models.torchvision_guard import import_timm
from lspsim.networks.compact import compact, load_compact
from lspsim.networks.load import load_point
from lspsim.networks.masks import apply_masks
from lspsim.networks.record import (
    MASKS,
    WEIGHTS,
    AllocationRecord,
    Measured,
    PointRecord,
    write_point,
)
from lspsim.workload import BlockMask
from lspsim.workload.generate import random_masks
from lspsim.workload.mask_io import save_masks


def vit(**options):
    import_timm()
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    plain = {"img_size": 16, "patch_size": 4, "embed_dim": 96, "depth": 2, "num_heads": 3}
    model = VisionTransformer(**plain, num_classes=7, **options).eval()
    return _biased(model)


def swin():
    import_timm()
    from timm.models.swin_transformer import SwinTransformer

    torch.manual_seed(0)
    model = SwinTransformer(
        img_size=32,
        patch_size=4,
        embed_dim=32,
        depths=(2, 2),
        num_heads=(2, 4),
        window_size=4,
        num_classes=5,
    )
    return _biased(model.eval())


def _biased(model):
    """Give every bias and table a value: zeros would hide wrong folding."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.normal_(0, 0.5)
    return model


def images(model, count=4):
    side = model.patch_embed.img_size[0]
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def outputs(model, x):
    with torch.no_grad():
        return model(x)


def linear(model, name):
    return model.get_submodule(name)


def zero_head(model, path, head, side):
    """Prune a head: its proj columns ('unread') or its V rows ('constant')."""
    attn = model.get_submodule(path)
    dim = attn.proj.in_features // attn.num_heads
    part = slice(head * dim, (head + 1) * dim)
    with torch.no_grad():
        if side == "unread":
            attn.proj.weight[:, part] = 0
        else:
            attn.qkv.weight[2 * attn.proj.in_features :][part] = 0


def zero_neurons(model, path, units, side):
    mlp = model.get_submodule(path)
    with torch.no_grad():
        if side == "unread":
            mlp.fc2.weight[:, units] = 0
        else:
            mlp.fc1.weight[units] = 0


@pytest.mark.parametrize("side", ["unread", "constant"])
@pytest.mark.parametrize("make", [vit, swin])
def test_compact_models_compute_the_same(make, side):
    model = make()
    attns = [n for n, m in model.named_modules() if n.endswith(".attn")]
    paths = [n for n, m in model.named_modules() if n.endswith(".mlp")]
    zero_head(model, attns[0], 1, side)
    zero_head(model, attns[-1], 0, side)
    zero_neurons(model, paths[0], [*range(32, 64), 70], side)
    small = copy.deepcopy(model)
    removed = compact(small)
    assert removed.heads == {attns[0]: (1,), attns[-1]: (0,)}
    assert removed.neurons == {paths[0]: (*range(32, 64), 70)}
    x = images(model)
    torch.testing.assert_close(outputs(small, x), outputs(model, x), atol=1e-5, rtol=0)
    before, after = (sum(p.numel() for p in m.parameters()) for m in (model, small))
    assert after < before
    first = small.get_submodule(attns[0])
    dim = model.get_submodule(attns[0]).proj.in_features // model.get_submodule(attns[0]).num_heads
    assert first.qkv.out_features == 3 * dim * first.num_heads


@pytest.mark.parametrize("make", [vit, swin])
def test_compact_models_have_smaller_workloads(make):
    model = make()
    attn = next(n for n, _ in model.named_modules() if n.endswith(".attn"))
    mlp = attn.replace("attn", "mlp")
    zero_head(model, attn, 0, "unread")
    zero_neurons(model, mlp, list(range(64)), "constant")
    whole = workload_from_model(model)
    compact(model)
    small = workload_from_model(model)
    assert small.macs_dense < whole.macs_dense
    sizes = [{g.name: g for g in w.gemms} for w in (whole, small)]
    heads = model.get_submodule(attn).num_heads
    assert sizes[1][f"{attn}.qk"].batch * (heads + 1) == sizes[0][f"{attn}.qk"].batch * heads
    assert sizes[1][f"{mlp}.fc1"].n == sizes[0][f"{mlp}.fc1"].n - 64
    assert sizes[1][f"{mlp}.fc2"].k == sizes[0][f"{mlp}.fc2"].k - 64


def test_groups_keep_the_blocks_of_what_is_left():
    model = vit()
    zero_neurons(model, "blocks.0.mlp", list(range(40, 100)), "unread")
    before = masks_from_weights(model, 32, 32)["blocks.0.mlp.fc2"].keep
    assert compact(model, group=32).neurons == {"blocks.0.mlp": tuple(range(64, 96))}
    after = masks_from_weights(model, 32, 32)["blocks.0.mlp.fc2"].keep
    assert np.array_equal(after, np.delete(before, 2, axis=1))


def test_a_whole_model_stays_whole():
    model = vit()
    state = copy.deepcopy(model.state_dict())
    removed = compact(model)
    assert (removed.heads, removed.neurons) == ({}, {})
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_something_of_every_layer_stays():
    model = vit()
    for head in range(3):
        zero_head(model, "blocks.0.attn", head, "unread")
    zero_neurons(model, "blocks.0.mlp", list(range(384)), "unread")
    x = images(model)
    want = outputs(model, x)
    compact(model, group=32)
    assert model.blocks[0].attn.num_heads == 1
    assert model.blocks[0].mlp.fc1.out_features == 32
    torch.testing.assert_close(outputs(model, x), want, atol=1e-5, rtol=0)
    workload_from_model(model)


def test_constants_that_no_bias_can_take_stay():
    model = vit(proj_bias=False)
    zero_head(model, "blocks.0.attn", 0, "constant")
    zero_head(model, "blocks.1.attn", 0, "unread")
    x = images(model)
    want = outputs(model, x)
    assert compact(model).heads == {"blocks.1.attn": (0,)}
    torch.testing.assert_close(outputs(model, x), want, atol=1e-5, rtol=0)


def test_heads_that_a_norm_mixes_stay():
    model = vit(scale_attn_norm=True)
    zero_head(model, "blocks.0.attn", 0, "constant")
    x = images(model)
    want = outputs(model, x)
    assert compact(model).heads == {}
    torch.testing.assert_close(outputs(model, x), want, atol=1e-5, rtol=0)


def test_heads_with_normalised_queries_go():
    model = vit(qk_norm=True)
    zero_head(model, "blocks.0.attn", 2, "constant")
    x = images(model)
    want = outputs(model, x)
    assert compact(model).heads == {"blocks.0.attn": (2,)}
    torch.testing.assert_close(outputs(model, x), want, atol=1e-5, rtol=0)


def test_a_compact_state_loads_into_the_architecture():
    model = vit()
    zero_head(model, "blocks.1.attn", 1, "constant")
    zero_neurons(model, "blocks.0.mlp", list(range(10, 74)), "unread")
    compact(model)
    x = images(model)
    loaded = load_compact(vit(), model.state_dict())
    assert torch.equal(outputs(loaded, x), outputs(model, x))
    assert loaded.blocks[1].attn.num_heads == 2
    with pytest.raises(ModelError, match="are not 1 to 3 heads of 32"):
        load_compact(vit(), model.state_dict() | {"blocks.0.attn.qkv.weight": torch.zeros(100, 96)})
    with pytest.raises(ModelError, match=r"no matrix blocks.0.attn.qkv.weight"):
        load_compact(vit(), {})


def test_group_is_checked():
    with pytest.raises(LspsimError, match="at least 1 neuron"):
        compact(vit(), group=0)


def _record(name):
    measured = Measured(1000, 1e-3, 1e9, 10**6, None, None, 0)
    return PointRecord(
        label="cycles=0.5",
        model=name,
        data="noise",
        hardware="edge_32x32",
        block="32x32",
        score="random",
        allocate="uniform",
        compensate="none",
        budgets={"cycles": "0.5"},
        seed=0,
        sparsity=0.5,
        dense=measured,
        pruned=measured,
        allocation=AllocationRecord(1.0, 0.5, 1.0, 0.5, {"cycles": 1e-6}),
        damping={},
        provenance={},
    )


@pytest.fixture(scope="module")
def point(tmp_path_factory):
    """The shipped digits model with half of its blocks gone, on disk, and in memory."""
    model = load_model("lspsim/deit_digits")
    workload = workload_from_model(model)
    masks = random_masks(workload, sparsity=0.5, block_out=32, block_in=32, seed=3)
    apply_masks(model, masks)
    place = tmp_path_factory.mktemp("points") / "half"
    write_point(place, _record("lspsim/deit_digits"), model.state_dict(), masks)
    return place, model, masks


def test_a_point_comes_back_with_equal_outputs(point):
    place, model, masks = point
    found = load_point(place)
    conv = model.patch_embed.proj
    side = model.patch_embed.img_size[0]
    x = torch.randn(3, conv.in_channels, side, side, generator=torch.Generator().manual_seed(2))
    assert torch.equal(outputs(found.model, x), outputs(model, x))
    assert found.masks == masks
    assert found.record.label == "cycles=0.5"


def test_the_page_shows_how(point, tmp_path, monkeypatch):
    """The example of docs/pruning.md, on a point with dead neurons."""
    _, model, masks = point
    model = copy.deepcopy(model)
    keep = masks["blocks.0.mlp.fc2"].keep.copy()
    keep[:, 1:3] = False
    masks = masks | {"blocks.0.mlp.fc2": BlockMask(keep, 32, 32)}
    apply_masks(model, masks)
    page = Path(__file__).parents[2] / "docs" / "pruning.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (place,) = re.findall(r'Path\("(.*?)"\)', code)
    monkeypatch.chdir(tmp_path)
    Path(place).parent.mkdir(parents=True)
    write_point(Path(place), _record("lspsim/deit_digits"), model.state_dict(), masks)
    found = {}
    exec(code, found)
    gone = workload_from_model(model).macs_dense - found["small"].macs_dense
    dead = [
        (~masks[f"blocks.{i}.mlp.fc1"].keep.any(1) | ~masks[f"blocks.{i}.mlp.fc2"].keep.any(0))
        for i in range(2)
    ]
    assert dead[0][1:3].all()
    width, tokens = model.embed_dim, model.pos_embed.shape[1]
    assert gone == 2 * tokens * width * 32 * sum(int(blocks.sum()) for blocks in dead)
    assert [len(units) for units in found["removed"].neurons.values()] == [
        32 * int(blocks.sum()) for blocks in dead
    ]
    side = model.patch_embed.img_size[0]
    x = torch.randn(2, model.patch_embed.proj.in_channels, side, side)
    torch.testing.assert_close(outputs(found["again"], x), outputs(model, x), atol=1e-4, rtol=0)


def test_the_masks_are_found_from_the_zeros(point):
    place, _, masks = point
    assert masks_from_weights(load_state(place / WEIGHTS), 32, 32) == masks


def test_zeroing_equals_masking_in_the_forward_pass(point):
    """Against an independent masked dense model: weights times 0/1 at run time."""
    _, model, masks = point
    dense = load_model("lspsim/deit_digits")
    for name, mask in masks.items():
        layer = linear(dense, name)
        ones = np.kron(mask.keep, np.ones((mask.block_out, mask.block_in)))
        ones = torch.from_numpy(ones[: mask.shape[0], : mask.shape[1]].astype(np.float32))
        layer.forward = lambda x, layer=layer, ones=ones: torch.nn.functional.linear(
            x, layer.weight * ones, layer.bias
        )
    side = model.patch_embed.img_size[0]
    x = torch.randn(3, model.patch_embed.proj.in_channels, side, side)
    assert torch.equal(outputs(dense, x), outputs(model, x))


def test_files_that_do_not_belong_together_are_refused(point, tmp_path):
    place, _, masks = point
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in place.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    name = next(iter(masks))
    mask = masks[name]
    keep = mask.keep.copy()
    keep[tuple(np.argwhere(keep)[0])] = False
    save_masks(broken / MASKS, {**masks, name: BlockMask(keep, 32, 32, mask.shape)})
    with pytest.raises(ResultError, match="do not belong together"):
        load_point(broken)
    save_masks(broken / MASKS, {"blocks.9.mlp.fc1": mask})
    with pytest.raises(ResultError, match="which the model lacks"):
        load_point(broken)

"""What `full` does to every kind of ViT and Swin: the table in docs/pruning.md."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from lspsim.allocate.budgets import parse_budgets
from lspsim.errors import UnsupportedOperatorError
from lspsim.models import workload_from_model
from lspsim.models.data import ImageSet
from lspsim.models.torchvision_guard import import_timm
from lspsim.networks.quality import reference_logits
from lspsim.prune.pipeline import prepare, prune
from lspsim.prune.recipe import PruneRecipe
from lspsim.simulate.cost import SimulatorCost
from tests.models import vit_cases as cases
from tests.train.loop_cases import chip

LAYERS = import_timm().layers

ALL = {
    "residual stream": "rotated",
    "values": "rotated",
    "queries and keys": "rotated",
    "hidden units": "sorted",
}


def image_set(x: torch.Tensor) -> ImageSet:
    labels = torch.zeros(len(x), dtype=torch.int64)
    return ImageSet("made", "calibration", labels, tuple("abcdefg"), lambda n: x[np.asarray(n)])


def full(model: torch.nn.Module, x: torch.Tensor, recipe: PruneRecipe | None = None):
    workload = workload_from_model(model)
    ready = prepare(model, image_set(x), workload, recipe or PruneRecipe(8, 8))
    costs = SimulatorCost(chip(8), "analytic"), SimulatorCost(chip(8))
    return ready, prune(ready, workload, parse_budgets(["macs=0.5"]), *costs)


def check(build, x: torch.Tensor, kept: dict[str, str]):
    """Prune what `build` makes; return what was prepared and pruned."""
    model = build()
    ready, pruned = full(model, x)
    images = image_set(x)
    wanted = reference_logits(model, images)
    assert (reference_logits(ready.model, images) - wanted).abs().max() < 1e-4
    assert ready.changes is not None
    applied = ready.changes.applied
    assert {part: what for part, what in applied.items() if what != ALL[part]} == kept
    assert ready.notes[: len(kept)] == tuple(f"{part} {what}" for part, what in kept.items())
    again = build()  # plain timm takes the pruned weights, name for name
    again.load_state_dict(pruned.model.state_dict())
    found = reference_logits(again, images)
    assert torch.equal(found, reference_logits(pruned.model, images))
    for name, mask in pruned.masks.items():
        kept_weights = np.kron(mask.keep, np.ones((mask.block_out, mask.block_in)))
        weight = again.get_submodule(name).weight.detach().numpy()
        assert not weight[kept_weights[: mask.shape[0], : mask.shape[1]] == 0].any()
    return ready, pruned


STREAM, VALUES, PAIRS, HIDDEN = ALL
BEFORE = "scales each of its channels by itself"


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, {}),
        ({"qkv_bias": False}, {}),
        ({"proj_bias": False}, {}),
        ({"qkv_bias": False, "proj_bias": False}, {}),
        ({"init_values": 0.4}, {}),
        ({"class_token": False, "global_pool": "avg"}, {}),
        ({"reg_tokens": 2}, {}),
        ({"no_embed_class": True}, {}),
        ({"dynamic_img_size": True}, {}),
        ({"final_norm": False}, {}),
        ({"norm_layer": partial(LAYERS.LayerNorm, affine=False)}, {}),
        ({"norm_layer": partial(LAYERS.LayerNorm, bias=False)}, {}),
        (
            {"pre_norm": True},
            {STREAM: f"kept: a norm before the first block (norm_pre) {BEFORE}"},
        ),
        (
            {"embed_norm_layer": LAYERS.LayerNorm},
            {STREAM: f"kept: a norm before the positions (patch_embed.norm) {BEFORE}"},
        ),
        (
            {"global_pool": "max"},
            {STREAM: "kept: pooling 'max' does not rotate with the stream"},
        ),
        ({"qk_norm": True}, {PAIRS: "kept: a norm reads them"}),
        ({"scale_attn_norm": True}, {VALUES: "kept: a norm or a gate reads them before proj"}),
        ({"scale_mlp_norm": True}, {HIDDEN: "kept: a norm or a gate reads them before fc2"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_full_on_every_kind_of_vit(options, kept) -> None:
    check(lambda: cases.vit(**options), cases.images(32), kept)


def test_full_on_a_distilled_deit() -> None:
    def build():
        torch.manual_seed(0)
        deit = import_timm().models.deit.VisionTransformerDistilled
        model = deit(
            img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=2, num_classes=7
        ).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        return model

    check(build, cases.images(32), {})


def test_full_on_swin() -> None:
    def build():
        torch.manual_seed(0)
        swin = import_timm().models.swin_transformer.SwinTransformer
        return swin(
            img_size=32, patch_size=2, embed_dim=16, depths=(1, 1), num_heads=(2, 2),
            window_size=4, num_classes=7,
        ).eval()  # fmt: skip

    why = "kept: SwinTransformer is not timm's VisionTransformer"
    check(build, torch.randn(32, 3, 32, 32), {STREAM: why})


@pytest.mark.parametrize(
    "options",
    [
        {"mlp_layer": LAYERS.SwiGLU},
        {"mlp_layer": LAYERS.GluMlp},
        {"norm_layer": LAYERS.RmsNorm},
    ],
)
def test_what_is_not_modelled_is_refused_by_name(options) -> None:
    with pytest.raises(UnsupportedOperatorError, match="is not modelled here"):
        workload_from_model(cases.vit(**options))


def test_layers_without_bias_are_named_and_stay_without() -> None:
    ready, pruned = full(cases.vit(qkv_bias=False), cases.images(32))
    assert ready.notes == (
        "mean outputs: no bias restores those of 2 of 8 layers (blocks.0.attn.qkv, ...); "
        "their weights are fitted to them",
    )
    assert pruned.model.blocks[0].attn.qkv.bias is None
    assert not full(cases.vit(), cases.images(32))[0].notes


def test_refit_without_bias_is_least_squares_about_zero() -> None:
    """The first layer sees what the dense one sees: its refit is a regression without intercept."""
    model, x = cases.vit(qkv_bias=False), cases.images(32)
    _, pruned = full(model, x, PruneRecipe(8, 8, compensate="least-squares", damping=1e-9))
    name = "blocks.0.attn.qkv"
    rows = cases.inputs_of(model, x)[name].double()
    dense = model.get_submodule(name).weight.detach().double()
    found = pruned.model.get_submodule(name).weight.detach().double()
    mask = pruned.masks[name]
    keep = np.kron(mask.keep, np.ones((mask.block_out, mask.block_in))) > 0
    assert not keep.all()
    for row in range(len(dense)):
        columns = torch.from_numpy(np.flatnonzero(keep[row]))
        if len(columns):
            wanted = torch.linalg.lstsq(rows[:, columns], rows @ dense[row]).solution
            torch.testing.assert_close(found[row, columns], wanted, rtol=1e-4, atol=1e-4)

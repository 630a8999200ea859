"""What comes out of a model, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from lspsim.errors import ModelError, UnsupportedOperatorError, WorkloadError  # noqa: E402
from lspsim.models import workload_from_model  # noqa: E402
from lspsim.models.build import build_on_meta  # noqa: E402
from lspsim.models.torchvision_guard import import_timm  # noqa: E402
from lspsim.workload import BlockMask, Gemm, VectorOp, Workload  # noqa: E402

timm = import_timm()
TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}


def vit(**options: Any) -> Any:
    with torch.device("meta"):
        return timm.models.VisionTransformer(**{**TINY, "num_classes": 5, **options})


def by_name(workload: Workload) -> dict[str, Any]:
    return {op.name: op for op in workload.ops}


def test_deit_block_is_complete_and_wired() -> None:
    workload = workload_from_model("deit_base_patch16_224", batch=2)
    assert (workload.model, workload.batch, len(workload.ops)) == (
        "deit_base_patch16_224",
        2,
        3 + 12 * 13 + 2,
    )
    rows, scores = 2 * 197, 2 * 12 * 197
    norm = 2 * 768
    assert workload.ops[:3] == (
        Gemm("patch_embed.proj", 2 * 196, 768, 768, bias=True, inputs=("input",)),
        VectorOp("tokens.concat", "copy", 392, 768, ("patch_embed.proj",), rows, 768),
        VectorOp("pos_embed.add", "add", rows, 768, ("tokens.concat",), None, 197 * 768),
    )
    b = "blocks.0."
    assert workload.ops[3:16] == (
        VectorOp(b + "norm1", "layernorm", rows, 768, ("pos_embed.add",), None, norm),
        Gemm(b + "attn.qkv", rows, 768, 2304, bias=True, inputs=(b + "norm1",)),
        Gemm(
            b + "attn.qk", 197, 64, 197, 24, "activation", inputs=(b + "attn.qkv", b + "attn.qkv")
        ),
        VectorOp(b + "attn.scale", "scale", scores, 197, (b + "attn.qk",)),
        VectorOp(b + "attn.softmax", "softmax", scores, 197, (b + "attn.scale",)),
        Gemm(
            b + "attn.av",
            *(197, 197, 64, 24),
            "activation",
            inputs=(b + "attn.softmax", b + "attn.qkv"),
        ),
        Gemm(b + "attn.proj", rows, 768, 768, bias=True, inputs=(b + "attn.av",)),
        VectorOp(b + "add1", "add", rows, 768, (b + "attn.proj", "pos_embed.add")),
        VectorOp(b + "norm2", "layernorm", rows, 768, (b + "add1",), None, norm),
        Gemm(b + "mlp.fc1", rows, 768, 3072, bias=True, inputs=(b + "norm2",)),
        VectorOp(b + "mlp.act", "gelu", rows, 3072, (b + "mlp.fc1",)),
        Gemm(b + "mlp.fc2", rows, 3072, 768, bias=True, inputs=(b + "mlp.act",)),
        VectorOp(b + "add2", "add", rows, 768, (b + "mlp.fc2", b + "add1")),
    )
    assert workload.ops[-2:] == (
        VectorOp("norm", "layernorm", rows, 768, ("blocks.11.add2",), None, norm),
        Gemm("head", 2, 768, 1000, bias=True, inputs=("norm",)),
    )


def test_distilled_deit_has_one_more_token_and_two_heads() -> None:
    ops = workload_from_model("deit_base_distilled_patch16_224", batch=3).ops
    assert ops[-4:] == (
        Gemm("head", 3, 768, 1000, bias=True, inputs=("norm",)),
        Gemm("head_dist", 3, 768, 1000, bias=True, inputs=("norm",)),
        VectorOp("head.add", "add", 3, 1000, ("head", "head_dist")),
        VectorOp("head.mean", "scale", 3, 1000, ("head.add",)),
    )
    assert by_name(Workload(ops))["blocks.0.attn.qk"].m == 198


def test_swin_spells_out_windows_and_merging() -> None:
    named = by_name(workload_from_model("swin_tiny_patch4_window7_224"))
    first = [
        name.removeprefix("layers.0.blocks.0.") for name in named if "layers.0.blocks.0" in name
    ]
    assert first[:9] == [
        *("norm1", "partition", "attn.qkv", "attn.qk", "attn.scale", "attn.bias"),
        *("attn.softmax", "attn.av", "attn.proj"),
    ]
    assert first[9:] == ["reverse", "add1", "norm2", "mlp.fc1", "mlp.act", "mlp.fc2", "add2"]
    moved = [name for name in named if name.startswith("layers.0.blocks.1.")][1:3]
    assert moved == ["layers.0.blocks.1.shift", "layers.0.blocks.1.partition"]
    assert named["layers.0.blocks.1.attn.mask"] == VectorOp(
        "layers.0.blocks.1.attn.mask",
        *("add", 64 * 3 * 49, 49, ("layers.0.blocks.1.attn.bias",), None, 64 * 49 * 49),
    )
    assert named["layers.0.blocks.1.unshift"].inputs == ("layers.0.blocks.1.reverse",)
    assert named["layers.0.blocks.1.attn.qk"] == Gemm(
        "layers.0.blocks.1.attn.qk",
        *(49, 32, 49, 64 * 3, "activation"),
        inputs=("layers.0.blocks.1.attn.qkv",) * 2,
    )
    concat = named["layers.1.downsample.concat"]
    assert (concat.kind, concat.rows, concat.cols) == ("copy", 28 * 28, 4 * 96)
    reduction = named["layers.1.downsample.reduction"]
    assert (reduction.m, reduction.k, reduction.n, reduction.bias) == (784, 384, 192, False)
    # one window covers the last stage: nothing is shifted there
    assert "layers.3.blocks.1.shift" not in named
    pool = named["head.pool"]
    assert (pool.rows, pool.cols, pool.out_rows) == (49, 768, 1)
    assert named["head.fc"].m == 1


def test_swin_pads_windows_that_do_not_fit() -> None:
    named = by_name(workload_from_model("swin_tiny_patch4_window7_224", image_size=256))
    pad, crop = named["layers.0.blocks.0.pad"], named["layers.0.blocks.0.crop"]
    assert (pad.rows, pad.out_rows) == (64 * 64, 70 * 70)
    assert (crop.rows, crop.out_rows) == (70 * 70, 64 * 64)
    assert named["layers.0.blocks.0.attn.qkv"].m == 70 * 70


def test_optional_norms_and_scales_appear_where_they_run() -> None:
    model = vit(qk_norm=True, init_values=1e-5, scale_attn_norm=True, scale_mlp_norm=True)
    named = by_name(workload_from_model(model, batch=2))
    names = [name.removeprefix("blocks.0.") for name in named if name.startswith("blocks.0.")]
    assert names == [
        *("norm1", "attn.qkv", "attn.q_norm", "attn.k_norm", "attn.qk", "attn.scale"),
        *("attn.softmax", "attn.av", "attn.norm", "attn.proj", "ls1", "add1", "norm2"),
        *("mlp.fc1", "mlp.act", "mlp.norm", "mlp.fc2", "ls2", "add2"),
    ]
    q_norm = named["blocks.0.attn.q_norm"]
    assert (q_norm.rows, q_norm.cols, q_norm.inputs) == (2 * 3 * 17, 8, ("blocks.0.attn.qkv",))
    assert named["blocks.0.attn.qk"].inputs == ("blocks.0.attn.q_norm", "blocks.0.attn.k_norm")
    assert named["blocks.0.ls1"].kind == "scale"


def test_removed_heads_neurons_and_blocks_come_out_right() -> None:
    model = vit(depth=3)
    attn, mlp = model.blocks[0].attn, model.blocks[0].mlp
    attn.num_heads, attn.attn_dim = 2, 16
    with torch.device("meta"):
        attn.qkv, attn.proj = nn.Linear(24, 48), nn.Linear(16, 24)
        mlp.fc1, mlp.fc2 = nn.Linear(24, 40), nn.Linear(40, 24)
    model.blocks[1] = nn.Identity()
    with torch.no_grad():
        assert model.eval()(torch.zeros(1, 3, 32, 32, device="meta")).shape == (1, 5)
    named = by_name(workload_from_model(model))
    assert (named["blocks.0.attn.qkv"].n, named["blocks.0.attn.proj"].k) == (48, 16)
    assert (named["blocks.0.attn.qk"].batch, named["blocks.0.attn.qk"].k) == (2, 8)
    assert (named["blocks.0.mlp.fc1"].n, named["blocks.0.mlp.fc2"].k) == (40, 40)
    assert named["blocks.0.mlp.act"].cols == 40
    assert not any(name.startswith("blocks.1.") for name in named)
    assert named["blocks.2.norm1"].inputs == ("blocks.0.add2",)


def test_pruned_swin_heads_come_out_right() -> None:
    model = build_on_meta("swin_tiny_patch4_window7_224")
    attn = model.layers[0].blocks[0].attn
    attn.num_heads = 2
    with torch.device("meta"):
        attn.qkv, attn.proj = nn.Linear(96, 192), nn.Linear(64, 96)
    named = by_name(workload_from_model(model))
    assert named["layers.0.blocks.0.attn.qk"].batch == 64 * 2
    assert named["layers.0.blocks.0.attn.proj"].k == 64


def test_masks_find_their_weights() -> None:
    mask = BlockMask(np.zeros((9, 3), np.bool_), 8, 8)
    masked = by_name(workload_from_model(vit(), masks={"blocks.1.attn.qkv": mask}))
    assert masked["blocks.1.attn.qkv"].mask == mask
    assert masked["blocks.0.attn.qkv"].mask is None
    with pytest.raises(WorkloadError, match=r"'blocks.2.attn.qkv'"):
        workload_from_model(vit(), masks={"blocks.2.attn.qkv": mask})
    with pytest.raises(WorkloadError, match=r"'head'.*72x24.*5x24"):
        workload_from_model(vit(), masks={"head": mask})


def test_a_module_of_any_size_needs_one() -> None:
    dynamic = vit(dynamic_img_size=True)
    assert by_name(workload_from_model(dynamic, image_size=(64, 32)))["patch_embed.proj"].m == 32
    with pytest.raises(ModelError, match="60x32 is not a whole number of 8x8 patches"):
        workload_from_model(dynamic, image_size=(60, 32))
    with pytest.raises(
        ModelError, match=r"takes images of 32x32, not 64x64; call .*set_input_size"
    ):
        workload_from_model(vit(), image_size=64)


def test_a_headless_model_ends_with_its_norm() -> None:
    assert workload_from_model(vit(num_classes=0)).ops[-1].name == "norm"


def replaced(**parts: nn.Module) -> Any:
    model = vit()
    for path, part in parts.items():
        model.set_submodule(path.replace("__", "."), part)
    return model


class Doubling(nn.Linear):
    def forward(self, input: Any) -> Any:
        return 2 * super().forward(input)


class Odd(timm.models.VisionTransformer):
    def forward_features(self, x: Any, **_: Any) -> Any:
        return super().forward_features(x) * 2


def with_patched_forward() -> Any:
    model = vit()
    model.blocks[0].attn.forward = lambda x: x
    return model


def with_parameter() -> Any:
    model = vit()
    model.blocks[1].temperature = nn.Parameter(torch.ones(1))
    return model


def with_adapter() -> Any:
    model = vit()
    model.blocks[0].adapter = nn.Sequential(nn.Linear(24, 4), nn.Linear(4, 24))
    return model


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: replaced(blocks__0__mlp__act=nn.Tanh()), r"blocks.0.mlp.act: .*\.Tanh"),
        (lambda: replaced(blocks__1__norm2=nn.BatchNorm1d(24)), r"blocks.1.norm2: .*\.BatchNorm1d"),
        (lambda: replaced(blocks__1__attn__proj=Doubling(24, 24)), r"attn.proj: .*\.Doubling"),
        (lambda: replaced(blocks__1__mlp=timm.layers.SwiGLU(24)), r"blocks.1.mlp: .*\.SwiGLU"),
        (lambda: replaced(blocks__0__drop_path1=nn.Softplus()), r"drop_path1: .*\.Softplus"),
        (lambda: replaced(patch_embed__proj=nn.Conv2d(3, 24, 8, 4)), r"patch_embed.proj: Conv2d"),
        (with_adapter, r"blocks.0.adapter.0: .*\.Linear is in the model, but"),
        (with_parameter, r"blocks.1.temperature: .*\.Block"),
        (with_patched_forward, r"blocks.0.attn: .*\.Attention"),
        (lambda: Odd(**TINY), r"Odd is not a model whose forward pass is known; supported: .*swin"),
        (lambda: nn.Linear(3, 3), r"Linear: .* supported: .*VisionTransformer \(deit_"),
        (lambda: vit(global_pool="map"), "attn_pool: AttentionPoolLatent"),
        (lambda: vit(global_pool="avgmax"), "global_pool: 'avgmax'"),
        (lambda: vit(block_fn=timm.models.vision_transformer.ParallelScalingBlock), "blocks.0: "),
        (lambda: "resnet18", r"resnet18: .*ResNet"),
    ],
)
def test_what_nobody_models_is_named(make: Any, named: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=named):
        workload_from_model(make())


def test_gated_attention_is_named() -> None:
    model = vit()
    model.blocks[0].attn.gate = nn.Linear(24, 24, device="meta")
    with pytest.raises(UnsupportedOperatorError, match=r"blocks.0.attn.gate: .*Linear"):
        workload_from_model(model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model_or_name": "deit_bse_patch16_224"}, "no model 'deit_bse.*did you mean .*deit_base"),
        ({"model_or_name": "hf-hub:timm/deit_tiny_patch16_224.fb_in1k"}, "no model 'hf-hub:"),
        ({"model_or_name": "deit_tiny_patch16_224", "image_size": 0}, "positive integer.*got 0"),
        ({"model_or_name": "deit_tiny_patch16_224", "image_size": 8}, "8x8 is smaller than one"),
        ({"model_or_name": "deit_tiny_patch16_224", "batch": 0}, "at least 1, got 0"),
        ({"model_or_name": "resnet18", "image_size": 64}, "cannot build 'resnet18' at image size"),
    ],
)
def test_bad_requests(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        workload_from_model(**arguments)


def test_layers_that_do_not_fit_each_other() -> None:
    wide = replaced(blocks__0__mlp__fc2=nn.Linear(90, 24))
    with pytest.raises(
        ModelError, match=r"fc2: its weight has 90 input columns, but .* produces 96"
    ):
        workload_from_model(wide)
    stale = replaced(blocks__0__attn__qkv=nn.Linear(24, 50))
    with pytest.raises(ModelError, match=r"qkv has 50 output rows.*set num_heads and attn_dim"):
        workload_from_model(stale)

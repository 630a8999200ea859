"""Operators of timm's `SwinTransformer` (Swin-T/S/B).

The order is that of `SwinTransformer.forward` in timm 1.0. Moving data into
windows and back is spelled out as torch does it, one `copy` per step: cyclic
shift, padding, partition, reverse, crop, shift back. The relative-position
bias is gathered from its table ahead of time; adding it is an operator.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from lspsim.errors import UnsupportedOperatorError
from lspsim.models.operators.builder import OperatorBuilder, Tensor
from lspsim.models.operators.layers import attention, head_dim_of, mlp, patch_embedding
from lspsim.models.torchvision_guard import import_timm


def walk_swin(build: OperatorBuilder, model: Any, image_size: tuple[int, int] | None) -> None:
    """Emit the operators of one inference of `model`."""
    timm_swin = import_timm().models.swin_transformer
    x, height, width = patch_embedding(build, "patch_embed", image_size)
    for index, stage in enumerate(model.layers):
        path = f"layers.{index}"
        build.expect(path, timm_swin.SwinTransformerStage)
        if not build.is_identity(f"{path}.downsample"):
            x, height, width = _merge_patches(build, f"{path}.downsample", x, height, width)
        for block in range(len(stage.blocks)):
            x = _block(build, f"{path}.blocks.{block}", x, height, width)
    _head(build, model, build.norm("norm", x))


def _merge_patches(
    build: OperatorBuilder, path: str, x: Tensor, height: int, width: int
) -> tuple[Tensor, int, int]:
    """Emit `PatchMerging`: gather 2x2 neighbours, normalize, reduce."""
    build.expect(path, import_timm().models.swin_transformer.PatchMerging)
    padded = (height + height % 2, width + width % 2)
    if padded != (height, width):
        x = build.vector(f"{path}.pad", "copy", x, out=(build.images * padded[0] * padded[1], x[2]))
    height, width = padded[0] // 2, padded[1] // 2
    x = build.vector(f"{path}.concat", "copy", x, out=(build.images * height * width, 4 * x[2]))
    x = build.norm(f"{path}.norm", x)
    return build.linear(f"{path}.reduction", x), height, width


def _block(build: OperatorBuilder, path: str, x: Tensor, height: int, width: int) -> Tensor:
    """Emit a Swin block; a block replaced by an identity emits nothing."""
    if build.is_identity(path):
        return x
    module = build.expect(path, import_timm().models.swin_transformer.SwinTransformerBlock)
    y = build.norm(f"{path}.norm1", x)
    y = _windows(build, path, module, y, height, width)
    x = build.vector(f"{path}.add1", "add", y, x)
    y = build.norm(f"{path}.norm2", x)
    y = mlp(build, f"{path}.mlp", y)
    return build.vector(f"{path}.add2", "add", y, x)


def _windows(
    build: OperatorBuilder, path: str, module: Any, x: Tensor, height: int, width: int
) -> Tensor:
    """Emit (shifted) window attention with the moves into and out of the windows."""
    rows = x[1]
    shifted = any(module.shift_size)
    down, across = (
        -(-side // window) for side, window in zip((height, width), module.window_size, strict=True)
    )
    tokens = module.window_size[0] * module.window_size[1]
    windows = build.images * down * across
    if shifted:
        x = build.vector(f"{path}.shift", "copy", x)
    if windows * tokens != rows:
        x = build.vector(f"{path}.pad", "copy", x, out=(windows * tokens, x[2]))
    x = build.vector(f"{path}.partition", "copy", x)
    x = _attention(build, f"{path}.attn", x, windows, tokens, masked=shifted)
    x = build.vector(f"{path}.reverse", "copy", x)
    if windows * tokens != rows:
        x = build.vector(f"{path}.crop", "copy", x, out=(rows, x[2]))
    return build.vector(f"{path}.unshift", "copy", x) if shifted else x


def _attention(
    build: OperatorBuilder, path: str, x: Tensor, windows: int, tokens: int, *, masked: bool
) -> Tensor:
    """Emit `WindowAttention`; shifted windows also add a mask to the scores."""
    module = build.expect(path, import_timm().models.swin_transformer.WindowAttention)
    build.expect(f"{path}.softmax", nn.Softmax)
    build.place(f"{path}.relative_position_bias_table")
    qkv = build.linear(f"{path}.qkv", x)
    biases = {"bias": module.num_heads * tokens * tokens}
    if masked:
        biases["mask"] = windows // build.images * tokens * tokens
    y = attention(
        build,
        path,
        (qkv, qkv, qkv),
        sequences=windows,
        tokens=tokens,
        heads=module.num_heads,
        head_dim=head_dim_of(path, module.num_heads, qkv),
        biases=biases,
    )
    return build.linear(f"{path}.proj", y)


def _head(build: OperatorBuilder, model: Any, x: Tensor) -> None:
    """Emit timm's `ClassifierHead`: pooling, then a linear layer."""
    layers = import_timm().layers
    head = build.expect("head", layers.ClassifierHead)
    pool = build.expect("head.global_pool", layers.SelectAdaptivePool2d).pool_type
    build.place("head.global_pool.pool", "head.global_pool.flatten", "head.flatten")
    if pool in ("avg", "fastavg", "fast", "max", "fastmax"):
        x = build.vector("head.pool", "pool", x, out=(build.images, x[2]))
    elif pool:
        raise UnsupportedOperatorError(
            f"head.global_pool: {pool!r} is not modelled; known are avg and max"
        )
    if not isinstance(head.fc, nn.Identity):
        build.linear("head.fc", x)


def is_swin(model: nn.Module) -> bool:
    """Whether `model` runs the forward pass that `walk_swin` follows."""
    known = import_timm().models.swin_transformer.SwinTransformer
    steps = ("forward", "forward_features", "forward_head")
    return isinstance(model, known) and all(
        getattr(type(model), step) is getattr(known, step) and step not in vars(model)
        for step in steps
    )

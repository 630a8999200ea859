"""Operators of timm's `VisionTransformer` (ViT, DeiT) and its distilled variant.

The order is that of `VisionTransformer.forward` in timm 1.0. Attention is
spelled out as torch defines scaled dot-product attention (scores are scaled,
then softmax), whether or not the model runs it fused.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from lspsim.errors import UnsupportedOperatorError
from lspsim.models.operators.builder import OperatorBuilder, Tensor
from lspsim.models.operators.layers import attention, head_dim_of, mlp, patch_embedding
from lspsim.models.torchvision_guard import import_timm

_TOKENS = ("cls_token", "reg_token", "dist_token")


def walk_vit(build: OperatorBuilder, model: Any, image_size: tuple[int, int] | None) -> None:
    """Emit the operators of one inference of `model`."""
    x, height, width = patch_embedding(build, "patch_embed", image_size)
    patches = height * width
    prefix = [name for name in _TOKENS if getattr(model, name, None) is not None]
    extra = sum(getattr(model, name).shape[1] for name in prefix)
    build.place(*prefix, "pos_embed")
    tokens = patches + extra

    def add_positions(x: Tensor) -> Tensor:
        if model.pos_embed is None:
            return x
        stored = x[1] // build.images * x[2]
        return build.vector("pos_embed.add", "add", x, parameters=stored)

    if model.no_embed_class:
        x = add_positions(x)
    if prefix:
        x = build.vector(
            "tokens.concat", "copy", x, out=(build.images * tokens, x[2]), parameters=extra * x[2]
        )
    if not model.no_embed_class:
        x = add_positions(x)
    x = build.norm("norm_pre", x)
    for index in range(len(model.blocks)):
        x = _block(build, f"blocks.{index}", x, tokens)
    x = build.norm("norm", x)
    _head(build, model, x, tokens, extra)


def _block(build: OperatorBuilder, path: str, x: Tensor, tokens: int) -> Tensor:
    """Emit a pre-norm block; a block replaced by an identity emits nothing."""
    if build.is_identity(path):
        return x
    build.expect(path, import_timm().models.vision_transformer.Block)
    y = build.norm(f"{path}.norm1", x)
    y = _attention(build, f"{path}.attn", y, tokens)
    y = _layer_scale(build, f"{path}.ls1", y)
    x = build.vector(f"{path}.add1", "add", y, x)
    y = build.norm(f"{path}.norm2", x)
    y = mlp(build, f"{path}.mlp", y)
    y = _layer_scale(build, f"{path}.ls2", y)
    return build.vector(f"{path}.add2", "add", y, x)


def _attention(build: OperatorBuilder, path: str, x: Tensor, tokens: int) -> Tensor:
    """Emit timm's `Attention`; its optional gate is not modelled and is left unplaced."""
    module = build.expect(path, import_timm().layers.Attention)
    heads = module.num_heads
    qkv = build.linear(f"{path}.qkv", x)
    head_dim = head_dim_of(path, heads, qkv)
    per_head = (qkv[0], build.images * heads * tokens, head_dim)
    q = build.norm(f"{path}.q_norm", per_head)
    k = build.norm(f"{path}.k_norm", per_head)
    y = attention(
        build,
        path,
        (q, k, per_head),
        sequences=build.images,
        tokens=tokens,
        heads=heads,
        head_dim=head_dim,
    )
    return build.linear(f"{path}.proj", build.norm(f"{path}.norm", y))


def _layer_scale(build: OperatorBuilder, path: str, x: Tensor) -> Tensor:
    if build.is_identity(path):
        return x
    module = build.expect(path, import_timm().layers.LayerScale)
    return build.vector(path, "scale", x, parameters=module.gamma.numel())


def _head(build: OperatorBuilder, model: Any, x: Tensor, tokens: int, extra: int) -> None:
    """Emit pooling and classifier(s). Picking the class token's row moves nothing."""
    if model.attn_pool is not None:
        raise UnsupportedOperatorError(
            f"attn_pool: {type(model.attn_pool).__name__} is not modelled; "
            "build the model with global_pool='token' or 'avg'"
        )
    name, _, cols = x
    pool = model.global_pool
    if pool in ("avg", "max"):
        pooled = tokens if model.pool_include_prefix else tokens - extra
        x = build.vector(
            "pool", "pool", (name, build.images * pooled, cols), out=(build.images, cols)
        )
    elif pool == "token":
        x = (name, build.images, cols)
    elif pool:
        raise UnsupportedOperatorError(
            f"global_pool: {pool!r} is not modelled; known are token, avg and max"
        )
    x = build.norm("fc_norm", x)
    logits = _classifier(build, "head", x)
    if hasattr(model, "head_dist"):
        distilled = _classifier(build, "head_dist", x)
        both = build.vector("head.add", "add", logits, distilled)
        build.vector("head.mean", "scale", both)


def _classifier(build: OperatorBuilder, path: str, x: Tensor) -> Tensor:
    return x if build.is_identity(path) else build.linear(path, x)


def is_vit(model: nn.Module) -> bool:
    """Whether `model` runs the forward pass that `walk_vit` follows."""
    models = import_timm().models
    plain = models.vision_transformer.VisionTransformer
    distilled = models.deit.VisionTransformerDistilled
    known = distilled if isinstance(model, distilled) else plain
    steps = ("forward", "forward_features", "forward_head", "pool", "_pos_embed")
    return isinstance(model, plain) and all(
        getattr(type(model), step) is getattr(known, step) and step not in vars(model)
        for step in steps
    )

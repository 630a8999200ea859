"""Parts that vision transformers share: patch embedding, attention core, MLP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from lspsim.errors import ModelError, UnsupportedOperatorError
from lspsim.models.operators.builder import OperatorBuilder, Tensor
from lspsim.models.torchvision_guard import import_timm
from lspsim.workload.ops import INPUT, Gemm


def patch_embedding(
    build: OperatorBuilder, path: str, image_size: tuple[int, int] | None
) -> tuple[Tensor, int, int]:
    """Emit timm's `PatchEmbed`: a GEMM over patches, then its norm.

    A convolution whose stride is its kernel reads each pixel once, so it is a
    GEMM with K = channels x patch height x patch width.

    Returns
    -------
    The patches `[images * height * width, dim]`, and the grid's height and width.

    Raises
    ------
    ModelError
        When the model does not take images of that size.
    UnsupportedOperatorError
        When the projection is another kind of convolution.
    """
    embed = build.expect(path, import_timm().layers.PatchEmbed)
    conv = build.expect(f"{path}.proj", nn.Conv2d)
    if (
        conv.kernel_size != conv.stride
        or conv.padding not in ((0, 0), "valid")
        or conv.dilation != (1, 1)
        or conv.groups != 1
    ):
        raise UnsupportedOperatorError(
            f"{path}.proj: {conv} is not modelled; a patch embedding is a convolution whose "
            "stride is its kernel, without padding, dilation or groups"
        )
    height, width = _grid(path, embed, image_size)
    n, channels, patch_height, patch_width = conv.weight.shape
    m, k = build.images * height * width, channels * patch_height * patch_width
    build.ops.append(Gemm(f"{path}.proj", m, k, n, bias=conv.bias is not None, inputs=(INPUT,)))
    return build.norm(f"{path}.norm", (f"{path}.proj", m, n)), height, width


def attention(
    build: OperatorBuilder,
    path: str,
    qkv: tuple[Tensor, Tensor, Tensor],
    *,
    sequences: int,
    tokens: int,
    heads: int,
    head_dim: int,
    biases: Mapping[str, int] | None = None,
) -> Tensor:
    """Emit scaled dot-product attention between the qkv and the output projection.

    Parameters
    ----------
    build
        Where the operators go.
    path
        The attention module; operators are called `path.qk`, `path.scale`, ...
    qkv
        The tensors that Q, K and V are read from.
    sequences, tokens
        Independent sequences (images, or images x windows) and their length.
    heads, head_dim
        Heads and values per head.
    biases
        What is added to the scaled scores, in order: name, and its stored values.

    Returns
    -------
    The heads side by side, `[sequences * tokens, heads * head_dim]`.
    """
    q, k, v = (tensor[0] for tensor in qkv)
    groups = sequences * heads
    build.ops.append(
        Gemm(f"{path}.qk", tokens, head_dim, tokens, groups, "activation", inputs=(q, k))
    )
    scores = build.vector(f"{path}.scale", "scale", (f"{path}.qk", groups * tokens, tokens))
    for bias, stored in (biases or {}).items():
        scores = build.vector(f"{path}.{bias}", "add", scores, parameters=stored)
    weights, _, _ = build.vector(f"{path}.softmax", "softmax", scores)
    build.ops.append(
        Gemm(f"{path}.av", tokens, tokens, head_dim, groups, "activation", inputs=(weights, v))
    )
    return f"{path}.av", sequences * tokens, heads * head_dim


def head_dim_of(path: str, heads: int, qkv: Tensor) -> int:
    """Return the values per head of a joint QKV projection.

    Raises
    ------
    ModelError
        When the projection's rows are not three times whole heads.
    """
    if heads < 1 or qkv[2] % (3 * heads):
        raise ModelError(
            f"{path}: qkv has {qkv[2]} output rows, which is not 3 x num_heads ({heads}) x "
            "head_dim; after removing heads set num_heads and attn_dim to what is left"
        )
    return qkv[2] // (3 * heads)


def mlp(build: OperatorBuilder, path: str, x: Tensor) -> Tensor:
    """Emit timm's `Mlp`: fc1, activation, an optional norm, fc2."""
    build.expect(path, import_timm().layers.Mlp)
    x = build.linear(f"{path}.fc1", x)
    x = build.activation(f"{path}.act", x)
    x = build.norm(f"{path}.norm", x)
    return build.linear(f"{path}.fc2", x)


def _grid(path: str, embed: Any, image_size: tuple[int, int] | None) -> tuple[int, int]:
    """Return how many patches `embed` makes of an image, down and across."""
    size = image_size or embed.img_size
    if size is None:
        raise ModelError(f"{path}: this model takes images of any size; give image_size")
    shown = f"{size[0]}x{size[1]}"
    patch = f"{embed.patch_size[0]}x{embed.patch_size[1]}"
    if embed.strict_img_size and embed.img_size is not None and tuple(size) != embed.img_size:
        raise ModelError(
            f"{path}: this model takes images of {embed.img_size[0]}x{embed.img_size[1]}, not "
            f"{shown}; call model.set_input_size(img_size={tuple(size)}) first"
        )
    whole = size[0] % embed.patch_size[0] == 0 and size[1] % embed.patch_size[1] == 0
    if not whole and not embed.strict_img_size and not embed.dynamic_img_pad:
        raise ModelError(f"{path}: an image of {shown} is not a whole number of {patch} patches")
    height, width = embed.dynamic_feat_size(tuple(size))
    if height < 1 or width < 1:
        raise ModelError(f"{path}: an image of {shown} is smaller than one {patch} patch")
    return height, width

"""Who reads and writes the residual stream of a ViT, and whether it may be rotated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from lspsim.models.operators.vit import is_vit
from lspsim.models.torchvision_guard import import_timm

FURTHEST = 1e3
"""Largest shift of a norm, in units of its scale, that float32 weights can carry."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A norm on the stream, and the linear layers that read it.

    Parameters
    ----------
    path
        Module path of the norm.
    norm
        A LayerNorm; an identity where the classifier reads the stream as it is.
    readers
        All that read its output.
    """

    path: str
    norm: nn.Module
    readers: tuple[nn.Linear, ...]

    @property
    def scale(self) -> Any:
        """`[D]`; None where the norm has none."""
        return getattr(self.norm, "weight", None)

    @property
    def shift(self) -> Any:
        """`[D]`; None where the norm has none."""
        return getattr(self.norm, "bias", None)

    @property
    def keeps_shift(self) -> bool:
        """Whether the norm has a shift that a reader has no bias for."""
        unbiased = any(reader.bias is None for reader in self.readers)
        return unbiased and self.shift is not None and bool(self.shift.any())


def readings(model: nn.Module) -> Iterator[Reading]:
    """Yield every norm on the stream of a ViT with its readers, in the order they run."""
    vit: Any = model
    for index, block in enumerate(vit.blocks):
        yield Reading(f"blocks.{index}.norm1", block.norm1, (block.attn.qkv,))
        yield Reading(f"blocks.{index}.norm2", block.norm2, (block.mlp.fc1,))
    last = "fc_norm" if isinstance(vit.norm, nn.Identity) else "norm"
    yield Reading(last, getattr(vit, last), tuple(_heads(vit)))


def residual_obstacle(model: nn.Module) -> str:
    """Return why the residual stream of `model` cannot be rotated; "" where it can."""
    vit: Any = model
    if not is_vit(model):
        return f"{type(model).__name__} is not timm's VisionTransformer"
    if vit.global_pool not in ("token", "avg") or vit.attn_pool is not None:
        return f"pooling {vit.global_pool!r} does not rotate with the stream"
    for path, before in (("norm_pre", "first block"), ("patch_embed.norm", "positions")):
        if not isinstance(model.get_submodule(path), nn.Identity):
            return f"a norm before the {before} ({path}) scales each of its channels by itself"
    if not isinstance(vit.norm, nn.Identity) and not isinstance(vit.fc_norm, nn.Identity):
        return "its classifier reads the stream through two norms"
    if not _heads(vit):
        return "it has no classifier"
    for index, block in enumerate(vit.blocks):
        if obstacle := _block_obstacle(block):
            return f"blocks.{index} {obstacle}"
    for reading in readings(model):
        if obstacle := _norm_obstacle(reading):
            return f"{reading.path} {obstacle}"
    return ""


def _heads(vit: Any) -> list[nn.Linear]:
    heads = (getattr(vit, name, None) for name in ("head", "head_dist"))
    return [head for head in heads if isinstance(head, nn.Linear)]


def _block_obstacle(block: Any) -> str:
    """Return what else than qkv and fc1 may read the stream in a block, or write into it."""
    timm = import_timm()
    for part, known in (
        (block, timm.models.vision_transformer.Block),
        (getattr(block, "attn", None), timm.layers.Attention),
        (getattr(block, "mlp", None), timm.layers.Mlp),
    ):
        if not isinstance(part, known):
            return f"holds a {type(part).__name__}, not timm's {known.__name__}"
    gated = getattr(block.attn, "gate", None) is not None
    return "has a gate that reads the stream" if gated else ""


def _norm_obstacle(reading: Reading) -> str:
    if not isinstance(reading.norm, nn.LayerNorm):
        last = not reading.path.startswith("blocks.")
        return "" if last and isinstance(reading.norm, nn.Identity) else "is no LayerNorm"
    if reading.keeps_shift:
        far = reading.shift.abs() > FURTHEST * reading.scale.abs()
        if bool(far.any()):
            return (
                f"shifts a channel by more than {FURTHEST:g} times its scale, and the layer "
                "behind it has no bias to take the shift"
            )
    return ""

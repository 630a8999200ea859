"""Walk a transformer block by block, with the residual stream in hand.

What `VisionTransformer.forward` and `SwinTransformer.forward` of timm 1.0 do, cut
where the residual stream can be looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lspsim.errors import ModelError
from lspsim.models.operators.swin import is_swin
from lspsim.models.operators.vit import is_vit

Advance = Callable[[Any, Tensor], Tensor]
"""A piece of the forward pass: (the model, its input) -> its output."""


@dataclass(frozen=True, slots=True)
class Station:
    """One step of the walk: a transformer block, or what is between blocks.

    Parameters
    ----------
    block
        Module path of the block, or "" for a step without prunable layers.
    run
        The step as a function of the whole model and the stream before it.
    """

    block: str
    run: Advance


def stations(model: nn.Module) -> list[Station]:
    """Return the steps from images to the stream after the last block.

    Raises
    ------
    ModelError
        For a model whose forward pass is not known.
    """
    if is_vit(model):
        steps = [Station("", _vit_entry)]
        blocks: Any = model.blocks
        return steps + [_block(f"blocks.{index}") for index in range(len(blocks))]
    if is_swin(model):
        steps = [Station("", lambda m, x: m.patch_embed(x))]
        layers: Any = model.layers
        for number, layer in enumerate(layers):
            steps.append(Station("", _submodule(f"layers.{number}.downsample")))
            steps += [_block(f"layers.{number}.blocks.{i}") for i in range(len(layer.blocks))]
        return steps
    raise ModelError(
        f"compensation walks timm's VisionTransformer and SwinTransformer block by block; "
        f"{type(model).__name__} is neither, or overrides their forward pass"
    )


def leave(model: nn.Module, x: Tensor) -> Tensor:
    """Return the logits `[n, classes]` from the stream after the last step."""
    timm: Any = model
    result: Tensor = timm.forward_head(timm.norm(x))
    return result


def _vit_entry(model: Any, images: Tensor) -> Tensor:
    x = model._pos_embed(model.patch_embed(images))
    result: Tensor = model.norm_pre(model.patch_drop(x))
    return result


def _submodule(path: str) -> Advance:
    def run(model: Any, x: Tensor) -> Tensor:
        result: Tensor = model.get_submodule(path)(x)
        return result

    return run


def _block(path: str) -> Station:
    return Station(path, _submodule(path))


def attention_branch(block: Any, x: Tensor) -> Tensor:
    """Return the attention branch on normalised `x`, in token order, before LayerScale."""
    branch = block._attn if hasattr(block, "_attn") else block.attn
    result: Tensor = branch(x)
    return result


def scale_of(block: nn.Module, name: str) -> Tensor | None:
    """Return the factors `[D]` of a block's LayerScale `name`, or None where there is none."""
    gamma = getattr(getattr(block, name, None), "gamma", None)
    return gamma if isinstance(gamma, Tensor) else None


@contextmanager
def without(parent: nn.Module, name: str) -> Iterator[None]:
    """Let the child `name` of `parent` pass its input on for a while.

    With `proj` passed over, an attention returns what `proj` would get, in the
    order of the tokens whatever windows it works in.
    """
    child = getattr(parent, name)
    setattr(parent, name, nn.Identity())
    try:
        yield
    finally:
        setattr(parent, name, child)

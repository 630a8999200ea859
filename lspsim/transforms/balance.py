"""Balance: a head's channels are scaled so that both layers of a channel weigh the same.

Values may be scaled by any number if proj undoes it, and queries if keys do. Head
rotation (`lspsim.transforms.rotate`) makes channels whose values are small and
whose columns of proj are large, by factors of thousands. Nothing that is computed once
minds, but a gradient step does: Adam moves each weight by about the learning rate,
whatever its size, and proj enlarges what the values' rows were moved by.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lspsim.transforms.units import attentions


def balance_channels(model: nn.Module) -> None:
    """Scale value and query/key channels, in place; outputs stay the same to the last bit.

    After it the row of V and the column of proj of one channel have norms within a factor
    of two, and so have the rows of Q and K. Scales are powers of two, which float numbers
    take without rounding. Zeros stay zeros, so masks hold; channels with a side of zeros
    stay as they are, and so do those that something else reads (a norm, a gate).

    Parameters
    ----------
    model
        timm ViT or Swin.

    Raises
    ------
    ModelError
        When a qkv has not three rows per column of its proj.
    """
    modules: dict[str, Any] = dict(model.named_modules())
    for part in attentions(model):
        qkv, proj = modules[f"{part.path}.qkv"], modules[f"{part.path}.proj"]
        query, key, value = (slice(i * part.width, (i + 1) * part.width) for i in range(3))
        with torch.no_grad():
            if not part.value_norm:
                scale = _scale(qkv.weight[value].norm(dim=1), proj.weight.norm(dim=0))
                _multiply_rows(qkv, value, scale)
                proj.weight.div_(scale)
            if not part.qk_norm:
                scale = _scale(qkv.weight[query].norm(dim=1), qkv.weight[key].norm(dim=1))
                _multiply_rows(qkv, query, scale)
                _multiply_rows(qkv, key, 1 / scale)


def _scale(one: Tensor, other: Tensor) -> Tensor:
    """Return the powers of two `[channels]` s for which `one * s` is nearest to `other / s`."""
    both = (one > 0) & (other > 0)
    ratio = torch.where(both, other, 1.0) / torch.where(both, one, 1.0)
    return torch.exp2(torch.round(torch.log2(ratio) / 2))


def _multiply_rows(layer: nn.Linear, rows: slice, scale: Tensor) -> None:
    layer.weight[rows] *= scale[:, None]
    if layer.bias is not None:
        layer.bias[rows] *= scale

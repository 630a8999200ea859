"""`fold_norms`: the scales and shifts of a ViT's norms move into the layers that read them.

Norms that have neither do the same to every channel, so that the stream may be
rotated. Where a reader has no bias, the shift stays in its norm, in units of the
scale: `W (g * n + b) = (W g) (n + b / g)`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lspsim.transforms.stream import Reading, readings


def fold_norms(model: nn.Module) -> None:
    """Move scales and shifts of norms, and LayerScales, into linear layers, in place."""
    vit: Any = model
    with torch.no_grad():
        for reading in readings(model):
            _fold(reading)
        for block in vit.blocks:
            for scale, layer in ((block.ls1, block.attn.proj), (block.ls2, block.mlp.fc2)):
                if hasattr(scale, "gamma"):
                    layer.weight *= scale.gamma[:, None]
                    if layer.bias is not None:
                        layer.bias *= scale.gamma
                    scale.gamma.fill_(1)


def _fold(reading: Reading) -> None:
    scale, shift = reading.scale, reading.shift
    readers: Any = reading.readers
    if shift is not None and reading.keeps_shift:
        shift.copy_(torch.where(shift == 0, torch.zeros_like(shift), shift / scale))
    elif shift is not None:
        for reader in readers:
            if reader.bias is not None:
                reader.bias += reader.weight @ shift
        shift.zero_()
    if scale is not None:
        for reader in readers:
            reader.weight *= scale
        scale.fill_(1)

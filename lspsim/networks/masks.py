"""`apply_masks`: zeros where a mask removed blocks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from lspsim.calibrate.blocked import element_keep
from lspsim.errors import LspsimError
from lspsim.workload import BlockMask


def apply_masks(model: nn.Module, masks: Mapping[str, BlockMask]) -> None:
    """Set the removed blocks of `model`'s weights to zero, in place.

    Raises
    ------
    LspsimError
        When a mask names no linear layer, or is of another shape.
    """
    modules = dict(model.named_modules())
    for name, mask in masks.items():
        layer = modules.get(name)
        if not isinstance(layer, nn.Linear):
            raise LspsimError(f"mask {name!r}: the model has no linear layer of that name")
        if tuple(layer.weight.shape) != mask.shape:
            raise LspsimError(
                f"mask {name!r} is for a {mask.shape[0]}x{mask.shape[1]} weight, the model's is "
                f"{layer.weight.shape[0]}x{layer.weight.shape[1]}"
            )
        keep = element_keep(mask.keep, mask.shape, mask.block_out, mask.block_in)
        with torch.no_grad():
            layer.weight.mul_(torch.from_numpy(keep).to(layer.weight))

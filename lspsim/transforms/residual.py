"""Residual rotation: one basis for the stream that all blocks read and write.

Weights next to the residual stream may be rotated by an orthogonal matrix
without changing the network as long as the normalisation does not notice
(SliceGPT, Ashkboos et al. 2024, for RMSNorm). LayerNorm subtracts the mean over
channels, so it notices unless the rotation keeps the vector of ones; then mean and
variance over channels are what they were. There is enough freedom: any
orthonormal basis of the plane orthogonal to it can be reached up to a
reflection that moves only 1/width of the variance.

The principal directions of what qkv and fc1 read are sorted by variance, so
whole column-blocks carry next to nothing. Norms' scales and shifts move into
the layers that read them first (`lspsim.transforms.fold`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lspsim.calibrate.damped_gram import float64
from lspsim.errors import LspsimError, ModelError
from lspsim.transforms.fold import fold_norms
from lspsim.transforms.permute import InputStatistics
from lspsim.transforms.stream import readings, residual_obstacle


def rotate_residual(model: nn.Module, statistics: Mapping[str, InputStatistics]) -> nn.Module:
    """Return a copy of a ViT with its residual stream rotated; same function.

    Parameters
    ----------
    model
        timm ViT or DeiT in which `residual_obstacle` finds none.
    statistics
        Of its qkv and fc1 layers.

    Raises
    ------
    ModelError
        When the model is built otherwise.
    LspsimError
        When statistics of a layer are missing.
    """
    if obstacle := residual_obstacle(model):
        raise ModelError(f"residual rotation cannot be applied to this model: {obstacle}")
    result: Any = copy.deepcopy(model)
    covariance = torch.zeros(result.embed_dim, result.embed_dim, dtype=torch.float64)
    for index, block in enumerate(result.blocks):
        for name, norm in (("attn.qkv", block.norm1), ("mlp.fc1", block.norm2)):
            path = f"blocks.{index}.{name}"
            if path not in statistics:
                raise LspsimError(f"rotation: no calibration statistics of {path!r}")
            covariance += reader_covariance(statistics[path], norm)
    fold_norms(result)
    rotate_stream(result, basis_with_ones(covariance))
    rotated: nn.Module = result
    return rotated


def reader_covariance(found: InputStatistics, norm: nn.Module) -> Tensor:
    """Return the Gram of a norm's output before its scale, weighted by what it matters.

    The weight is the squared length of the reading layer's rows, each times
    its gain, per unit of variance: an estimate of the loss that one unit
    of input variance stands for.
    """
    gram, rows = float64(found.gram), float64(found.weight)
    if isinstance(norm.weight, Tensor):
        gamma = float64(norm.weight)
        safe = torch.where(gamma == 0, torch.ones_like(gamma), gamma)
        gram = gram / torch.outer(safe, safe)
        rows = rows * gamma
    importance = (rows.square().sum(1) * float64(found.row_gain)).sum()
    return gram * importance


def basis_with_ones(covariance: Tensor) -> Tensor:
    """Return an orthogonal Q `[D, D]` with `Q 1 = 1` that nearly diagonalises `covariance`.

    Columns are the new channels, by rising variance. P holds the principal
    directions orthogonal to the vector of ones and, last, that vector
    (normalised); Q = P R with the reflection R that exchanges P's last axis
    with the all-ones direction. So each channel is a principal direction up to
    a share of 1/D, and the last is a mixture of all.
    """
    size = len(covariance)
    ones = torch.full((size,), size**-0.5, dtype=covariance.dtype)
    centre = torch.eye(size, dtype=covariance.dtype) - torch.outer(ones, ones)
    # The ones direction is moved below all others, then replaced by itself exactly.
    inner = centre @ covariance @ centre
    floor = inner.diagonal().sum() + 1
    _, axes = torch.linalg.eigh(inner - floor * torch.outer(ones, ones))
    axes = torch.cat([axes[:, 1:], ones[:, None]], 1)
    last = torch.zeros_like(ones)
    last[-1] = 1
    mirror = ones - last
    length = mirror.square().sum()
    if length == 0:
        return axes
    return axes - 2 * torch.outer(axes @ mirror, mirror) / length


def rotate_stream(model: nn.Module, basis: Tensor) -> None:
    """Express the residual stream x of a ViT with folded norms as `x basis`, in place."""
    vit: Any = model

    def set_to(parameter: Tensor, value: Tensor) -> None:
        parameter.copy_(value.to(parameter))

    with torch.no_grad():
        patch = vit.patch_embed.proj
        flat = float64(patch.weight).flatten(1)
        set_to(patch.weight, (basis.mT @ flat).view_as(patch.weight))
        if patch.bias is not None:
            set_to(patch.bias, float64(patch.bias) @ basis)
        for name in ("cls_token", "dist_token", "reg_token", "pos_embed"):
            if isinstance(parameter := getattr(vit, name, None), Tensor):
                set_to(parameter, float64(parameter) @ basis)
        for block in vit.blocks:
            for writer in (block.attn.proj, block.mlp.fc2):
                set_to(writer.weight, basis.mT @ float64(writer.weight))
                if writer.bias is not None:
                    set_to(writer.bias, float64(writer.bias) @ basis)
        for reading in readings(model):
            if reading.shift is not None:
                set_to(reading.shift, float64(reading.shift) @ basis)
            for reader in reading.readers:
                set_to(reader.weight, float64(reader.weight) @ basis)

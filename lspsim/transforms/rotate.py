"""Head rotation: bases in which a head's channels are uncorrelated and ordered.

A head's values may be expressed in any basis A if proj undoes it, and queries
in A if keys are in A^-T: neither attention weights nor outputs change.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lspsim.calibrate.damped_gram import float64
from lspsim.errors import LspsimError
from lspsim.transforms.permute import InputStatistics
from lspsim.transforms.units import Attention, attentions

RIDGE = 1e-6
"""Added to second moments, relative to their mean diagonal, so that they can be inverted."""


def rotate_heads(
    model: nn.Module,
    statistics: Mapping[str, InputStatistics],
    values: bool = True,
    query_keys: bool = True,
) -> nn.Module:
    """Return a copy of `model` with rotated head channels; same function.

    Values: proj's columns become orthonormal (rows weighted by the square root
    of their gain) and the head's outputs uncorrelated, so each channel's variance
    is what losing it costs. Queries and keys: `E[q q^T]` and `Cov[k]` become one
    diagonal matrix, as in balanced truncation (Moore 1981). Channels run from
    the least to the most important in both.

    Parameters
    ----------
    model
        timm ViT or Swin.
    statistics
        Of qkv (query_keys) and proj (values) layers.
    values, query_keys
        Which bases to change. Attentions that normalise queries and keys keep
        those, and those with a norm before proj keep their values.

    Raises
    ------
    LspsimError
        When statistics of a layer are missing.
    """
    result = copy.deepcopy(model)
    modules: dict[str, Any] = dict(result.named_modules())
    for part in attentions(result):
        qkv, proj = modules[f"{part.path}.qkv"], modules[f"{part.path}.proj"]
        if values and not part.value_norm:
            _rotate_values(qkv, proj, part, _of(statistics, f"{part.path}.proj"))
        if query_keys and not part.qk_norm:
            _rotate_query_keys(qkv, part, _of(statistics, f"{part.path}.qkv"))
    return result


def _of(statistics: Mapping[str, InputStatistics], name: str) -> InputStatistics:
    if name not in statistics:
        raise LspsimError(f"rotation: no calibration statistics of {name!r} were collected")
    return statistics[name]


def value_basis(readout: Tensor, covariance: Tensor) -> Tensor:
    """Return A `[d, d]` with orthonormal columns of `readout A^-1` and diagonal `A cov A^T`.

    `readout` is `[N, d]`, `covariance` `[d, d]`, float64; variances ascend.
    """
    metric = _ridged(readout.mT @ readout)
    lengths, axes = torch.linalg.eigh(metric)
    root = axes * lengths.sqrt() @ axes.mT
    directions = torch.linalg.eigh(root @ covariance @ root).eigenvectors
    basis: Tensor = directions.mT @ root
    return basis


def balancing_basis(query: Tensor, key: Tensor) -> Tensor:
    """Return A `[d, d]` for which `A query A^T` and `A^-T key A^-1` are one diagonal matrix.

    Both are symmetric positive definite float64 `[d, d]`; the diagonal ascends.
    """
    lower = torch.linalg.cholesky(query)
    squares, axes = torch.linalg.eigh(lower.mT @ key @ lower)
    sizes = squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt()
    inverse = torch.linalg.solve_triangular(
        lower, torch.eye(len(lower), dtype=lower.dtype), upper=False
    )
    basis: Tensor = sizes.sqrt()[:, None] * (axes.mT @ inverse)
    return basis


def _rotate_values(
    qkv: nn.Linear, proj: nn.Linear, part: Attention, found: InputStatistics
) -> None:
    gram, weight = float64(found.gram), float64(proj.weight)
    gain = float64(found.row_gain).sqrt()[:, None]
    if not bool((gain > 0).any()):
        gain = torch.ones_like(gain)
    for head in range(part.heads):
        columns = slice(head * part.head_dim, (head + 1) * part.head_dim)
        basis = value_basis(gain * weight[:, columns], gram[columns, columns])
        rows = slice(2 * part.width + columns.start, 2 * part.width + columns.stop)
        _rotate_rows(qkv, rows, basis)
        with torch.no_grad():
            proj.weight[:, columns] = torch.linalg.solve(basis, weight[:, columns], left=False).to(
                proj.weight
            )


def _rotate_query_keys(qkv: nn.Linear, part: Attention, found: InputStatistics) -> None:
    weight, mean = float64(qkv.weight), float64(found.input_mean)
    covariance = float64(found.covariance)
    bias = torch.zeros(len(weight), dtype=torch.float64) if qkv.bias is None else float64(qkv.bias)
    centre = weight @ mean + bias
    for head in range(part.heads):
        q = slice(head * part.head_dim, (head + 1) * part.head_dim)
        k = slice(part.width + q.start, part.width + q.stop)
        second = weight[q] @ covariance @ weight[q].mT + torch.outer(centre[q], centre[q])
        spread = weight[k] @ covariance @ weight[k].mT
        basis = balancing_basis(_ridged(second), _ridged(spread))
        _rotate_rows(qkv, q, basis)
        _rotate_rows(qkv, k, torch.linalg.inv(basis).mT)


def _rotate_rows(layer: nn.Linear, rows: slice, basis: Tensor) -> None:
    with torch.no_grad():
        layer.weight[rows] = (basis @ float64(layer.weight[rows])).to(layer.weight)
        if layer.bias is not None:
            layer.bias[rows] = (basis @ float64(layer.bias[rows])).to(layer.bias)


def _ridged(matrix: Tensor) -> Tensor:
    mean = matrix.diagonal().mean()
    ridge = RIDGE * (mean if mean > 0 else torch.ones_like(mean))
    return matrix + ridge * torch.eye(len(matrix), dtype=matrix.dtype)

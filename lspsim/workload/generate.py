"""Make masks: at random with exact counts, or from a weight's zeros."""

from __future__ import annotations

import fnmatch
import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lspsim.errors import WorkloadError
from lspsim.workload.mask import BlockMask, ceil_div
from lspsim.workload.workload import Workload

PRUNABLE = re.compile(r"(^|\.)blocks\.\d+\.(attn\.(qkv|proj)|mlp\.(fc1|fc2))$")
"""Layers that block pruning removes blocks from: the linear layers of the blocks.

Patch embedding, patch merging and classifiers stay dense, as in LPViT
(ECCV 2024, arXiv 2407.02068).
"""


def prunable_names(workload: Workload) -> tuple[str, ...]:
    """Return the names of the weight GEMMs that pruning may remove blocks from, in order.

    Parameters
    ----------
    workload
        Of a vision transformer, named as timm names its layers.
    """
    return tuple(
        gemm.name
        for gemm in workload.gemms
        if gemm.rhs == "weight" and PRUNABLE.search(gemm.name) is not None
    )


def random_masks(
    workload: Workload,
    *,
    density: float | None = None,
    sparsity: float | None = None,
    block_out: int,
    block_in: int,
    seed: int = 0,
    per_layer: Mapping[str, float] | None = None,
    names: Iterable[str] | None = None,
) -> dict[str, BlockMask]:
    """Draw masks with an exact count of kept blocks per layer.

    A layer keeps `density` of its blocks, rounded to the nearest count (halves
    up). Each layer has its own stream, made from the seed and its name: adding
    a layer changes no other, and with one seed a sparser mask is a subset of a
    denser one. Streams are the raw output of PCG64, which numpy keeps stable
    between versions (NEP 19).

    Parameters
    ----------
    workload
        Gives the layers and their shapes.
    density, sparsity
        Kept or removed fraction of each layer's blocks, 0 to 1; give one.
    block_out, block_in
        Rows of N and columns of K per block.
    seed
        Non-negative.
    per_layer
        Density by shell pattern over names (`"blocks.*.mlp.*": 0.3`), instead
        of the common one; of several that match, the last counts.
    names
        Layers to mask; default: `prunable_names(workload)`.

    Raises
    ------
    WorkloadError
        On a density outside 0..1, both or neither of density and sparsity, a
        pattern that matches no layer, an unknown layer, or no layer at all.
    """
    common = _common_density(density, sparsity)
    weights = {gemm.name: gemm for gemm in workload.gemms if gemm.rhs == "weight"}
    chosen = tuple(names) if names is not None else prunable_names(workload)
    if unknown := [name for name in chosen if name not in weights]:
        raise WorkloadError(
            f"no weight GEMM is called {', '.join(map(repr, unknown))} in {workload.model!r}"
        )
    if not chosen:
        raise WorkloadError(
            f"{workload.model!r} has no layer called like a transformer block's linear layers "
            "(blocks.0.attn.qkv); say which to mask with names=[...]"
        )
    if seed < 0:
        raise WorkloadError(f"seed must not be negative, got {seed}")
    if block_out < 1 or block_in < 1:
        raise WorkloadError(f"block sizes must be at least 1, got {block_out}x{block_in}")
    densities = dict.fromkeys(chosen, common)
    for pattern, value in (per_layer or {}).items():
        matched = fnmatch.filter(chosen, pattern)
        if not matched:
            raise WorkloadError(
                f"per_layer: the pattern {pattern!r} matches none of the {len(chosen)} layers "
                f"to mask, the first of which is {chosen[0]!r}"
            )
        densities.update(dict.fromkeys(matched, _fraction(f"per_layer[{pattern!r}]", value)))
    return {
        name: _draw(name, weights[name].n, weights[name].k, fraction, block_out, block_in, seed)
        for name, fraction in densities.items()
    }


def mask_from_weight(weight: NDArray[Any], block_out: int, block_in: int) -> BlockMask:
    """Return the mask of a weight `[N, K]`: blocks that are all zero are removed.

    Parameters
    ----------
    weight
        Numbers or bools; a NaN counts as kept.
    block_out, block_in
        Rows of N and columns of K per block; the last ones may be ragged.

    Raises
    ------
    WorkloadError
        When the weight is not a matrix, is empty, or a block size is below 1.
    """
    if weight.ndim != 2 or weight.size == 0:
        raise WorkloadError(f"a weight must be a matrix [N, K], got shape {weight.shape}")
    if block_out < 1 or block_in < 1:
        raise WorkloadError(f"block sizes must be at least 1, got {block_out}x{block_in}")
    n, k = weight.shape
    rows, cols = ceil_div(n, block_out), ceil_div(k, block_in)
    nonzero = np.zeros((rows * block_out, cols * block_in), np.bool_)
    nonzero[:n, :k] = weight != 0
    blocks = nonzero.reshape(rows, block_out, cols, block_in)
    keep: NDArray[np.bool_] = np.logical_or.reduce(blocks, axis=(1, 3))
    return BlockMask(keep, block_out, block_in, shape=(n, k))


def _common_density(density: float | None, sparsity: float | None) -> Fraction:
    if density is not None and sparsity is None:
        return _fraction("density", density)
    if sparsity is not None and density is None:
        return 1 - _fraction("sparsity", sparsity)
    raise WorkloadError(
        f"give either density or sparsity, got density={density}, sparsity={sparsity}"
    )


def _fraction(label: str, value: float) -> Fraction:
    """Return `value` as the decimal number it was written as."""
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise WorkloadError(f"{label} must be between 0 and 1, got {value}")
    return Fraction(str(float(value)))


def _draw(
    name: str, n: int, k: int, density: Fraction, block_out: int, block_in: int, seed: int
) -> BlockMask:
    rows, cols = ceil_div(n, block_out), ceil_div(k, block_in)
    blocks = rows * cols
    kept = math.floor(density * blocks + Fraction(1, 2))
    entropy = [seed, int.from_bytes(hashlib.sha256(name.encode()).digest(), "little")]
    raw = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(blocks)
    keep = np.zeros(blocks, np.bool_)
    keep[np.argsort(raw, kind="stable")[:kept]] = True
    return BlockMask(keep.reshape(rows, cols), block_out, block_in, shape=(n, k))

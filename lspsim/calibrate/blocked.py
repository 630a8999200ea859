"""Weights and Grams cut into blocks, ragged edges padded."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lspsim.errors import LspsimError
from lspsim.workload.mask import ceil_div


def check_layer(weight: Tensor, gram: Tensor, block_out: int, block_in: int) -> None:
    """Check that a weight, its input Gram and a block size fit each other.

    Raises
    ------
    LspsimError
        Naming what does not fit.
    """
    if weight.ndim != 2 or gram.shape != (weight.shape[1], weight.shape[1]):
        raise LspsimError(
            f"a weight [N, K] needs an input Gram [K, K]; got {tuple(weight.shape)} and "
            f"{tuple(gram.shape)}"
        )
    if block_out < 1 or block_in < 1:
        raise LspsimError(f"block sizes must be at least 1, got {block_out}x{block_in}")


def element_keep(
    keep: NDArray[np.bool_], shape: tuple[int, int], block_out: int, block_in: int
) -> NDArray[np.bool_]:
    """Return a block mask per weight: bool `[N, K]`."""
    rows = np.repeat(keep, block_out, axis=0)[: shape[0]]
    return np.repeat(rows, block_in, axis=1)[:, : shape[1]]


def padded_weight(weight: Tensor, block_out: int, block_in: int) -> Tensor:
    """Return `weight` as `[rows, block_out, cols * block_in]`, padded with zeros."""
    out, inputs = weight.shape
    rows, cols = ceil_div(out, block_out), ceil_div(inputs, block_in)
    result = weight.new_zeros(rows * block_out, cols * block_in)
    result[:out, :inputs] = weight
    return result.view(rows, block_out, cols * block_in)


def padded_inverse(inverse: Tensor, block_in: int) -> Tensor:
    """Return an inverse Gram `[K, K]` with padded inputs that touch no other."""
    size = inverse.shape[0]
    full = ceil_div(size, block_in) * block_in
    if full == size:
        return inverse
    result = torch.eye(full, dtype=inverse.dtype)
    result[:size, :size] = inverse
    return result

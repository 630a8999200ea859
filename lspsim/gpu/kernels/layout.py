"""A pruned weight as torch's BSR arrays, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lspsim.errors import LspsimError
from lspsim.workload.mask import BlockMask


@dataclass(frozen=True, slots=True, eq=False)
class BsrWeight:
    """Kept blocks of `W[N, K]`, row of blocks by row of blocks.

    Parameters
    ----------
    crow
        int32 `[rows + 1]`: where each row of blocks begins in `values`.
    col
        int32 `[kept]`: column of each kept block.
    values
        `[kept, block_out, block_in]`; ragged edges are filled up with zeros.
    shape
        The real `(N, K)`.
    """

    crow: Tensor
    col: Tensor
    values: Tensor
    shape: tuple[int, int]


def pack(weight: Tensor, mask: BlockMask) -> BsrWeight:
    """Return the kept blocks of `weight [N, K]`, on its device; what the mask removes is dropped.

    Raises
    ------
    LspsimError
        When the mask is for a weight of another shape.
    """
    if tuple(weight.shape) != mask.shape:
        raise LspsimError(
            f"the mask is for a {mask.shape[0]}x{mask.shape[1]} weight, this one is "
            f"{'x'.join(map(str, weight.shape))}; take the mask of this layer"
        )
    rows, cols = mask.keep.shape
    missing_n = rows * mask.block_out - mask.shape[0]
    missing_k = cols * mask.block_in - mask.shape[1]
    padded = functional.pad(weight.detach(), (0, missing_k, 0, missing_n))
    blocks = padded.view(rows, mask.block_out, cols, mask.block_in).transpose(1, 2)
    keep = torch.from_numpy(mask.keep.copy()).to(weight.device)
    crow = np.concatenate([[0], np.cumsum(mask.keep.sum(axis=1))]).astype(np.int32)
    col = np.nonzero(mask.keep)[1].astype(np.int32)
    return BsrWeight(
        torch.from_numpy(crow).to(weight.device),
        torch.from_numpy(col).to(weight.device),
        blocks[keep].contiguous(),
        mask.shape,
    )


def unpack(weight: BsrWeight) -> Tensor:
    """Return the dense `[N, K]` weight, zero where no block is kept."""
    n, k = weight.shape
    block_out, block_in = weight.values.shape[1:]
    rows, cols = weight.crow.numel() - 1, -(-k // block_in)
    blocks = weight.values.new_zeros(rows, cols, block_out, block_in)
    row = torch.repeat_interleave(
        torch.arange(rows, device=weight.crow.device), weight.crow.diff().long()
    )
    blocks[row, weight.col.long()] = weight.values
    dense = blocks.transpose(1, 2).reshape(rows * block_out, cols * block_in)
    return dense[:n, :k].contiguous()


def masked(weight: Tensor, mask: BlockMask) -> Tensor:
    """Return a copy of `weight [N, K]` with its removed blocks set to zero.

    Raises
    ------
    LspsimError
        When the mask is for a weight of another shape.
    """
    return unpack(pack(weight, mask))

"""`BlockSparseLinear`: a linear layer that stores and multiplies its kept blocks only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lspsim.errors import LspsimError
from lspsim.gpu.kernels.adapter import block_sparse_linear
from lspsim.gpu.kernels.layout import BsrWeight, pack, unpack
from lspsim.gpu.kernels.tile import check_block, dtype_name
from lspsim.workload.mask import BlockMask


class BlockSparseLinear(nn.Module):
    """`y = x @ W^T + bias` with a BSR weight, for inference.

    Parameters
    ----------
    weight
        The kept blocks of `W [N, K]`.
    bias
        `[N]` or None.

    Raises
    ------
    LspsimError
        On a block or dtype that the kernel does not take.
    """

    crow: Tensor
    col: Tensor
    values: Tensor
    bias: Tensor | None

    def __init__(self, weight: BsrWeight, bias: Tensor | None = None) -> None:
        super().__init__()
        check_block(*weight.values.shape[1:])
        dtype_name(weight.values.dtype)
        self.out_features, self.in_features = weight.shape
        self.register_buffer("crow", weight.crow)
        self.register_buffer("col", weight.col)
        self.register_buffer("values", weight.values)
        self.register_buffer("bias", None if bias is None else bias.detach())

    @classmethod
    def from_linear(cls, linear: nn.Linear, mask: BlockMask) -> BlockSparseLinear:
        """Return the layer with the blocks that the mask keeps, and a copy of the bias.

        Raises
        ------
        LspsimError
            When the mask is of another shape, or its block or the dtype is one that the
            kernel does not take.
        """
        check_block(mask.block_out, mask.block_in)
        bias = None if linear.bias is None else linear.bias.detach().clone()
        return cls(pack(linear.weight, mask), bias)

    @property
    def block(self) -> tuple[int, int]:
        """Rows of N and columns of K per block."""
        block_out, block_in = self.values.shape[1:]
        return block_out, block_in

    def dense_weight(self) -> Tensor:
        """Return `W [N, K]`, zero where no block is kept."""
        return unpack(self._bsr())

    def forward(self, x: Tensor) -> Tensor:
        """Return `[..., N]` for `x [..., K]`."""
        if x.shape[-1] != self.in_features:
            raise LspsimError(
                f"the layer takes {self.in_features} features, got {x.shape[-1]} (shape "
                f"{list(x.shape)})"
            )
        return block_sparse_linear(
            x, self.crow, self.col, self.values, self.bias, self.out_features
        )

    def extra_repr(self) -> str:
        """Return sizes, block and density, as torch prints modules."""
        rows, cols = self.crow.numel() - 1, -(-self.in_features // self.block[1])
        kept = self.values.shape[0] / (rows * cols)
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, block={self.block[0]}x{self.block[1]}, "
            f"blocks_kept={kept:.3f}"
        )

    def _bsr(self) -> BsrWeight:
        shape = (self.out_features, self.in_features)
        return BsrWeight(self.crow, self.col, self.values, shape)


def copy_of(layer: BlockSparseLinear) -> BlockSparseLinear:
    """Return the same layer over memory of its own."""
    weight = BsrWeight(
        layer.crow.clone(),
        layer.col.clone(),
        layer.values.clone(memory_format=torch.contiguous_format),
        (layer.out_features, layer.in_features),
    )
    return BlockSparseLinear(weight, None if layer.bias is None else layer.bias.clone())

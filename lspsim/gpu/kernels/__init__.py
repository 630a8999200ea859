"""Block-sparse linear layers on a GPU: one adapter over torch's BSR kernel, and its users."""

from lspsim.gpu.kernels.adapter import block_sparse_linear
from lspsim.gpu.kernels.layout import BsrWeight, pack, unpack
from lspsim.gpu.kernels.linear import BlockSparseLinear
from lspsim.gpu.kernels.sparsify import (
    LayerChoice,
    LayerLatency,
    LayerTimes,
    choice_table,
    sparsify,
)
from lspsim.gpu.kernels.tile import Tile

__all__ = [
    "BlockSparseLinear",
    "BsrWeight",
    "LayerChoice",
    "LayerLatency",
    "LayerTimes",
    "Tile",
    "block_sparse_linear",
    "choice_table",
    "pack",
    "sparsify",
    "unpack",
]

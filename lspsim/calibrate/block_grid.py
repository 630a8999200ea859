"""`BlockGrid`: how a layer's weight is cut into blocks, and where blocks may not lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import nn

from lspsim.calibrate.streaming import linear_layers
from lspsim.errors import LspsimError

BlockSide = int | Mapping[str, int]
"""One block height (or width) for all layers, or one per layer name."""


@dataclass(frozen=True, slots=True)
class BlockGrid:
    """Blocks of one weight matrix.

    Parameters
    ----------
    name
        Module path of the layer.
    shape
        `(N, K)` of the weight.
    block_out, block_in
        Rows of N and columns of K per block; the last ones may be ragged.
    """

    name: str
    shape: tuple[int, int]
    block_out: int
    block_in: int

    @property
    def grid(self) -> tuple[int, int]:
        """Blocks along N and K."""
        return -(-self.shape[0] // self.block_out), -(-self.shape[1] // self.block_in)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.grid[0] * self.grid[1]

    def pool(self, values: ArrayLike) -> NDArray[np.float64]:
        """Sum `[N, K]` values over each block: float64 `[blocks]`, row-major."""
        rows = np.arange(0, self.shape[0], self.block_out)
        cols = np.arange(0, self.shape[1], self.block_in)
        tall = np.add.reduceat(np.asarray(values, np.float64), rows, axis=0)
        return np.asarray(np.add.reduceat(tall, cols, axis=1).ravel())


def block_grids(
    model: nn.Module, layers: Sequence[str], block_out: BlockSide, block_in: BlockSide
) -> dict[str, BlockGrid]:
    """Cut the named layers into blocks.

    Blocks stay inside one head and inside one of Q, K and V: the height must
    divide the head dimension in `qkv`, the width in `proj`. Rows of `proj` and
    columns of `qkv` are the residual stream, which has no heads.

    Raises
    ------
    LspsimError
        When a mapping has no entry for a layer, or a block is below 1, larger
        than the weight, or would straddle heads.
    ModelError
        When a layer is not linear.
    """
    grids = {}
    for name, module in linear_layers(model, layers).items():
        height, width = _side(block_out, name, "block_out"), _side(block_in, name, "block_in")
        shape = (module.out_features, module.in_features)
        if not (1 <= height <= shape[0] and 1 <= width <= shape[1]):
            raise LspsimError(
                f"layer {name!r}: a {height}x{width} block does not fit its {shape[0]}x{shape[1]} "
                "weight; choose a smaller block, of at least 1x1"
            )
        head = _head_dim(model, name, shape)
        side, size = ("block_in", width) if name.endswith("proj") else ("block_out", height)
        if head is not None and head % size:
            fits = [d for d in (8, 16, 32, 64, 128) if head % d == 0]
            raise LspsimError(
                f"layer {name!r}: {side} {size} does not divide the head dimension {head}, so "
                f"blocks would straddle heads; use one of {', '.join(map(str, fits or [head]))}"
            )
        grids[name] = BlockGrid(name, shape, height, width)
    return grids


def _side(value: BlockSide, name: str, what: str) -> int:
    if isinstance(value, int):
        return value
    if name not in value:
        raise LspsimError(f"{what} names no block size for layer {name!r}; add it")
    return value[name]


def _head_dim(model: nn.Module, name: str, shape: tuple[int, int]) -> int | None:
    """Return the head dimension that a layer's blocks must respect, if any."""
    parent, _, kind = name.rpartition(".")
    heads: int | None = getattr(model.get_submodule(parent), "num_heads", None)
    if heads is None or kind not in ("qkv", "proj"):
        return None
    return shape[0] // (3 * heads) if kind == "qkv" else shape[1] // heads

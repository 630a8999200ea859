"""`BlockMask`: which blocks of a weight matrix are kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lspsim.errors import WorkloadError


def ceil_div(a: int, b: int) -> int:
    """Return `a / b` rounded up, for integers with `b > 0`."""
    return -(-a // b)


@dataclass(frozen=True, eq=False)
class BlockMask:
    """Kept blocks of a weight `W[N, K]`.

    Parameters
    ----------
    keep
        bool array `[ceil(N / block_out), ceil(K / block_in)]`, True = kept.
    block_out, block_in
        Rows of N and columns of K that one block covers.
    shape
        The real `(N, K)`. Default: `keep.shape` times the block, i.e. no
        ragged edge.

    Raises
    ------
    WorkloadError
        When `keep` is not a 2-D bool array, a block size is below 1, or
        `keep.shape` does not match `shape`.
    """

    keep: NDArray[np.bool_]
    block_out: int
    block_in: int
    shape: tuple[int, int] = field(default=(0, 0))

    def __post_init__(self) -> None:
        keep = np.ascontiguousarray(self.keep)
        if keep.ndim != 2 or keep.dtype != np.bool_:
            raise WorkloadError(
                f"mask: keep must be a 2-D bool array, got {keep.ndim}-D {keep.dtype}; "
                "convert it, e.g. keep.astype(bool)"
            )
        if self.block_out < 1 or self.block_in < 1:
            raise WorkloadError(
                f"mask: block sizes must be at least 1, got {self.block_out}x{self.block_in}"
            )
        shape = self.shape
        if shape == (0, 0):
            shape = (keep.shape[0] * self.block_out, keep.shape[1] * self.block_in)
        need = (ceil_div(shape[0], self.block_out), ceil_div(shape[1], self.block_in))
        if keep.shape != need:
            raise WorkloadError(
                f"mask: keep has shape {keep.shape}, but a {shape[0]}x{shape[1]} weight in "
                f"{self.block_out}x{self.block_in} blocks needs {need}"
            )
        if keep is self.keep and keep.flags.writeable:
            keep = keep.copy()
        keep.setflags(write=False)
        object.__setattr__(self, "keep", keep)
        object.__setattr__(self, "shape", shape)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BlockMask):
            return NotImplemented
        return (
            self.block_out == other.block_out
            and self.block_in == other.block_in
            and self.shape == other.shape
            and bool(np.array_equal(self.keep, other.keep))
        )

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return (
            f"BlockMask(shape={self.shape}, block_out={self.block_out}, block_in={self.block_in}, "
            f"kept={int(self.keep.sum())} of {self.keep.size})"
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over block sizes, shape and kept blocks, as hex."""
        head = f"{self.block_out}x{self.block_in}:{self.shape[0]}x{self.shape[1]}:"
        return hashlib.sha256(head.encode() + np.packbits(self.keep).tobytes()).hexdigest()

    @cached_property
    def kept_weights(self) -> int:
        """Kept weights, counted over the real (unpadded) matrix."""
        rows = np.full(self.keep.shape[0], self.block_out, np.int64)
        cols = np.full(self.keep.shape[1], self.block_in, np.int64)
        rows[-1] -= rows.size * self.block_out - self.shape[0]
        cols[-1] -= cols.size * self.block_in - self.shape[1]
        return int(rows @ self.keep.astype(np.int64) @ cols)

    @property
    def density(self) -> float:
        """Kept fraction of the real weights."""
        return self.kept_weights / (self.shape[0] * self.shape[1])

    @cached_property
    def words(self) -> NDArray[np.uint64]:
        """Kept blocks as bits: `[rows, ceil(cols / 64)]`, bit b of word w = column 64 w + b."""
        rows, cols = self.keep.shape
        padded = np.zeros((rows, ceil_div(cols, 64) * 64), np.bool_)
        padded[:, :cols] = self.keep
        return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)

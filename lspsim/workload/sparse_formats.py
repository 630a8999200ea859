"""Index formats of a block mask, BSR and bitmap, and what they cost in bytes.

The costs are those of docs/model.md: the hardware's unit
is a tile or, with k-compact packing, a sub-block; an index describes one tile
column after the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lspsim.errors import WorkloadError
from lspsim.workload.mask import BlockMask, ceil_div

BSR_INDEX_BYTES = 2
"""One uint16 per live unit."""

BSR_POINTER_BYTES = 4
"""One uint32 per column."""


def to_bsr(mask: BlockMask) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """Return block-sparse-row pointers and column indices of the kept blocks.

    Returns
    -------
    `indptr` uint32 `[rows + 1]` and `indices` uint16 `[kept]`: block row i keeps
    the block columns `indices[indptr[i]:indptr[i + 1]]`, ascending.

    Raises
    ------
    WorkloadError
        When there are more block columns than uint16 can number.
    """
    _check_units(mask.keep.shape[1])
    indptr = np.zeros(mask.keep.shape[0] + 1, np.uint32)
    np.cumsum(mask.keep.sum(axis=1), out=indptr[1:])
    return indptr, np.nonzero(mask.keep)[1].astype(np.uint16)


def from_bsr(
    indptr: NDArray[np.uint32],
    indices: NDArray[np.uint16],
    block_out: int,
    block_in: int,
    shape: tuple[int, int],
) -> BlockMask:
    """Return the mask of what `to_bsr` wrote, for a weight of `shape` (N, K).

    Raises
    ------
    WorkloadError
        When pointers or indices are not those of such a weight.
    """
    rows, cols = ceil_div(shape[0], block_out), ceil_div(shape[1], block_in)
    pointers = indptr.astype(np.int64)
    counts = pointers[1:] - pointers[:-1]
    if (
        indptr.shape != (rows + 1,)
        or indptr[0] != 0
        or indptr[-1] != indices.size
        or (counts < 0).any()
    ):
        raise WorkloadError(
            f"bsr: the row pointers do not describe {rows} block rows with {indices.size} blocks"
        )
    if indices.size and int(indices.max()) >= cols:
        raise WorkloadError(f"bsr: block column {int(indices.max())} of {cols} does not exist")
    keep = np.zeros((rows, cols), np.bool_)
    keep[np.repeat(np.arange(rows), counts), indices] = True
    if int(keep.sum()) != indices.size:
        raise WorkloadError("bsr: a block is listed twice in one block row")
    return BlockMask(keep, block_out, block_in, shape=shape)


def to_bitmap(mask: BlockMask) -> NDArray[np.uint8]:
    """Return one bit per block, `[rows, ceil(cols / 8)]`; bit b of byte i is column 8 i + b."""
    return np.packbits(mask.keep, axis=1, bitorder="little")


def from_bitmap(
    bitmap: NDArray[np.uint8], block_out: int, block_in: int, shape: tuple[int, int]
) -> BlockMask:
    """Return the mask of what `to_bitmap` wrote, for a weight of `shape` (N, K).

    Raises
    ------
    WorkloadError
        When the bitmap has another size, or a padding bit is set.
    """
    rows, cols = ceil_div(shape[0], block_out), ceil_div(shape[1], block_in)
    if bitmap.shape != (rows, ceil_div(cols, 8)) or bitmap.dtype != np.uint8:
        raise WorkloadError(
            f"bitmap: {rows}x{cols} blocks need a uint8 array of shape "
            f"{(rows, ceil_div(cols, 8))}, got {bitmap.dtype} {bitmap.shape}"
        )
    bits = np.unpackbits(bitmap, axis=1, bitorder="little").astype(np.bool_)
    if bits[:, cols:].any():
        raise WorkloadError(f"bitmap: a bit beyond block column {cols - 1} is set")
    return BlockMask(bits[:, :cols], block_out, block_in, shape=shape)


def bitmap_index_bytes(live: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the bitmap index's bytes per tile column: one bit per unit, whole bytes.

    Parameters
    ----------
    live
        `[tile columns, units along K]`, True where the unit has a kept element.
    """
    columns, units = live.shape
    return np.full(columns, ceil_div(units, 8), np.int64)


def bsr_index_bytes(live: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the BSR index's bytes per tile column: uint16 per live unit, uint32 per column.

    Parameters
    ----------
    live
        `[tile columns, units along K]`, True where the unit has a kept element.

    Raises
    ------
    WorkloadError
        When there are more units along K than uint16 can number.
    """
    _check_units(live.shape[1])
    units: NDArray[np.int64] = live.sum(axis=1, dtype=np.int64)
    return BSR_INDEX_BYTES * units + BSR_POINTER_BYTES


def _check_units(units: int) -> None:
    if units > 1 << 16:
        raise WorkloadError(
            f"bsr: {units} units along K do not fit a uint16 index (65536); use larger blocks "
            "or tiles, or the bitmap index"
        )

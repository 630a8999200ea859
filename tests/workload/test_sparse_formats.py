from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lspsim.errors import WorkloadError
from lspsim.workload import BlockMask
from lspsim.workload.sparse_formats import (
    bitmap_index_bytes,
    bsr_index_bytes,
    from_bitmap,
    from_bsr,
    to_bitmap,
    to_bsr,
)


@st.composite
def masks(draw: st.DrawFn) -> BlockMask:
    block_out, block_in = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    n, k = draw(st.integers(1, 60)), draw(st.integers(1, 200))
    shape = (-(-n // block_out), -(-k // block_in))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    keep = rng.random(shape) < draw(st.sampled_from([0, 0.1, 0.5, 1]))
    return BlockMask(keep, block_out, block_in, shape=(n, k))


@given(masks())
def test_both_formats_give_the_mask_back(mask: BlockMask) -> None:
    indptr, indices = to_bsr(mask)
    assert (indptr.dtype, indices.dtype) == (np.uint32, np.uint16)
    assert from_bsr(indptr, indices, mask.block_out, mask.block_in, mask.shape) == mask
    bitmap = to_bitmap(mask)
    assert bitmap.dtype == np.uint8
    assert from_bitmap(bitmap, mask.block_out, mask.block_in, mask.shape) == mask


@given(masks())
def test_index_bytes_are_those_of_the_formats(mask: BlockMask) -> None:
    """With blocks as units, a pointer less: BSR stores one more than there are columns."""
    indptr, indices = to_bsr(mask)
    assert bsr_index_bytes(mask.keep).sum() == indptr[1:].nbytes + indices.nbytes
    assert bitmap_index_bytes(mask.keep).sum() == to_bitmap(mask).nbytes


def test_index_bytes_per_column() -> None:
    live = np.zeros((3, 17), np.bool_)
    live[1, :5] = True
    live[2] = True
    assert bsr_index_bytes(live).tolist() == [4, 14, 38]
    assert bitmap_index_bytes(live).tolist() == [3, 3, 3]


def test_bsr_by_hand() -> None:
    indptr, indices = to_bsr(BlockMask(np.array([[0, 1, 1], [0, 0, 0], [1, 0, 0]], np.bool_), 2, 2))
    assert indptr.tolist() == [0, 2, 2, 3]
    assert indices.tolist() == [1, 2, 0]


def test_columns_beyond_uint16_are_refused() -> None:
    widest = BlockMask(np.ones((1, 1 << 16), np.bool_), 1, 1)
    assert to_bsr(widest)[1][-1] == 65535
    wider = BlockMask(np.ones((1, (1 << 16) + 1), np.bool_), 1, 1)
    with pytest.raises(WorkloadError, match=r"65537 units.*bitmap"):
        to_bsr(wider)
    with pytest.raises(WorkloadError, match=r"65537 units.*bitmap"):
        bsr_index_bytes(wider.keep)


@pytest.mark.parametrize(
    ("indptr", "indices", "message"),
    [
        ([0, 1], [0], "2 block rows"),
        ([1, 1, 2], [0, 1], "2 block rows"),
        ([0, 2, 1], [0], "2 block rows"),
        ([0, 1, 1], [0, 1], "2 block rows with 2 blocks"),
        ([0, 1, 2], [0, 3], "block column 3 of 3"),
        ([0, 2, 2], [1, 1], "listed twice"),
    ],
)
def test_malformed_bsr(indptr: list[int], indices: list[int], message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        from_bsr(np.array(indptr, np.uint32), np.array(indices, np.uint16), 4, 4, (8, 12))


def test_malformed_bitmaps() -> None:
    with pytest.raises(WorkloadError, match=r"uint8 array of shape \(2, 1\)"):
        from_bitmap(np.zeros((2, 2), np.uint8), 4, 4, (8, 12))
    with pytest.raises(WorkloadError, match="beyond block column 2"):
        from_bitmap(np.array([[0], [8]], np.uint8), 4, 4, (8, 12))

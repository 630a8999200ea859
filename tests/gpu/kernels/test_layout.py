import warnings

import numpy as np
import pytest
import torch

from lspsim.errors import LspsimError
from lspsim.gpu.kernels import pack, unpack
from lspsim.workload import BlockMask
from tests.gpu.kernels.kernel_cases import SHAPES, element_keep, mask_for, operands


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pack_keeps_what_the_mask_keeps(shape):
    n, k, block_out, block_in, tokens = shape
    mask = mask_for(n, k, block_out, block_in)
    weight, _, _ = operands(n, k, tokens)
    packed = pack(weight, mask)
    assert torch.equal(unpack(packed), weight * element_keep(mask))
    assert packed.values.shape == (mask.keep.sum(), block_out, block_in)


def test_pack_is_torchs_bsr():
    mask = mask_for(64, 96, 16, 32)
    weight, _, _ = operands(64, 96, 1)
    packed = pack(weight, mask)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse BSR tensor support")
        theirs = (weight * element_keep(mask)).to_sparse_bsr((16, 32))
    assert torch.equal(packed.crow, theirs.crow_indices().int())
    assert torch.equal(packed.col, theirs.col_indices().int())
    assert torch.equal(packed.values, theirs.values())


def test_nothing_kept():
    packed = pack(torch.ones(32, 32), BlockMask(np.zeros((2, 1), bool), 16, 32))
    assert packed.values.shape == (0, 16, 32)
    assert not unpack(packed).any()


def test_wrong_shape():
    with pytest.raises(LspsimError, match="64x96 weight, this one is 64x64"):
        pack(torch.ones(64, 64), mask_for(64, 96, 32, 32))

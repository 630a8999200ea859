"""torch's Triton kernel through the adapter, without a GPU: under Triton's interpreter."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = """
import torch, torch.utils._triton
torch.utils._triton.has_triton = lambda: True  # it would ask for a GPU
from torch.sparse import _triton_ops
from lspsim.gpu.kernels import Tile, pack
from lspsim.gpu.kernels.adapter import kernel_product, plain_product
from tests.gpu.kernels.kernel_cases import SHAPES, mask_for, operands

grids = _triton_ops.grid_partitioner
def tuples(*arguments):  # torch makes lists of grids, which the interpreter cannot extend
    for grid, *tensors in grids(*arguments):
        yield tuple(grid), *tensors
_triton_ops.grid_partitioner = tuples

for dtype, limit in ((torch.float16, 1e-3), (torch.float32, 1e-6)):
    for n, k, block_out, block_in, tokens in SHAPES:
        weight, x, bias = (t.to(dtype) for t in operands(n, k, tokens))
        packed = pack(weight, mask_for(n, k, block_out, block_in))
        arrays = packed.crow, packed.col
        for tile in (Tile(16), Tile(32, group_rows=1))[: 2 if n == 64 else 1]:
            for b in (bias, None):
                y = kernel_product(x, *arrays, packed.values, b, n, tile).double()
                doubles = (None if t is None else t.double() for t in (packed.values, b))
                exact = plain_product(x.double(), *arrays, *doubles, n)
                error = ((y - exact).abs().max() / exact.abs().max()).item()
                assert error < limit, (dtype, n, k, block_out, block_in, tokens, tile, error)
print("equal")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.skipif(
    tuple(map(int, np.__version__.split(".")[:2])) >= (2, 3),
    reason="Triton's interpreter needs numpy below 2.3",
)
def test_the_kernel_equals_the_plain_product():
    # bf16 is left out: numpy lacks it, and the interpreter multiplies its raw bits
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "equal\n"

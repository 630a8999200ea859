"""A program: torch's Triton kernel under Triton's interpreter against the plain product.

Run with TRITON_INTERPRET=1 from the top of the repository; test_interpreted.py does.
"""

import numpy as np
import torch
import torch.utils._triton

torch.utils._triton.has_triton = lambda: True  # it would ask for a GPU

from torch.sparse import _triton_ops  # noqa: E402
from triton import language  # noqa: E402
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle  # noqa: E402

from lspsim.gpu.kernels import Tile, pack  # noqa: E402
from lspsim.gpu.kernels.adapter import kernel_product, plain_product  # noqa: E402
from tests.gpu.kernels.kernel_cases import SHAPES, mask_for, operands  # noqa: E402

LIMITS = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float32: 1e-6}
"""Error over the largest output: 2^-11 in fp16; the interpreter cuts bf16 off, 2^-7."""

grids = _triton_ops.grid_partitioner
dot = InterpreterBuilder.create_dot


def tuples(*arguments):
    """Torch makes lists of grids, which the interpreter cannot extend."""
    for grid, *tensors in grids(*arguments):
        yield tuple(grid), *tensors


def dot_of_values(builder, a, b, *rest):
    """Numpy has no bf16: the interpreter would multiply its bits as integers."""
    return dot(builder, widened(a), widened(b), *rest)


def widened(handle):
    if handle.dtype.scalar != language.bfloat16:
        return handle
    return TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), language.float32)


def check(dtype, n, k, block_out, block_in, tokens, density):
    weight, x, bias = (tensor.to(dtype) for tensor in operands(n, k, tokens))
    packed = pack(weight, mask_for(n, k, block_out, block_in, density))
    arrays = packed.crow, packed.col
    for tile in (Tile(16), Tile(32, group_rows=1))[: 2 if n == 64 else 1]:
        for b in (bias, None):
            y = kernel_product(x, *arrays, packed.values, b, n, tile).double()
            doubles = (None if t is None else t.double() for t in (packed.values, b))
            exact = plain_product(x.double(), *arrays, *doubles, n)
            error = (y - exact).abs().max().item()
            limit = LIMITS[dtype] * exact.abs().max().item()
            assert error <= limit, (dtype, n, k, block_out, block_in, tokens, density, tile, error)


_triton_ops.grid_partitioner = tuples
InterpreterBuilder.create_dot = dot_of_values
for dtype in LIMITS:
    for shape in SHAPES:
        check(dtype, *shape, density=0.6)
    check(dtype, *SHAPES[0], density=0.0)
    check(dtype, *SHAPES[0], density=1.0)
print("equal")

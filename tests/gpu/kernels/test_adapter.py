import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from lspsim.errors import LspsimError, MissingDependencyError
from lspsim.gpu.kernels import Tile, adapter, block_sparse_linear, pack
from lspsim.gpu.kernels.adapter import kernel_product
from lspsim.workload import BlockMask
from tests.gpu.kernels.kernel_cases import SHAPES, element_keep, mask_for, operands


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_masked_dense_product(shape, with_bias):
    n, k, block_out, block_in, tokens = shape
    mask = mask_for(n, k, block_out, block_in)
    weight, x, bias = operands(n, k, tokens)
    bias = bias if with_bias else None
    packed = pack(weight, mask)
    y = block_sparse_linear(x, packed.crow, packed.col, packed.values, bias, n)
    expected = functional.linear(x, weight * element_keep(mask), bias)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    assert y.is_contiguous()


def test_leading_dimensions_stay():
    weight, x, bias = operands(64, 96, 12)
    packed = pack(weight, mask_for(64, 96, 32, 32))
    arrays = (packed.crow, packed.col, packed.values, bias, 64)
    y = block_sparse_linear(x.view(2, 3, 2, 96), *arrays)
    assert torch.equal(y, block_sparse_linear(x, *arrays).view(2, 3, 2, 64))


def test_an_empty_weight_gives_the_bias():
    packed = pack(torch.ones(32, 32), BlockMask(np.zeros((2, 1), bool), 16, 32))
    y = block_sparse_linear(
        torch.ones(5, 32), packed.crow, packed.col, packed.values, torch.arange(32.0), 32
    )
    assert torch.equal(y, torch.arange(32.0).expand(5, 32))


def test_sixteen_bits_on_a_cpu():
    weight, x, bias = (tensor.bfloat16() for tensor in operands(64, 96, 20))
    mask = mask_for(64, 96, 32, 32)
    packed = pack(weight, mask)
    y = block_sparse_linear(x, packed.crow, packed.col, packed.values, bias, 64)
    expected = functional.linear(x.double(), weight.double() * element_keep(mask), bias.double())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.double(), expected, rtol=2e-2, atol=0.2)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in its tracer
def test_the_custom_op_is_sound(with_bias):
    weight, x, bias = operands(70, 50, 20)
    packed = pack(weight, mask_for(70, 50, 32, 16))
    arguments = (x, packed.crow, packed.col, packed.values, bias if with_bias else None, 70)
    torch.library.opcheck(torch.ops.lspsim.block_sparse_linear.default, arguments)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiles_without_a_graph_break():
    weight, x, bias = operands(64, 96, 20)
    packed = pack(weight, mask_for(64, 96, 32, 32))

    def layer(x):
        y = block_sparse_linear(x, packed.crow, packed.col, packed.values, bias, 64)
        return functional.gelu(y)

    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x))
    torch.testing.assert_close(compiled(x[:7]), layer(x[:7]))


class Copies(TorchDispatchMode):
    """Lists what would launch a kernel on a GPU beside the product."""

    VIEWS = ("new_empty", "t", "transpose", "unsqueeze", "expand", "slice", "view", "alias")
    VIEWS += ("detach", "values", "crow_indices", "col_indices", "_nnz", "sparse_compressed_tensor")

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().removeprefix("aten::").partition(".")[0]
        if name not in self.VIEWS:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("n", "k", "tokens", "copies"),
    [
        (64, 96, 32, []),
        (64, 96, 20, ["copy_"]),  # into whole tiles; what fills them up need not be zero
        (64, 90, 20, ["constant_pad_nd"]),  # zeros beside the ragged edge
        (70, 96, 32, ["constant_pad_nd", "clone"]),  # the bias; the result is cut off again
    ],
)
def test_nothing_is_copied_but_padding(monkeypatch, n, k, tokens, copies):
    def addmm(addend, weight, dense, *, beta, out, meta):
        out.fill_(float("nan"))
        return out

    monkeypatch.setattr(adapter, "_addmm", lambda: addmm)
    weight, x, bias = operands(n, k, tokens)
    packed = pack(weight, mask_for(n, k, 32, 32))
    with Copies() as seen:
        kernel_product(x, packed.crow, packed.col, packed.values, bias, n, Tile(32))
    assert [name for name in seen.names if name != "fill_"] == copies


def test_unsupported_dtype():
    packed = pack(torch.ones(32, 32).double(), mask_for(32, 32, 16, 16, density=1))
    with pytest.raises(LspsimError, match=r"torch.float64 is not supported.*model\.to"):
        block_sparse_linear(
            torch.ones(2, 32).double(), packed.crow, packed.col, packed.values, None, 32
        )


@pytest.mark.parametrize("block", [(8, 8), (16, 24), (48, 16)])
def test_unsupported_block(block):
    packed = pack(torch.ones(48, 48), mask_for(48, 48, *block, density=1))
    with pytest.raises(LspsimError, match=rf"block {block[0]}x{block[1]} .*power of two.*32x32"):
        block_sparse_linear(torch.ones(2, 48), packed.crow, packed.col, packed.values, None, 48)


def test_operands_of_two_dtypes():
    packed = pack(torch.ones(32, 32), mask_for(32, 32, 16, 16, density=1))
    with pytest.raises(LspsimError, match=r"activations are .*bfloat16"):
        block_sparse_linear(
            torch.ones(2, 32).bfloat16(), packed.crow, packed.col, packed.values, None, 32
        )


def test_the_kernel_needs_triton():
    from torch.sparse import _triton_ops

    if _triton_ops._bsr_strided_addmm_kernel is not None:
        pytest.skip("Triton runs here")
    packed = pack(torch.ones(32, 32), mask_for(32, 32, 16, 16, density=1))
    with pytest.raises(MissingDependencyError, match="CUDA build of torch"):
        kernel_product(
            torch.ones(2, 32), packed.crow, packed.col, packed.values, None, 32, Tile(16)
        )


def test_offsets_past_32_bits():
    packed = pack(torch.ones(32, 32), mask_for(32, 32, 16, 16, density=1))
    x = torch.ones(1, 32).expand(2**26, 32)
    with pytest.raises(LspsimError, match="smaller batch"):
        kernel_product(x, packed.crow, packed.col, packed.values, None, 32, Tile(16))

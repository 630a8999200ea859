"""On a GPU only: the kernel itself, in the dtypes that networks run in."""

import pytest
import torch
from torch.nn import functional

from lspsim.gpu.kernels import Tile, pack, sparsify
from lspsim.gpu.kernels.adapter import block_sparse_linear, kernel_product
from lspsim.gpu.kernels.tile import candidates
from tests.gpu.kernels.kernel_cases import SHAPES, element_keep, mask_for, operands, pruned_vit

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
LIMITS = {torch.float16: 2e-3, torch.bfloat16: 1e-2, torch.float32: 1e-4}


def relative_error(found, exact):
    return ((found.double() - exact).abs().max() / exact.abs().max()).item()


@pytest.mark.parametrize("dtype", list(LIMITS), ids=str)
@pytest.mark.parametrize("shape", [*SHAPES, (768, 768, 64, 64, 197), (256, 1024, 32, 32, 1000)])
def test_equals_the_masked_dense_product(shape, dtype):
    n, k, block_out, block_in, tokens = shape
    mask = mask_for(n, k, block_out, block_in)
    weight, x, bias = (tensor.to("cuda", dtype) for tensor in operands(n, k, tokens))
    packed = pack(weight, mask)
    y = block_sparse_linear(x, packed.crow, packed.col, packed.values, bias, n)
    kept = weight.double() * element_keep(mask).to("cuda")
    assert relative_error(y, functional.linear(x.double(), kept, bias.double())) < LIMITS[dtype]


@pytest.mark.parametrize("tile", [*candidates(197, torch.bfloat16)[:4], Tile(256, 1, 2, 8)])
def test_every_tile_gives_the_same(tile):
    weight, x, bias = (tensor.to("cuda", torch.bfloat16) for tensor in operands(256, 256, 197))
    mask = mask_for(256, 256, 32, 32)
    packed = pack(weight, mask)
    y = kernel_product(x, packed.crow, packed.col, packed.values, bias, 256, tile)
    kept = weight.double() * element_keep(mask).to("cuda")
    assert relative_error(y, functional.linear(x.double(), kept, bias.double())) < 1e-2


def test_a_whole_model_runs_in_a_graph():
    model, masks = pruned_vit()
    model = model.to("cuda", torch.bfloat16)
    images = torch.randn(3, 3, 32, 32, device="cuda", dtype=torch.bfloat16)
    with torch.no_grad():
        expected = model(images).double()
        sparsify(model, masks)
        model(images)
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            found = model(images)
        graph.replay()
    assert relative_error(found, expected) < 5e-2

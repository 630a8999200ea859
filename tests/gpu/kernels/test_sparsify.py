from dataclasses import dataclass

import pytest
import torch
from torch import nn

from lspsim.errors import LspsimError
from lspsim.gpu.kernels import BlockSparseLinear, choice_table, sparsify
from lspsim.gpu.kernels.linear import copy_of
from tests.gpu.kernels.kernel_cases import element_keep, mask_for, pruned_vit


@dataclass
class Seconds:
    latency_s: float


class Times:
    """Block-sparse pays where N is at least 3 K."""

    def __init__(self):
        self.asked = []

    def dense_latency(self, m, n, k):
        self.asked.append((m, n, k))
        return Seconds(1e-6 * n * k)

    def sparse_latency(self, mask, m):
        n, k = mask.shape
        return Seconds(1e-6 * n * k * (0.5 if n >= 3 * k else 1.0))


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("block", [(16, 16), (32, 32), (16, 64)])
def test_outputs_stay(images, block):
    model, masks = pruned_vit(*block)
    with torch.no_grad():
        expected = model(images)
        choices = sparsify(model, masks)
        found = model(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert [choice.layer for choice in choices] == list(masks)
    for choice in choices:
        assert choice.chosen == "block-sparse"
        assert choice.dense_s is choice.sparse_s is None
        assert isinstance(model.get_submodule(choice.layer), BlockSparseLinear)
        assert choice.sparsity == pytest.approx(1 - masks[choice.layer].density)


def test_dense_where_nothing_is_gained(images):
    model, masks = pruned_vit()
    times = Times()
    with torch.no_grad():
        expected = model(images)
        choices = sparsify(model, masks, times, batch=3)
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
    tokens = 3 * (16 + 1)
    assert times.asked[:4] == [
        (tokens, 192, 64),
        (tokens, 64, 64),
        (tokens, 256, 64),
        (tokens, 64, 256),
    ]
    chosen = {choice.layer: choice.chosen for choice in choices}
    assert chosen["blocks.1.mlp.fc1"] == chosen["blocks.0.attn.qkv"] == "block-sparse"
    assert chosen["blocks.1.mlp.fc2"] == chosen["blocks.0.attn.proj"] == "dense"
    for name, kind in chosen.items():
        sparse = isinstance(model.get_submodule(name), BlockSparseLinear)
        assert sparse == (kind == "block-sparse")


def test_the_report_is_a_table():
    model, masks = pruned_vit()
    table = choice_table(sparsify(model, masks, Times()))
    assert [column.header for column in table.columns][-1] == "chosen"
    assert "2.00x" in list(table.columns[4].cells)
    assert table.row_count == len(masks)
    assert choice_table(sparsify(*pruned_vit())).row_count == len(masks)


def test_weights_that_are_not_zero_are_not_dropped():
    model, masks = pruned_vit()
    with torch.no_grad():
        model.blocks[1].mlp.fc2.weight.fill_(0.5)
    with pytest.raises(LspsimError, match=r"blocks\.1\.mlp\.fc2.*not zero; prune"):
        sparsify(model, masks)
    assert not any(isinstance(module, BlockSparseLinear) for module in model.modules())


@pytest.mark.parametrize(
    ("name", "message"),
    [("blocks.9.mlp.fc1", "no layer of that name"), ("norm", "LayerNorm, not a linear layer")],
)
def test_masks_for_nothing(name, message):
    model, _ = pruned_vit()
    with pytest.raises(LspsimError, match=message):
        sparsify(model, {name: mask_for(64, 64, 16, 16)})


def test_blocks_that_the_kernel_lacks():
    model, masks = pruned_vit(8, 8)
    with pytest.raises(LspsimError, match="block 8x8 is not supported"):
        sparsify(model, masks)


def test_the_layer_keeps_its_weights():
    mask = mask_for(45, 77, 16, 64)
    linear = nn.Linear(77, 45)
    layer = BlockSparseLinear.from_linear(linear, mask)
    assert torch.equal(layer.dense_weight(), linear.weight * element_keep(mask))
    assert (layer.in_features, layer.out_features, layer.block) == (77, 45, (16, 64))
    assert "block=16x64" in repr(layer)
    other = BlockSparseLinear.from_linear(nn.Linear(77, 45), mask)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(3, 77)
    assert torch.equal(other(x), layer(x))
    twin = copy_of(layer)
    assert torch.equal(twin(x), layer(x))
    assert twin.values.data_ptr() != layer.values.data_ptr()


def test_wrong_number_of_features():
    layer = BlockSparseLinear.from_linear(nn.Linear(64, 32), mask_for(32, 64, 16, 16))
    with pytest.raises(LspsimError, match="takes 64 features, got 32"):
        layer(torch.ones(1, 32))


def test_unsupported_dtype():
    with pytest.raises(LspsimError, match=r"torch\.float64 is not supported"):
        BlockSparseLinear.from_linear(nn.Linear(64, 32).double(), mask_for(32, 64, 16, 16))

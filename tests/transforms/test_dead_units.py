"""Dead coupling: checked by hand, by forward passes, and against a slow oracle."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from lspsim.allocate.coupling import couple_curves
from lspsim.allocate.curves import LayerCurve
from lspsim.calibrate.blocked import element_keep
from lspsim.errors import LspsimError
from lspsim.networks.masks import apply_masks
from lspsim.prune.compensate import compensate
from lspsim.transforms import free_blocks, uncoupled
from lspsim.workload.mask import BlockMask
from tests.models import vit_cases as cases

PATHS = ("blocks.0.attn.qkv", "blocks.0.attn.proj", "blocks.0.mlp.fc1", "blocks.0.mlp.fc2")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def whole(block=(8, 8)):
    """Full masks of one block of width 32, 2 heads, 128 hidden units."""
    shapes = ((96, 32), (32, 32), (128, 32), (32, 128))
    return {
        name: BlockMask(np.ones((n // block[0], k // block[1]), bool), *block, (n, k))
        for name, (n, k) in zip(PATHS, shapes, strict=True)
    }


def without(masks, name, rows=slice(None), columns=slice(None)):
    keep = masks[name].keep.copy()
    keep[rows, columns] = False
    mask = masks[name]
    return masks | {name: BlockMask(keep, mask.block_out, mask.block_in, mask.shape)}


QKV, PROJ, FC1, FC2 = PATHS


@pytest.mark.parametrize(
    ("layer", "rows", "columns", "freed", "where"),
    [
        (FC2, slice(None), 3, FC1, (3, slice(None))),
        (FC1, 5, slice(None), FC2, (slice(None), 5)),
        (PROJ, slice(None), 2, QKV, (8 + 2, slice(None))),
        (QKV, 8 + 1, slice(None), PROJ, (slice(None), 1)),
        (QKV, 4 + 1, slice(None), QKV, (1, slice(None))),
    ],
)
def test_each_rule(layer, rows, columns, freed, where):
    free = free_blocks(without(whole(), layer, rows, columns))
    expected = {name: np.zeros(mask.keep.shape, bool) for name, mask in whole().items()}
    expected[freed][where] = True
    for name, grid in free.items():
        assert_array_equal(grid, expected[name])


def test_a_query_row_frees_no_key_and_normalised_keys_free_no_query():
    assert not any(grid.any() for grid in free_blocks(without(whole(), QKV, 1)).values())
    masks = without(whole(), QKV, 5)
    assert not any(grid.any() for grid in free_blocks(masks, qk_norm={"blocks.0.attn"}).values())


def test_mixed_units_are_left_alone():
    masks = without(without(whole(), FC2, slice(None), 3), PROJ, slice(None), 2)
    mixed = {"blocks.0.mlp", "blocks.0.attn"}
    assert not any(grid.any() for grid in free_blocks(masks, mixed=mixed).values())


def test_blocks_of_different_shapes_need_all_their_units_dead():
    masks = whole((16, 8))
    assert not free_blocks(without(masks, FC2, slice(None), 4))[FC1].any()
    free = free_blocks(without(masks, FC2, slice(None), slice(4, 6)))
    assert_array_equal(np.flatnonzero(free[FC1].any(1)), [2])


def remove(model, masks, free):
    """Zero free blocks of a masked model, constants moved to biases; return the new masks."""
    modules = dict(model.named_modules())
    after = {
        name: BlockMask(mask.keep & ~free[name], mask.block_out, mask.block_in, mask.shape)
        for name, mask in masks.items()
    }
    keeps = {
        name: torch.from_numpy(element_keep(mask.keep, mask.shape, mask.block_out, mask.block_in))
        for name, mask in after.items()
    }
    with torch.no_grad():
        for name, keep in keeps.items():
            path, _, leaf = name.rpartition(".")
            writer = {"fc2": f"{path}.fc1", "proj": f"{path}.qkv"}.get(leaf)
            lost = modules[name].weight * ~keep
            if writer is not None:  # rows without weights write what their biases say
                rows = ~keeps[writer].any(1)
                bias = modules[writer].bias
                held = rows * 0.0 if bias is None else bias * rows
                held = modules[path].act(held) if leaf == "fc2" else held[-keep.shape[1] :]
                if modules[name].bias is None:
                    assert not (lost @ held).any()
                else:
                    modules[name].bias += lost @ held
            modules[name].weight -= lost
    return after


@pytest.mark.parametrize("block", [(8, 8), (16, 8), (8, 16)])
@pytest.mark.parametrize(
    "options",
    [{}, {"qk_norm": True}, {"proj_bias": False}, {"qkv_bias": False, "proj_bias": False}],
)
def test_removing_what_is_free_changes_nothing(block, options):
    model, x = cases.vit(**options), cases.images(12)
    masks = cases.random_masks(model, block, 0.3 if block[0] == block[1] else 0.2, seed=3)
    apply_masks(model, masks)
    wanted = model(x)
    free = free_blocks(masks, *uncoupled(model))
    assert sum(int(grid.sum()) for grid in free.values()) > 10
    result = copy.deepcopy(model)
    after = remove(result, masks, free)
    assert (result(x) - wanted).abs().max() < 1e-4
    assert wanted.std() > 0.05
    modules = dict(result.named_modules())
    for name, mask in after.items():
        assert_array_equal(mask.keep, masks[name].keep & ~free[name])
        gone = np.kron(~mask.keep, np.ones((mask.block_out, mask.block_in), bool))
        assert not modules[name].weight.detach().numpy()[gone].any()
    assert not any(grid.any() for grid in free_blocks(after, *uncoupled(result)).values())


def test_refit_folds_what_coupling_removes():
    """After sequential least squares, masks with and without free blocks predict alike."""
    model, x = cases.vit(), cases.images(64)
    masks = cases.random_masks(model, (8, 8), 0.35, seed=3)
    free = free_blocks(masks)
    fewer = {
        name: BlockMask(mask.keep & ~free[name], 8, 8, mask.shape) for name, mask in masks.items()
    }
    one = compensate(model, masks, list(x.split(16)), damping=1e-6).model
    other = compensate(model, fewer, list(x.split(16)), damping=1e-6).model
    with torch.no_grad():
        assert (one(x) - other(x)).abs().max() < 0.02 * one(x).std()


def test_curves_take_free_blocks_first_at_no_cost():
    curve = LayerCurve("l", (4, 4), 2, 2, np.array([2, 0, 3, 1]), np.array([0, 1.0, 3, 6, 10]))
    free = np.array([[False, True], [False, True]])
    coupled = couple_curves({"l": curve}, {"l": free})["l"]
    assert_array_equal(coupled.order, [3, 1, 2, 0])
    assert_array_equal(coupled.loss, [0, 0, 0, 1, 3])


def test_masks_that_do_not_fit_each_other_are_named():
    masks = whole()
    masks[FC2] = BlockMask(np.ones((4, 8), bool), 8, 8, (32, 64))
    with pytest.raises(LspsimError, match=r"128 units for blocks\.0\.mlp\.fc2, which reads 64"):
        free_blocks(masks)

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lspsim.errors import WorkloadError
from lspsim.workload import BlockMask, Gemm, Workload
from lspsim.workload.generate import mask_from_weight, prunable_names, random_masks

LAYERS = ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"]


def workload(blocks: int = 2) -> Workload:
    ops = [Gemm("patch_embed.proj", m=4, k=48, n=40)]
    for index in range(blocks):
        ops += [Gemm(f"blocks.{index}.{layer}", m=5, k=40, n=72) for layer in LAYERS]
        ops += [Gemm(f"blocks.{index}.attn.qk", 5, 8, 5, 3, "activation")]
    ops += [Gemm("layers.0.blocks.1.mlp.fc1", m=5, k=40, n=72), Gemm("head", m=1, k=40, n=10)]
    return Workload(ops, model="small")


def test_prunable_are_the_linear_layers_of_the_blocks() -> None:
    assert prunable_names(workload(1)) == (
        *(f"blocks.0.{layer}" for layer in LAYERS),
        "layers.0.blocks.1.mlp.fc1",
    )


@given(density=st.floats(0, 1), block_out=st.integers(1, 80), block_in=st.integers(1, 50))
def test_each_layer_keeps_the_nearest_count(density: float, block_out: int, block_in: int) -> None:
    masks = random_masks(workload(), density=density, block_out=block_out, block_in=block_in)
    for mask in masks.values():
        assert mask.shape == (72, 40)
        kept, blocks = int(mask.keep.sum()), mask.keep.size
        assert abs(kept - density * blocks) <= 0.5 + 1e-9


def test_halves_round_up_as_the_decimal_says() -> None:
    """0.9 of 5 blocks is 4.5 exactly, although 1 - 0.9 is not 0.1 in binary."""
    five = Workload([Gemm("g", m=1, k=5, n=1)])
    sizes = {"block_out": 1, "block_in": 1, "names": ["g"]}
    assert random_masks(five, density=0.9, **sizes)["g"].keep.sum() == 5
    assert random_masks(five, sparsity=0.9, **sizes)["g"].keep.sum() == 1
    assert random_masks(five, sparsity=0.7, **sizes)["g"].keep.sum() == math.floor(1.5 + 0.5)


@pytest.mark.parametrize(("density", "kept"), [(0, 0), (1, 45)])
def test_the_extremes(density: float, kept: int) -> None:
    masks = random_masks(workload(), density=density, block_out=8, block_in=8)
    assert {int(mask.keep.sum()) for mask in masks.values()} == {kept}


def test_layers_have_streams_of_their_own() -> None:
    few = random_masks(workload(1), density=0.5, block_out=8, block_in=8, seed=7)
    many = random_masks(workload(3), density=0.5, block_out=8, block_in=8, seed=7)
    assert few.items() <= many.items()
    assert len({mask.digest for mask in many.values()}) == len(many)
    other = random_masks(workload(1), density=0.5, block_out=8, block_in=8, seed=8)
    assert not {mask.digest for mask in other.values()} & {m.digest for m in many.values()}


def test_sparser_masks_are_subsets() -> None:
    dense = random_masks(workload(), density=0.7, block_out=8, block_in=8)
    sparse = random_masks(workload(), density=0.3, block_out=8, block_in=8)
    assert all((sparse[name].keep <= dense[name].keep).all() for name in dense)


GOLDEN = "76f9c0d85b8f35e8b7c3e86f46b5b48d98440d0b5d5eede45f67ee0263f3f0bb"
"""Digest of all digests, by numpy 2.4 on x86-64."""


def test_masks_stay_the_same_between_versions() -> None:
    masks = random_masks(workload(), density=0.5, block_out=8, block_in=8, seed=0)
    digests = "".join(masks[name].digest for name in sorted(masks))
    assert hashlib.sha256(digests.encode()).hexdigest() == GOLDEN


def test_densities_per_layer() -> None:
    masks = random_masks(
        workload(),
        density=1,
        block_out=8,
        block_in=8,
        per_layer={"blocks.*.mlp.*": 0.2, "blocks.1.mlp.fc2": 0},
    )
    kept = {name: int(mask.keep.sum()) for name, mask in masks.items()}
    assert kept["blocks.0.mlp.fc1"] == kept["blocks.0.mlp.fc2"] == 9
    assert kept["blocks.1.mlp.fc2"] == 0
    assert kept["blocks.0.attn.qkv"] == 45


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"density": 1.5}, "density must be between 0 and 1, got 1.5"),
        ({"density": -0.1}, "density must be between 0 and 1"),
        ({"density": math.nan}, "density must be between 0 and 1, got nan"),
        ({"sparsity": 50}, "sparsity must be between 0 and 1, got 50"),
        ({}, "either density or sparsity"),
        ({"density": 0.5, "sparsity": 0.5}, "either density or sparsity"),
        ({"density": 1, "per_layer": {"blocks.*": 2}}, r"per_layer\['blocks.\*'\] must be"),
        ({"density": 1, "per_layer": {"block.*": 0.5}}, r"'block.\*' matches none of the 9"),
        ({"density": 1, "names": ["heads"]}, "no weight GEMM is called 'heads' in 'small'"),
        ({"density": 1, "names": ["blocks.0.attn.qk"]}, r"called 'blocks.0.attn.qk'"),
        ({"density": 1, "names": []}, "say which to mask"),
        ({"density": 1, "seed": -1}, "seed must not be negative"),
        ({"density": 1, "block_in": 0}, "at least 1, got 8x0"),
    ],
)
def test_bad_requests(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        random_masks(workload(), **{"block_out": 8, "block_in": 8, **arguments})


@given(
    n=st.integers(1, 20),
    k=st.integers(1, 20),
    block_out=st.integers(1, 9),
    block_in=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_masks_from_zeros_equal_a_slow_look(
    n: int, k: int, block_out: int, block_in: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(n, k)) * (rng.random((n, k)) < 0.1)
    mask = mask_from_weight(weight, block_out, block_in)
    assert mask.shape == (n, k)
    for i, row in enumerate(mask.keep):
        for j, kept in enumerate(row):
            block = weight[i * block_out : (i + 1) * block_out, j * block_in : (j + 1) * block_in]
            assert kept == any(value != 0 for value in block.flat)


def test_a_nan_is_a_weight() -> None:
    assert mask_from_weight(np.array([[np.nan, 0.0]]), 1, 1).keep.tolist() == [[True, False]]


def test_a_masked_weight_gives_its_mask_back() -> None:
    keep = np.array([[True, False], [False, True]])
    weight = np.kron(keep, np.ones((4, 8)))[:7, :13]
    assert mask_from_weight(weight, 4, 8) == BlockMask(keep, 4, 8, shape=(7, 13))


@pytest.mark.parametrize("shape", [(3,), (0, 4), (2, 2, 2)])
def test_weights_are_matrices(shape: tuple[int, ...]) -> None:
    with pytest.raises(WorkloadError, match="must be a matrix"):
        mask_from_weight(np.ones(shape), 2, 2)
    with pytest.raises(WorkloadError, match="at least 1, got 0x2"):
        mask_from_weight(np.ones((2, 2)), 0, 2)

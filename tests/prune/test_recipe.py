from __future__ import annotations

import pytest

pytest.importorskip("torch")

from lspsim.errors import LspsimError
from lspsim.prune.patterns.units import units_of
from lspsim.prune.recipe import WHOLE, PruneRecipe, parse_blocks


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("32x64", ((32, 64), (), {})),
        ("16x16, 32x32,16x16", ((16, 16), ((32, 32), (16, 16)), {})),
        ("32x32,fc2=32x64", ((32, 32), (), {"fc2": (32, 64)})),
        ("16xall", ((16, WHOLE), (), {})),
        (
            "qkv=16xall,proj=allx16,fc1=16xall,fc2=allx16",
            ((16, WHOLE), (), units_of(16)),
        ),
    ],
)
def test_block_sizes_are_read(text, found) -> None:
    assert parse_blocks(text) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("16", r"'16' is not a block size; write ROWSxCOLUMNS"),
        ("0x16", "'0x16' is not a block size"),
        ("allxall", "'allxall' is not a block size"),
        ("16x16,head=8x8", "'head=8x8' is not a block size.*qkv, proj, fc1, fc2"),
        ("fc2=8x8", "no block size for qkv, proj, fc1; put one in front"),
        ("", "'' is not a block size"),
    ],
)
def test_what_is_no_block_size(text, told) -> None:
    with pytest.raises(LspsimError, match=told):
        parse_blocks(text)


@pytest.mark.parametrize(
    "text", ["32x32", "16x16,32x32", "32x32,fc2=32x64", "16xall,fc1=8x8", "allx16"]
)
def test_the_text_of_a_recipe_reads_back(text) -> None:
    size, more, kinds = parse_blocks(text)
    assert PruneRecipe(*size, more_sizes=more, by_kind=kinds).block == text


def test_sizes_of_a_layer() -> None:
    recipe = PruneRecipe(16, 16, more_sizes=((32, 32), (16, 16)), by_kind={"fc2": (WHOLE, 8)})
    assert recipe.sizes("blocks.0.mlp.fc1", (64, 32)) == ((16, 16), (32, 32))
    assert recipe.sizes("blocks.0.mlp.fc2", (32, 64)) == ((32, 8),)


def test_defaults_follow_the_compensation() -> None:
    full, plain = PruneRecipe(8, 8), PruneRecipe(8, 8, compensate="none")
    assert (full.basis, full.couple) == ("rotate", True)
    assert (plain.basis, plain.couple) == ("own", False)
    assert PruneRecipe(8, 8, basis="own", couple=False).basis == "own"


@pytest.mark.parametrize(
    ("score", "allocate", "compensate", "losses"),
    [
        ("block-obs", "knapsack", "full", "score"),
        ("fisher", "knapsack", "full", "refit"),
        ("random", "uniform", "full", "refit"),
        ("fisher", "knapsack", "least-squares", "score"),
        ("random", "uniform", "least-squares", "score"),
        ("l1", "greedy", "none", "refit"),
        ("wanda", "lagrangian", "bias", "refit"),
    ],
)
def test_layers_share_by_what_compares(score, allocate, compensate, losses) -> None:
    assert PruneRecipe(8, 8, score, allocate, compensate).losses == losses
    assert PruneRecipe(8, 8, score, allocate, compensate, losses="score").losses == "score"


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({"basis": "fourier"}, "there is no basis 'fourier'; known are own, permute, rotate"),
        ({"losses": "hope"}, "there is no source of losses 'hope'"),
        ({"by_kind": {"head": (8, 8)}}, "block size of 'head': kinds of layer are qkv"),
        ({"score": "l1", "compensate": "obs"}, "'obs' goes with score 'block-obs', not 'l1'"),
    ],
)
def test_what_means_nothing_is_refused(choices, told) -> None:
    with pytest.raises(LspsimError, match=told):
        PruneRecipe(8, 8, **choices)

from collections import Counter
from itertools import pairwise

import pytest

from lspsim.bench.cells import (
    CONTROLS,
    FISHER,
    FULL,
    HEADLINES,
    LOW_RANK,
    LPVIT,
    RANDOM,
    RANDOM_FULL,
    REFIT,
    UNITS,
    Cell,
    Method,
    control_cells,
    distilled_cells,
    grid,
    quick_cells,
)


def test_the_grid_holds_what_was_asked_for():
    cells = grid()
    assert len(set(cells)) == len(cells)
    assert {c.method.score for c in cells} == {
        "random", "l1", "wanda", "taylor", "lpvit", "fisher", "block-obs",
    }  # fmt: skip
    assert {c.method.allocate for c in cells} == {"uniform", "greedy", "lagrangian", "knapsack"}
    assert {c.sparsity for c in cells} == {50, 70, 80, 90}
    assert {c.block for c in cells} == {"16x16", "32x32"}
    assert set(HEADLINES) <= {c.method for c in cells}


def test_random_masks_are_repeated_more_often():
    seeds = Counter(c.method for c in grid((((16, 16)),), (80,)))
    assert seeds[RANDOM] == 10
    assert seeds[FULL] == seeds[LPVIT] == 3


def test_the_grid_is_whole():
    """Seven scores by four compensations by four allocators, and obs with its own score."""
    cells = grid(seeds=1, random_seeds=1)
    assert len(cells) == (7 * 4 + 1) * 4 * 2 * 4
    assert {c.method.score for c in cells if c.method.compensate == "obs"} == {"block-obs"}


def test_headlines_come_first_and_at_70_and_80_per_cent():
    cells = grid()
    first = cells[: 4 * len(HEADLINES)]
    assert {c.method for c in first} == set(HEADLINES)
    assert {c.sparsity for c in first} == {70, 80}
    assert {c.seed for c in first} == {0}
    last_headline = max(i for i, c in enumerate(cells) if c.headline and c.seed < 3)
    assert all(c.headline for c in cells[: last_headline + 1])


def test_cells_of_one_preparation_are_neighbours():
    cells = [c for c in grid() if c.headline and c.seed == 0 and c.sparsity in (70, 80)]
    changes = sum(a.preparation != b.preparation for a, b in pairwise(cells))
    assert changes + 1 == len({c.preparation for c in cells})


def test_lpvit_keeps_its_cap():
    assert Cell(LPVIT, 16, 16, 80).recipe.most == 0.95
    assert Cell(FULL, 16, 16, 80).recipe.most == 1.0


def test_controls_share_all_but_one_thing_with_what_they_control():
    cells = control_cells(seeds=2)
    assert {c.method for c in cells} == set(CONTROLS)
    assert {c.sparsity for c in cells} == {80}
    assert sum(c.method == LOW_RANK for c in cells) == 2  # no blocks: once per seed
    units = next(c for c in cells if c.method == UNITS and c.block_out == 16).recipe
    assert units.sizes("blocks.0.mlp.fc2", (192, 768)) == ((192, 16),)


@pytest.mark.parametrize("method", [RANDOM_FULL, FISHER])
def test_full_differs_in_the_order_of_blocks_only(method):
    ours, other = (Cell(one, 16, 16, 80).recipe for one in (FULL, method))
    assert (other.basis, other.couple, other.allocate, other.compensate) == (
        ours.basis, ours.couple, ours.allocate, ours.compensate,
    )  # fmt: skip
    assert (other.losses, ours.losses) == ("refit", "score")  # block-OBS measures that loss itself


def test_many_images_where_small_differences_count():
    assert all(Cell(FULL, 16, 16, 80, seed).precise for seed in range(3))
    assert Cell(REFIT, 16, 16, 80).precise
    assert not Cell(REFIT, 16, 16, 80, 1).precise
    assert not Cell(LPVIT, 16, 16, 80).precise
    assert all(cell.precise for cell in distilled_cells())


def test_names_say_what_is_unusual():
    rotated = Method("random", "least-squares", "knapsack", "rotate", couple=True)
    assert str(rotated) == "random / least-squares / knapsack (rotated) + coupling"
    assert str(UNITS) == "block-obs / full / greedy (structured)"
    assert str(FULL) == "block-obs / full / knapsack"
    assert str(Method("block-obs", "full", "knapsack", couple=False)).endswith("- coupling")


def test_quick_and_distilled_cells():
    assert len(quick_cells()) == 2 * len(HEADLINES)
    distilled = distilled_cells()
    assert len(distilled) == 5
    assert all(c.distilled for c in distilled)
    assert {c.method for c in distilled} <= set(HEADLINES)


@pytest.mark.parametrize(
    ("method", "meaningful"),
    [
        (Method("l1", "none", "knapsack"), True),
        (Method("random", "full", "uniform"), True),
        (Method("fisher", "obs", "uniform"), False),
        (Method("fisher", "bias", "greedy"), True),
        (Method("block-obs", "full", "uniform"), True),
    ],
)
def test_which_parts_go_together(method, meaningful):
    assert method.meaningful == meaningful


def test_keys_tell_all_cells_apart():
    cells = [*grid(), *distilled_cells(), *control_cells()]
    assert len({c.key for c in cells}) == len(cells)

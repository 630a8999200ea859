from collections import Counter
from itertools import pairwise

import pytest

from lspsim.explore.bench_cells import (
    CONTROLS,
    FULL,
    HEADLINES,
    LOW_RANK,
    LPVIT,
    RANDOM,
    REFIT,
    TURNED,
    UNIFORM_ONLY,
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


def test_only_what_compares_across_layers_is_shared_between_them():
    for cell in grid():
        if cell.method.score in UNIFORM_ONLY:
            assert cell.method.allocate == "uniform"
        if cell.method.compensate in ("obs", "full"):
            assert cell.method.score == "block-obs"


def test_headlines_come_first_and_at_70_and_80_per_cent():
    cells = grid()
    first = cells[:16]
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
    turned = next(c for c in cells if c.method == TURNED).recipe
    ours = Cell(FULL, turned.block_out, turned.block_in, 80, turned.seed).recipe
    assert (turned.basis, turned.couple, turned.allocate) == ("rotate", True, ours.allocate)
    assert (ours.basis, ours.couple) == ("rotate", True)
    assert (turned.score, turned.losses) == ("random", "refit")
    units = next(c for c in cells if c.method == UNITS and c.block_out == 16).recipe
    assert units.sizes("blocks.0.mlp.fc2", (192, 768)) == ((192, 16),)


def test_many_images_where_small_differences_count():
    assert all(Cell(FULL, 16, 16, 80, seed).precise for seed in range(3))
    assert Cell(REFIT, 16, 16, 80).precise
    assert not Cell(REFIT, 16, 16, 80, 1).precise
    assert not Cell(LPVIT, 16, 16, 80).precise
    assert all(cell.precise for cell in distilled_cells())


def test_names_say_what_is_unusual():
    assert str(TURNED) == "random / least-squares / knapsack (turned) + coupling"
    assert str(UNITS) == "block-obs / full / greedy (whole units)"
    assert str(FULL) == "block-obs / full / knapsack"
    assert str(Method("block-obs", "full", "knapsack", couple=False)).endswith("- coupling")


def test_quick_and_distilled_cells():
    assert len(quick_cells()) == 8
    distilled = distilled_cells()
    assert len(distilled) == 5
    assert all(c.distilled for c in distilled)
    assert set(HEADLINES) == {c.method for c in distilled}


@pytest.mark.parametrize(
    ("method", "meaningful"),
    [
        (Method("l1", "none", "knapsack"), False),
        (Method("random", "full", "uniform"), False),
        (Method("fisher", "bias", "greedy"), True),
        (Method("block-obs", "full", "uniform"), True),
    ],
)
def test_which_parts_go_together(method, meaningful):
    assert method.meaningful == meaningful


def test_keys_tell_all_cells_apart():
    cells = [*grid(), *distilled_cells(), *control_cells()]
    assert len({c.key for c in cells}) == len(cells)

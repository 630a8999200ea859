from math import comb
from pathlib import Path

import numpy as np
import pytest

from lspsim.bench.cells import FULL, LPVIT, RANDOM, REFIT, Cell
from lspsim.bench.claims import claims, holm, mcnemar, over_seeds, spread
from lspsim.bench.pages import GOALS, goals, hard_goals, markdown, results
from lspsim.bench.results import Table
from lspsim.errors import ResultError
from tests.bench.bench_cases import add


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path / "bench.csv")


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 0), (3, 9), (9, 3), (40, 40), (0, 20)])
def test_mcnemar_is_the_binomial_tail(lost, won):
    n = lost + won
    tail = sum(comb(n, i) for i in range(min(lost, won) + 1)) / 2**n
    assert mcnemar(lost, won) == pytest.approx(min(1.0, 2 * tail))


def test_holm_against_a_worked_example():
    # 0.01 x 4; 0.02 x 3; 0.03 x 2 = 0.06; 0.04 x 1 < 0.06
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_spread():
    assert spread([2.0]).deviation is None
    assert spread([1.0, 3.0]).mean == 2.0
    assert spread([1.0, 3.0]).deviation == pytest.approx(2**0.5)


def test_claims_are_paired_on_the_same_images(table):
    add(table, Cell(FULL, 16, 16, 80), range(0, 4), kl=0.02)
    add(table, Cell(RANDOM, 16, 16, 80), range(2, 20), kl=0.08)
    add(table, Cell(LPVIT, 32, 32, 80), range(50))  # no partner there
    (claim,) = claims(table)
    assert (claim.ours, claim.theirs, claim.block) == (FULL, RANDOM, "16x16")
    assert (claim.lost, claim.won, claim.images) == (2, 16, 100)
    assert claim.gain_points.mean == pytest.approx(14)
    assert claim.kl_ratio == pytest.approx(0.25)
    assert claim.p_holm == claim.p_value == mcnemar(2, 16)


def test_claims_use_the_seeds_and_images_that_both_have(table):
    for seed, wrong in enumerate([range(10), range(12), range(14)]):
        add(table, Cell(FULL, 16, 16, 80, seed), wrong)
    add(table, Cell(REFIT, 16, 16, 80, 1), range(22), images=50)
    (claim,) = claims(table)
    assert claim.gain_points.count == 1
    assert claim.images == 50
    assert claim.gain_points.mean == pytest.approx(20)


def test_each_claim_is_corrected_for_all(table):
    for sparsity in (70, 80):
        add(table, Cell(FULL, 16, 16, sparsity), range(0))
        add(table, Cell(RANDOM, 16, 16, sparsity), range(8))
        add(table, Cell(LPVIT, 16, 16, sparsity), range(8))
    found = claims(table)
    assert len(found) == 4
    assert {c.p_holm for c in found} == {4 * mcnemar(0, 8)}


def test_distilled_cells_make_no_claims(table):
    add(table, Cell(FULL, 16, 16, 80, distilled=True), range(3))
    add(table, Cell(RANDOM, 16, 16, 80, distilled=True), range(9))
    assert claims(table) == []
    assert results(table).rows == ()
    assert len(results(table, distilled=True).rows) == 2


def test_rows_come_back_as_they_were(table):
    add(table, Cell(FULL, 16, 16, 80), range(7))
    add(table, Cell(LPVIT, 32, 32, 90, 2), range(30), images=40)
    again = Table(table.path)
    assert again.rows == table.rows
    assert again.right(Cell(FULL, 16, 16, 80)).sum() == 93
    assert np.array_equal(
        again.right(Cell(LPVIT, 32, 32, 90, 2)), table.right(Cell(LPVIT, 32, 32, 90, 2))
    )


def test_a_cell_measured_again_takes_the_place_of_the_old(table):
    add(table, Cell(FULL, 16, 16, 80), range(7))
    add(table, Cell(FULL, 16, 16, 80), range(9), images=200)
    (row,) = Table(table.path).rows.values()
    assert (row.images, row.lost) == (200, 9)


def test_a_damaged_table_is_named(table):
    add(table, Cell(FULL, 16, 16, 80), range(7))
    text = table.path.read_text().replace("16x16,80", "16x16,many")
    table.path.write_text(text)
    with pytest.raises(ResultError, match=r"bench.csv, line 2: sparsity_target"):
        Table(table.path)


def test_lost_images_are_named(table):
    add(table, Cell(FULL, 16, 16, 80), range(7))
    table.images_path.unlink()
    with pytest.raises(ResultError, match=r"does not hold block-obs-full"):
        Table(table.path).right(Cell(FULL, 16, 16, 80))


def test_unreadable_images_are_named(table):
    add(table, Cell(FULL, 16, 16, 80), range(7))
    table.images_path.write_bytes(b"no archive")
    with pytest.raises(ResultError, match=r"images.npz: cannot be read"):
        Table(table.path)


def test_another_comparison_is_not_mixed_in(table):
    add(table, Cell(FULL, 16, 16, 80), range(7))
    table.check("0123456789abcdef", "digits", 16)
    for other in [("f" * 16, "digits", 16), ("0123456789abcdef", "glyphs", 16)]:
        with pytest.raises(ResultError, match=r"name another --out"):
            table.check(*other)


def test_spread_over_seeds(table):
    add(table, Cell(FULL, 16, 16, 80, 0), range(4))
    add(table, Cell(FULL, 16, 16, 80, 1), range(6))
    add(table, Cell(FULL, 16, 16, 70, 0), range(50))
    found = over_seeds(table, Cell(FULL, 16, 16, 80), "drop_points")
    assert (found.mean, found.count) == (pytest.approx(5), 2)
    assert over_seeds(table, Cell(FULL, 32, 32, 80), "drop_points") is None


def test_the_goal_of_the_hard_set_is_judged_by_kl(table):
    add(table, Cell(FULL, 16, 16, 80), range(2), kl=0.01)
    add(table, Cell(REFIT, 16, 16, 80), range(9), kl=0.05)
    add(table, Cell(FULL, 32, 32, 80), range(2), kl=0.02)
    add(table, Cell(REFIT, 32, 32, 80), range(9), kl=0.05)
    assert [(row[0], row[-2], row[-1]) for row in hard_goals(table).rows] == [
        ("16x16", "0.200", "reached"),
        ("32x32", "0.400", "missed"),
    ]


def test_goals_are_judged(table):
    add(table, Cell(FULL, 16, 16, 80), range(1))
    add(table, Cell(FULL, 32, 32, 80), range(3))
    verdicts = {(r[0], r[1]): r[-1] for r in goals(table).rows}
    assert verdicts == {("16x16", "80 %"): "reached", ("32x32", "80 %"): "missed"}
    assert GOALS[("32x32", 80)] == 2.8


def test_the_page(table):
    assert "Nothing is measured yet" in markdown(table)
    for method in (FULL, RANDOM):
        add(table, Cell(method, 16, 16, 80), range(5))
    page = markdown(table)
    assert page.startswith("# Pruning methods compared: tiny on digits")
    assert "| block-obs / full / knapsack | 5.00 / 0.100 |" in page
    assert "## Claims" in page
    assert "Goals" not in page  # they are for glyphs
    assert isinstance(table.path, Path)

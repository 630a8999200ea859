from fractions import Fraction
from pathlib import Path

import pytest

from lspsim.allocate.budgets import sparsity_budget
from lspsim.bench.bench import LEARNING_RATES, Bench, Sizes
from lspsim.bench.cells import (
    FULL,
    LOW_RANK,
    LPVIT,
    RANDOM,
    RANDOM_FULL,
    REFIT,
    UNITS,
    Cell,
)
from lspsim.bench.pages import markdown
from lspsim.bench.results import Table
from lspsim.errors import LspsimError
from lspsim.workload import Gemm, Workload
from tests.bench.bench_cases import tiny_model

SIZES = Sizes(calibration=16, headline=60, other=40)


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return str(tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def bench(card, tmp_path):
    return Bench(card, "digits", Table(tmp_path / "bench.csv"), SIZES)


def test_a_sparsity_is_a_share_of_the_prunable_macs():
    workload = Workload(
        [
            Gemm("patch_embed.proj", m=16, k=48, n=32),
            Gemm("blocks.0.mlp.fc1", m=17, k=32, n=128),
            Gemm("blocks.0.mlp.fc2", m=17, k=128, n=32),
        ],
        model="small",
    )
    prunable = 2 * 17 * 32 * 128
    budget = sparsity_budget(workload, 80)
    assert not budget.relative
    exact = workload.macs_dense - Fraction(8, 10) * prunable
    assert exact - 1 < budget.limit <= exact


@pytest.mark.parametrize("per_cent", [0, 100])
def test_a_sparsity_that_means_nothing_is_refused(per_cent):
    with pytest.raises(LspsimError, match=r"above 0 and below 100"):
        sparsity_budget(Workload([Gemm("g", m=1, k=1, n=1)]), per_cent)


def test_cells_are_measured_kept_and_not_made_again(bench, card):
    cells = [Cell(method, 8, 8, 50) for method in (FULL, REFIT, RANDOM, LPVIT)]
    told = []
    bench.tell = told.append
    for cell in bench.missing(cells):
        row = bench.measure(cell)
        count = 60 if cell.precise else 40
        assert row.images == count
        assert row.sparsity >= 0.5
        assert row.sparsity == pytest.approx(0.5, abs=0.03)
        assert row.top1_dense == pytest.approx(row.top1 + row.drop_points / 100)
        assert row.lost - row.won == round(count * row.drop_points / 100)
        right = bench.table.right(cell)
        assert right.mean() == pytest.approx(row.top1)
        assert cell.key in told[-1]
    again = Bench(card, "digits", Table(bench.table.path), SIZES)
    assert again.missing(cells) == []
    assert again.missing([Cell(FULL, 8, 8, 70)]) == [Cell(FULL, 8, 8, 70)]
    kl = {cell.method: again.table.rows[cell].kl_nats for cell in cells}
    assert kl[FULL] < kl[RANDOM]


def test_more_test_images_are_measured_anew(bench, card):
    cell = Cell(REFIT, 8, 8, 50)
    bench.measure(cell)
    more = Bench(card, "digits", bench.table, Sizes(16, 90, 40))
    assert more.missing([cell]) == [cell]
    all_of_them = Bench(card, "digits", bench.table, Sizes(16, 10**6, 40))
    all_of_them.measure(cell)
    assert all_of_them.missing([cell]) == []  # digits has no more


def test_one_preparation_serves_several_cells(bench, monkeypatch):
    from lspsim.bench import bench as module

    made = []
    original = module.prepare

    def counted(*args, **kwargs):
        made.append(args[3])
        return original(*args, **kwargs)

    monkeypatch.setattr(module, "prepare", counted)
    for sparsity in (50, 70):
        bench.measure(Cell(REFIT, 8, 8, sparsity))
    bench.measure(Cell(FULL, 8, 8, 50))  # permuted: not the same curves
    assert len(made) == 2


def test_the_same_cell_gives_the_same_figures(bench, card, tmp_path):
    cell = Cell(RANDOM, 8, 8, 70, seed=4)
    other = Bench(card, "digits", Table(tmp_path / "other.csv"), SIZES)
    first, second = bench.measure(cell), other.measure(cell)
    assert (first.top1, first.kl_nats, first.loss) == (second.top1, second.kl_nats, second.loss)


def test_distillation_goes_on_from_the_pruned_network(card, tmp_path):
    table = Table(tmp_path / "bench.csv")
    bench = Bench(card, "digits", table, Sizes(16, 60, 40, distillation=128))
    one_shot = bench.measure(Cell(RANDOM, 8, 8, 70))
    distilled = bench.measure(Cell(RANDOM, 8, 8, 70, distilled=True))
    control = bench.measure(Cell(FULL, 8, 8, 0, distilled=True))
    assert distilled.sparsity == one_shot.sparsity
    assert distilled.kl_nats < one_shot.kl_nats
    assert distilled.learning_rate in LEARNING_RATES
    assert one_shot.learning_rate == control.learning_rate == 0
    assert control.sparsity == 0
    assert control.kl_nats == 0  # nothing is closer to the dense model: it is kept as it was


def test_controls_are_measured_like_everything_else(bench, card):
    for method in (RANDOM_FULL, UNITS, LOW_RANK):
        sides = (0, 0) if method == LOW_RANK else (8, 8)
        row = bench.measure(Cell(method, *sides, 50))
        assert row.unit == "nats"
        assert 0.5 <= row.sparsity < 0.56
        assert row.pattern == method.pattern
        assert row.cell.method == method
    page = markdown(bench.table)
    assert "(structured)" in page
    assert "## Without blocks" in page


def test_a_smaller_dense_network_is_a_control(bench, tmp_path):
    (tmp_path / "small").mkdir()
    small = tiny_model(tmp_path / "small", {"embed_dim": 16})
    row = bench.measure_rival(str(small))
    assert row.sparsity == pytest.approx(0.75)  # half the width: a quarter of each matrix
    assert 0.25 < row.macs_left < 0.5
    assert (row.score, row.pattern) == ("smaller-dense", "dense")
    assert row.cell in Table(bench.table.path).rows
    with pytest.raises(LspsimError, match="no fewer MACs"):
        bench.measure_rival(bench.model_name)


def test_masks_fill_the_budget(bench):
    row = bench.measure(Cell(REFIT, 4, 4, 80))
    assert 0.8 <= row.sparsity < 0.81


@pytest.mark.parametrize("name", ["digits", "glyphs", "glyphs-hard"])
def test_the_published_pages_are_those_of_their_tables(name):
    page = Path(__file__).parents[2] / "docs" / "benchmarks" / f"{name}.md"
    assert page.read_text(encoding="utf-8") == markdown(Table(page.with_suffix(".csv")))

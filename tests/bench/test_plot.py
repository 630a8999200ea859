import pytest

from lspsim.bench.cells import FULL, LOW_RANK, RANDOM_FULL, Cell
from lspsim.bench.plot import NAMES, draw_bench, write_picture
from lspsim.bench.results import Table
from tests.bench.bench_cases import add


@pytest.fixture
def table(tmp_path):
    table = Table(tmp_path / "bench.csv")
    for seed, kl in ((0, 0.01), (1, 0.03)):
        add(table, Cell(FULL, 16, 16, 80, seed), range(4), kl=kl)
    add(table, Cell(FULL, 16, 16, 70), range(2), kl=0.001)
    add(table, Cell(RANDOM_FULL, 32, 32, 80), range(9), kl=0.2)
    add(table, Cell(LOW_RANK, 0, 0, 80), range(3), kl=0.05)
    add(table, Cell(FULL, 16, 16, 80, distilled=True), range(1), kl=1e-5)
    return table


def points(panel, method):
    lines = [bar.lines[0] for bar in panel.containers if bar.get_label() == NAMES[method]]
    return [at for line in lines for at in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def test_a_panel_per_block_size_shows_means_over_seeds(table):
    figure = draw_bench(table)
    small, large = figure.axes
    assert points(small, FULL) == [(70, 0.001), (80, pytest.approx(0.02))]
    assert points(large, FULL) == []
    assert points(large, RANDOM_FULL) == [(80, 0.2)]
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == [NAMES[FULL], NAMES[RANDOM_FULL], NAMES[LOW_RANK]]
    for panel in (small, large):
        assert points(panel, LOW_RANK) == [(80, 0.05)]


def test_the_same_table_gives_the_same_picture(table):
    first = write_picture(table).read_bytes()
    assert write_picture(table).read_bytes() == first
    assert table.path.with_suffix(".svg").exists()

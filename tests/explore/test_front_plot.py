from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lspsim.errors import ResultError
from lspsim.explore import front
from lspsim.report.plots import palette
from lspsim.report.plots.front import draw_front, draw_fronts, looks, lowest_percent
from tests.networks.record_cases import DENSE, new_record


def study():
    return [
        new_record(speedup=2.0, energy_ratio=0.6, top1=0.84),
        new_record(speedup=3.0, energy_ratio=0.4, top1=0.82, sparsity=0.8),
        new_record(speedup=1.9, energy_ratio=0.65, top1=0.79, score="l1", compensate="none"),
    ]


def marks(ax):
    """Marker, colour, x and y of everything that is no line."""
    return [
        (line.get_marker(), to_hex(line.get_color()), line.get_xdata()[0], line.get_ydata()[0])
        for line in ax.lines
        if line.get_linestyle() == "None"
    ]


@pytest.mark.parametrize("objective", ["speedup", "energy"])
def test_every_point_stands_where_it_was_measured(objective):
    data = front(study())
    ax = Figure().add_subplot()
    figure, same = draw_front(data, objective, ax=ax)
    assert same is ax
    assert figure is ax.figure
    drawn = sorted((x, y) for _, _, x, y in marks(ax))
    expected = sorted((p.x(objective), 100 * p.top1) for p in data.points)
    np.testing.assert_allclose(drawn, expected)


def test_dense_is_a_star_and_dominated_points_are_grey():
    data = front(study())
    _, ax = draw_front(data)
    found = {(round(x, 3), round(y, 3)): (mark, colour) for mark, colour, x, y in marks(ax)}
    assert found[1.0, 85.0][0] == "*"
    assert found[1.9, 79.0][1] == palette.GREY.lower()
    look = looks(data)[0, "block-obs + refit"]
    assert found[2.0, 84.0] == (look.marker, look.colour.lower())
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["dense", "block-obs + refit", "l1", "hollow: dominated"]
    assert [text.get_text() for text in ax.texts] == ["80 %", "50 %"]


def test_the_line_is_what_can_be_attained():
    _, ax = draw_front(front(study()), "energy")
    (line,) = [line for line in ax.lines if line.get_linestyle() != "None"]
    # from dense to frugal; before each point the line is at that point's accuracy
    np.testing.assert_allclose(line.get_xdata(), [1.0, 0.6, 0.4])
    np.testing.assert_allclose(line.get_ydata(), [85, 84, 82])
    assert line.get_drawstyle() == "steps-pre"
    assert ax.xaxis_inverted()


def test_collapsed_networks_do_not_press_the_front_flat():
    data = front([*study(), new_record(speedup=2.5, top1=0.02, score="taylor", compensate="none")])
    assert lowest_percent(data) == 65.0
    _, ax = draw_front(data)
    assert ax.get_ylim()[0] == 65.0
    assert "at the edge: 1 point below 65 %" in [text.get_text() for text in ax.texts]
    assert ax.get_xlim()[0] < 1 < 3 < ax.get_xlim()[1]
    assert len(marks(ax)) == 5
    assert lowest_percent(front(study())) is None
    # nothing would be left to see
    assert lowest_percent(front([new_record(top1=0.02)])) is None


def test_many_methods_look_different():
    records = [
        new_record(score=f"s{i:02}", speedup=1 + i / 9, top1=0.8 - i / 99) for i in range(40)
    ]
    made = looks(front(records)).values()
    assert len({(look.colour, look.marker) for look in made}) == 40
    assert palette.BLACK not in {look.colour for look in made}
    assert len({look.label for look in made}) == 40


def test_mixed_settings_have_a_line_each():
    data = front([*study(), new_record(speedup=2.5, model="deit_small")], mixed=True)
    figure = draw_fronts(data)
    for ax in figure.axes:
        lines = [line for line in ax.lines if line.get_linestyle() != "None"]
        assert len({line.get_linestyle() for line in lines}) == 2
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert "block-obs + refit (deit_small, glyphs, edge_32x32)" in names
    assert "deit_small, glyphs, edge_32x32" in names


def test_both_planes_share_accuracy_and_legend():
    figure = draw_fronts(front(study()))
    left, right = figure.axes
    assert left.get_ylim() == right.get_ylim()
    assert (left.get_legend(), right.get_legend()) == (None, None)
    assert len(figure.legends) == 1


def test_nothing_to_draw():
    data = front([new_record(top1=None, dense=replace(DENSE, top1=None))])
    for draw in (draw_front, draw_fronts):
        with pytest.raises(ResultError, match="no point has a top-1 accuracy"):
            draw(data)

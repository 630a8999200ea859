"""The front: accuracy over speedup and over energy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lspsim.errors import ResultError
from lspsim.report.front import OBJECTIVES, Front, FrontPoint, Objective
from lspsim.report.plots import palette
from lspsim.report.plots.canvas import FAINT, INK, SMALL, axes_for, new_figure, quiet

_COLOURS = tuple(colour for colour in palette.CYCLE if colour != palette.BLACK)
"""Black is the dense network's."""
_STYLES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
"""Lines of several settings."""
_XLABEL = {
    "speedup": "Speedup over dense",
    "energy": "Energy relative to dense (less is to the right)",
}
_MARKER_PT = 5.5
_APART = 0.075
"""Part of an axis by which labels of sparsity keep apart."""
COLLAPSE_POINTS = 20.0
"""Points below dense from which a network counts as collapsed and is drawn at the lower edge:
a few of them would press the front into a line."""


@dataclass(frozen=True, slots=True)
class Look:
    """Colour, shape and name of one method (of one setting, where there are several)."""

    colour: str
    marker: str
    label: str


def looks(data: Front) -> dict[tuple[int, str], Look]:
    """Return the look of each (setting, method); it is the same in every plane.

    Colours and shapes advance together; seven of one and eight of the other make 56 pairs.
    """
    names = {(p.setting, p.method): None for p in data.measured if not p.is_dense}
    made = {}
    for i, (setting, method) in enumerate(sorted(names)):
        where = f" ({data.settings[setting].title})" if len(data.settings) > 1 else ""
        made[setting, method] = Look(
            colour=_COLOURS[i % len(_COLOURS)],
            marker=palette.MARKERS[i % len(palette.MARKERS)],
            label=method + where,
        )
    return made


def draw_front(
    data: Front, objective: Objective = "speedup", *, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """Draw top-1 accuracy over speedup or energy; better is up and to the right.

    A point of the front has its method's colour and shape, a dominated one the shape alone, in
    grey. The line is what the front's points attain: at each speedup (energy) the accuracy of
    the best point that is at least as fast (frugal). Labels are sparsities.

    Parameters
    ----------
    data
        What to draw. Points without an accuracy are left out.
    objective
        The x axis: "speedup" or "energy".
    ax
        Where; None = a new figure.

    Raises
    ------
    ResultError
        When no point has a top-1 accuracy.
    """
    figure, ax = axes_for(ax, height_in=3.4, width_in=4.6)
    _draw_panel(data, objective, ax)
    ax.legend(
        handles=_handles(data, (objective,)),
        loc="lower left",
        frameon=False,
        fontsize=SMALL,
        handletextpad=0.4,
        borderaxespad=0.3,
    )
    return figure, ax


def draw_fronts(data: Front) -> Figure:
    """Draw both planes side by side, with one legend above.

    Parameters
    ----------
    data
        The design points.

    Raises
    ------
    ResultError
        When no point has a top-1 accuracy.
    """
    handles = _handles(data, OBJECTIVES)
    columns = max(1, min(4, len(handles)) if len(data.settings) == 1 else 2)
    figure = new_figure(height_in=2.8 + 0.16 * -(-len(handles) // columns))
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_panel(data, "speedup", left)
    _draw_panel(data, "energy", right)
    right.set_ylabel("")
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        fontsize=SMALL,
        columnspacing=1.4,
        handletextpad=0.4,
    )
    return figure


def lowest_percent(data: Front) -> float | None:
    """Return the accuracy at which the axis ends, None where no network collapsed.

    It is `COLLAPSE_POINTS` below the best dense network, rounded down, as long as that leaves
    pruned points to see.
    """
    dense = [_top1_percent(point) for point in data.measured if point.is_dense]
    pruned = [_top1_percent(point) for point in data.measured if not point.is_dense]
    highest = max(dense or pruned, default=0.0)
    lowest = float(math.floor(highest - COLLAPSE_POINTS))
    if any(x < lowest for x in pruned) and any(x >= lowest for x in pruned):
        return lowest
    return None


def _draw_panel(data: Front, objective: Objective, ax: Axes) -> None:
    """Draw one plane without a legend."""
    if not data.measured:
        raise ResultError(
            "no point has a top-1 accuracy, so there is no front to draw; prune with labelled "
            "images"
        )
    names = looks(data)
    lowest = lowest_percent(data)
    for setting in range(len(data.settings)):
        best = data.best(objective, setting)
        ax.plot(
            [point.x(objective) for point in best],
            [_top1_percent(point) for point in best],
            drawstyle="steps-pre",
            linestyle=_STYLES[setting % len(_STYLES)],
            color=FAINT,
            linewidth=1.0,
            zorder=2,
        )
    below = 0
    for point in data.measured:
        y = _top1_percent(point)
        mark = _mark(point, objective, names)
        mark.set_data([point.x(objective)], [y])
        ax.add_line(mark)
        if lowest is not None and y < lowest:
            below += 1
            mark.set_ydata([0.0])
            mark.set_transform(ax.get_xaxis_transform())
            mark.set_clip_on(False)
            ax.update_datalim([(point.x(objective), lowest)], updatey=False)
        else:
            ax.update_datalim([(point.x(objective), y)])
    _finish(objective, ax)
    if lowest is not None:
        highest = max(_top1_percent(point) for point in data.measured)
        ax.set_ylim(lowest, highest + 0.1 * (highest - lowest))
        word = "point" if below == 1 else "points"
        ax.annotate(
            f"at the edge: {below} {word} below {lowest:.0f} %",
            (0.0, 0.0),
            xycoords="axes fraction",
            xytext=(4, 6),
            textcoords="offset points",
            fontsize=SMALL - 1,
            color=FAINT,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            zorder=2.5,
        )
    if len(data.settings) == 1:
        _label_best(data, objective, ax)


def _finish(objective: Objective, ax: Axes) -> None:
    """Set axes, ticks and names."""
    quiet(ax, grid="both")
    ax.margins(0.09, 0.1)
    ax.autoscale_view()
    if objective == "energy":
        ax.invert_xaxis()
    ax.set_xlabel(_XLABEL[objective])
    ax.set_ylabel("Top-1 accuracy (%)")
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}\u00d7"))
    ax.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))


def _mark(point: FrontPoint, objective: Objective, names: dict[tuple[int, str], Look]) -> Line2D:
    """Return one point: dense as a black star, beaten in grey, else in its method's colour."""
    beaten = point.dominated(objective)
    if point.is_dense:
        mark = _star()
    else:
        look = names[point.setting, point.method]
        mark = _dot(look.marker, palette.GREY if beaten else look.colour, filled=not beaten)
    mark.set_zorder(5 if point.is_dense else 3 if beaten else 4)
    return mark


def _label_best(data: Front, objective: Objective, ax: Axes) -> None:
    """Write the sparsity above the front's points, from the best gain on, where there is room."""
    bottom, top = ax.get_ylim()
    left, right = ax.get_xlim()
    taken: list[tuple[float, float]] = []
    for point in reversed(data.best(objective)):
        x, y = point.x(objective), _top1_percent(point)
        here = ((x - left) / (right - left), (y - bottom) / (top - bottom))
        near = any(abs(here[0] - a) < _APART and abs(here[1] - b) < _APART for a, b in taken)
        if point.is_dense or near or y < bottom:
            continue
        taken.append(here)
        ax.annotate(
            f"{100 * point.sparsity:.0f} %",
            (x, y),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=SMALL - 1,
            color=INK,
            zorder=6,
        )


def _handles(data: Front, objectives: tuple[Objective, ...]) -> list[Line2D]:
    """Return the legend: dense, methods (grey where always beaten), settings."""
    shining = {
        (point.setting, point.method)
        for objective in objectives
        for point in data.measured
        if not point.dominated(objective)
    }
    handles = [_star("dense")] if any(point.is_dense for point in data.measured) else []
    for key, look in looks(data).items():
        colour = look.colour if key in shining else palette.GREY
        handles.append(_dot(look.marker, colour, filled=key in shining, label=look.label))
    if any(p.dominated(objective) for p in data.measured for objective in objectives):
        handles.append(_dot("o", palette.GREY, filled=False, label="hollow: dominated"))
    if len(data.settings) > 1:
        for i, setting in enumerate(data.settings):
            style = _STYLES[i % len(_STYLES)]
            handles.append(
                Line2D([], [], color=FAINT, linewidth=1.0, linestyle=style, label=setting.title)
            )
    return handles


def _star(label: str = "") -> Line2D:
    return Line2D([], [], color=INK, marker="*", markersize=9, linestyle="none", label=label)


def _dot(marker: str, colour: str, *, filled: bool, label: str = "") -> Line2D:
    return Line2D(
        [],
        [],
        color=colour,
        marker=marker,
        markersize=_MARKER_PT,
        markerfacecolor=colour if filled else "none",
        markeredgewidth=0.9,
        linestyle="none",
        label=label,
    )


def _top1_percent(point: FrontPoint) -> float:
    """Return the accuracy in percent; only points that have one are drawn."""
    assert point.top1 is not None
    return 100 * point.top1

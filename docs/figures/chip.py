"""A chip of P cores, and what is in a core."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from lspsim.report.plots import palette
from lspsim.report.plots.canvas import FAINT, FONT, INK, SMALL, new_figure

Point = tuple[float, float]

WEIGHTS, ACTIVATIONS, RESULTS = palette.VERMILLION, palette.BLUE, palette.GREEN
PALE = "#f4f6f8"


def draw_chip() -> Figure:
    """Draw the units that the model knows and what moves between them."""
    figure = new_figure(4.1)
    ax = figure.add_subplot()
    ax.set_xlim(0, 70)
    ax.set_ylim(0, 41)
    ax.set_aspect("equal")
    ax.set_axis_off()
    _cores(ax)
    _box(ax, 2, 5, 7, 28, "DRAM", "bandwidth\nefficiency\nlatency\nburst")
    _box(ax, 13, 5, 7, 28, "DMA", "one open\nrequest\nper class")
    _box(ax, 24, 27.4, 14, 5.6, "weight buffer", "FIFO of R\u00d7C tiles")
    _box(ax, 24, 14, 10, 8, "activation\nbuffer", "")
    _array(ax)
    _box(ax, 45, 6, 17, 3.6, "2 accumulator banks", "")
    _box(ax, 24, 5, 13, 5.6, "vector unit", "passes over lanes")
    _arrows(ax)
    _key(ax)
    return figure


def _cores(ax: Axes) -> None:
    """Draw one core and the edges of those behind it."""
    for shift in (1.6, 0.8, 0.0):
        _frame(ax, 11.5 + shift, 3 + shift, 54, 33, PALE, FAINT)
    ax.text(13, 34.4, "one of P cores", fontsize=FONT, color=INK, ha="left", va="center")
    ax.text(
        65.5,
        1.3,
        "between layers: all-gather of resident results over the core network",
        fontsize=SMALL,
        color=FAINT,
        ha="right",
    )


def _array(ax: Axes) -> None:
    """Draw the array as a grid of processing elements."""
    left, bottom, side, count = 45.0, 12.5, 2.8, 4
    for row in range(count):
        for column in range(5):
            _frame(
                ax,
                left + column * 3.5,
                bottom + row * 3.5,
                side,
                side,
                palette.SKY,
                "white",
                radius=0.3,
            )
    ax.text(
        left + 9.6,
        bottom + 15.2,
        "systolic array\nR rows \u00d7 C columns",
        fontsize=SMALL,
        color=INK,
        ha="left",
        va="bottom",
        linespacing=1.2,
    )


def _arrows(ax: Axes) -> None:
    """Draw the paths of weights, activations and results."""
    top, middle = 30.2, 18.0
    _arrow(ax, (9, top), (13, top), WEIGHTS)
    _arrow(ax, (20, top), (24, top), WEIGHTS)
    _path(ax, [(38, top), (53.4, top), (53.4, 26.0)], WEIGHTS)
    _arrow(ax, (9, middle), (13, middle), ACTIVATIONS)
    _arrow(ax, (20, middle), (24, middle), ACTIVATIONS)
    _arrow(ax, (34, middle), (45, middle), ACTIVATIONS)
    _path(
        ax,
        [(29, 22), (29, 24.4), (42, 24.4), (42, 28), (49.9, 28), (49.9, 26)],
        ACTIVATIONS,
    )
    ax.text(30, 25.1, "K, V in attention", fontsize=SMALL, color=INK, ha="left", va="bottom")
    _arrow(ax, (31.5, 14), (31.5, 10.6), ACTIVATIONS)
    _arrow(ax, (53.4, 12.5), (53.4, 9.6), RESULTS)
    _arrow(ax, (45, 7.8), (37, 7.8), RESULTS)
    _arrow(ax, (26.5, 10.6), (26.5, 14), RESULTS)
    _arrow(ax, (24, 7.8), (20, 7.8), RESULTS)
    _arrow(ax, (13, 7.8), (9, 7.8), RESULTS)


def _key(ax: Axes) -> None:
    """Name the three request classes by their colours."""
    x = 2.0
    for label, colour, width in (
        ("weights, index, bias", WEIGHTS, 17),
        ("activations", ACTIVATIONS, 12),
        ("results", RESULTS, 10),
    ):
        ax.plot([x, x + 2.2], [39.6, 39.6], color=colour, linewidth=1.6)
        ax.text(x + 3, 39.6, label, fontsize=SMALL, color=INK, va="center")
        x += width


def _box(ax: Axes, x: float, y: float, width: float, height: float, title: str, note: str) -> None:
    """Draw a unit with its name and, in small, what it is like."""
    _frame(ax, x, y, width, height, "white", INK)
    middle = y + height / 2
    lift = 0.0 if not note else 0.75 * (note.count("\n") + 1)
    ax.text(
        x + width / 2,
        middle + lift,
        title,
        fontsize=FONT,
        color=INK,
        ha="center",
        va="center",
        linespacing=1.1,
    )
    if note:
        ax.text(
            x + width / 2,
            middle - 1.0 - 0.2 * title.count("\n") * 4,
            note,
            fontsize=SMALL,
            color=FAINT,
            ha="center",
            va="center",
            linespacing=1.15,
        )


def _frame(
    ax: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    fill: str,
    edge: str,
    radius: float = 0.6,
) -> None:
    ax.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle=f"round,pad=0,rounding_size={radius}",
            facecolor=fill,
            edgecolor=edge,
            linewidth=0.8,
        )
    )


def _arrow(ax: Axes, start: Point, end: Point, colour: str) -> None:
    ax.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=7,
            color=colour,
            linewidth=1.4,
            shrinkA=0,
            shrinkB=0,
        )
    )


def _path(ax: Axes, points: list[Point], colour: str) -> None:
    """Draw a bent arrow through `points`."""
    xs, ys = zip(*points[:-1], strict=True)
    ax.plot(xs, ys, color=colour, linewidth=1.4, solid_joinstyle="round")
    _arrow(ax, points[-2], points[-1], colour)

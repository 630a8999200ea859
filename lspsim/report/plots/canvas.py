"""Figures without pyplot: no global state, no display."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lspsim.errors import ResultError

FONT = 8.0
"""Points. On a 7-inch figure shown 1000 pixels wide this is 16 pixels."""
SMALL = 7.0
INK = "#222222"
FAINT = "#8a8a8a"
GRID = "#dddddd"
WIDTH_IN = 7.0


def axes_for(ax: Axes | None, height_in: float, width_in: float = WIDTH_IN) -> tuple[Figure, Axes]:
    """Return `ax` and its figure, or a new figure of this size with one axes."""
    if ax is not None:
        figure = ax.get_figure(root=True)
        if figure is None:
            raise ValueError("ax belongs to no figure; create it with Figure.add_subplot")
        return figure, ax
    figure = new_figure(height_in, width_in)
    return figure, figure.add_subplot()


def new_figure(height_in: float, width_in: float = WIDTH_IN) -> Figure:
    """Return an empty figure that lays itself out."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def quiet(ax: Axes, *, grid: str = "") -> None:
    """Take the frame away, make ticks small and, with `grid="x"`, draw faint lines."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)
        ax.spines[side].set_linewidth(0.6)
    ax.tick_params(labelsize=FONT, color=FAINT, labelcolor=INK, width=0.6, length=3)
    ax.tick_params(which="minor", color=FAINT, width=0.4, length=2)
    ax.xaxis.label.set_fontsize(FONT)
    ax.yaxis.label.set_fontsize(FONT)
    if grid == "x":
        ax.grid(axis="x", color=GRID, linewidth=0.6)
    elif grid == "both":
        ax.grid(which="major", color=GRID, linewidth=0.6)
    ax.set_axisbelow(True)


def save_figure(figure: Figure, path: Path, dpi: int = 200) -> tuple[Path, Path]:
    """Write `<path>.png` and `<path>.svg`; the same figure gives the same bytes.

    Parameters
    ----------
    figure
        The picture.
    path
        Where, without a suffix.
    dpi
        Dots per inch of the PNG.

    Raises
    ------
    ResultError
        When the path names no file.
    """
    if path.name in ("", ".."):
        raise ResultError(
            f"cannot write a plot to '{path}': that names no file; write e.g. plots/front, which "
            "gets the endings .png and .svg"
        )
    png, svg = path.with_name(path.name + ".png"), path.with_name(path.name + ".svg")
    figure.savefig(png, dpi=dpi, facecolor="white")
    with matplotlib.rc_context({"svg.hashsalt": "lspsim"}):
        figure.savefig(svg, facecolor="white", metadata={"Date": None})
    return png, svg

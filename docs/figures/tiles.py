"""A pruned weight under the tiles of an array, and the folds that come of it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from lspsim.report.plots import palette
from lspsim.report.plots.canvas import FAINT, FONT, INK, SMALL, new_figure
from lspsim.workload import BlockMask

ROWS, COLS = 4, 4  # the array
BLOCK_OUT, BLOCK_IN = 2, 2
N, K = 10, 14
GAP = 2.6  # between packed tile columns, for labels
PALE = "#e8edf2"
KEPT = np.array(
    [
        [1, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 0, 1],
        [0, 1, 0, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    dtype=bool,
)


def draw_tiles() -> Figure:
    """Draw the mask with its tiles, and beside it what is left with either packing."""
    mask = BlockMask(KEPT, BLOCK_OUT, BLOCK_IN, (N, K))
    weights = np.repeat(np.repeat(mask.keep, BLOCK_OUT, 0), BLOCK_IN, 1)[:N, :K]
    figure = new_figure(3.1)
    axes = figure.subplots(1, 3, sharey=True)
    _draw_mask(axes[0], weights)
    _draw_packed(axes[1], weights, gather=False)
    _draw_packed(axes[2], weights, gather=True)
    for ax in axes:
        ax.set_xlim(-2.6, 13.0)
        ax.set_ylim(16.3, -3.4)
        ax.set_aspect("equal")
        ax.set_axis_off()
    return figure


def _columns() -> list[tuple[int, int]]:
    return [(at, min(at + COLS, N)) for at in range(0, N, COLS)]


def _draw_mask(ax: Axes, weights: NDArray[np.bool_]) -> None:
    """Draw W transposed: K runs down, N to the right, as the array holds it."""
    _title(ax, "a  kept blocks and tiles")
    for k in range(K):
        for n in range(N):
            _cell(ax, n, k, palette.BLUE if weights[n, k] else PALE)
    for first, last in _columns():
        for top in range(0, K, ROWS):
            bottom = min(top + ROWS, K)
            live = bool(weights[first:last, top:bottom].any())
            _frame(ax, first, top, live)
    ax.annotate(
        "", (N, -0.5), (0, -0.5), arrowprops={"arrowstyle": "->", "color": FAINT, "lw": 0.8}
    )
    ax.text(N / 2, -0.6, "N, array columns", ha="center", va="bottom", fontsize=SMALL, color=INK)
    ax.annotate(
        "", (-0.5, K), (-0.5, 0), arrowprops={"arrowstyle": "->", "color": FAINT, "lw": 0.8}
    )
    ax.text(
        -0.8,
        K / 2,
        "K, array rows",
        ha="right",
        va="center",
        rotation=90,
        fontsize=SMALL,
        color=INK,
    )


def _draw_packed(ax: Axes, weights: NDArray[np.bool_], *, gather: bool) -> None:
    """Stack the tiles that each tile column executes."""
    name = "k-compact" if gather else "none"
    folds = 0
    for j, (first, last) in enumerate(_columns()):
        rows = _gathered(weights[first:last]) if gather else _live(weights[first:last])
        left = j * (COLS + GAP)
        for at, k in enumerate(rows):
            for n in range(first, last):
                _cell(ax, left + n - first, at, palette.BLUE if weights[n, k] else PALE)
        for top in range(0, len(rows), ROWS):
            _frame(ax, left, top, True)
            folds += 1
        _labels(ax, left, rows)
    _title(ax, f"{'c' if gather else 'b'}  packing: {name}, {folds} folds")


def _live(column: NDArray[np.bool_]) -> list[int]:
    """Values of K in the live tiles."""
    tops = [top for top in range(0, K, ROWS) if column[:, top : top + ROWS].any()]
    return [k for top in tops for k in range(top, min(top + ROWS, K))]


def _gathered(column: NDArray[np.bool_]) -> list[int]:
    """Values of K in the sub-blocks that any of the column's weights keeps."""
    tops = [top for top in range(0, K, BLOCK_IN) if column[:, top : top + BLOCK_IN].any()]
    return [k for top in tops for k in range(top, min(top + BLOCK_IN, K))]


def _labels(ax: Axes, left: float, rows: list[int]) -> None:
    """Write which values of K each pair of rows holds."""
    for at in range(0, len(rows), BLOCK_IN):
        ax.text(
            left - 0.3,
            at + BLOCK_IN / 2,
            f"{rows[at]}, {rows[at] + 1}",
            ha="right",
            va="center",
            fontsize=SMALL - 1,
            color=INK,
        )
    if rows:
        ax.text(left - 0.3, -0.3, "K", ha="right", va="bottom", fontsize=SMALL - 1, color=FAINT)


def _cell(ax: Axes, n: float, k: int, colour: str) -> None:
    ax.add_patch(Rectangle((n, k), 1, 1, facecolor=colour, edgecolor="white", linewidth=0.4))


def _frame(ax: Axes, first: float, top: int, live: bool) -> None:
    """Draw a tile at its full size: the array is as large for an edge tile."""
    ax.add_patch(
        Rectangle(
            (first, top),
            COLS,
            ROWS,
            facecolor="none",
            edgecolor=palette.VERMILLION if live else FAINT,
            linewidth=1.3 if live else 0.7,
            linestyle="-" if live else (0, (3, 2)),
            zorder=3 if live else 2,
        )
    )


def _title(ax: Axes, text: str) -> None:
    ax.text(-1.6, -2.3, text, ha="left", va="bottom", fontsize=FONT, color=INK)

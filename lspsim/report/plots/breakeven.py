"""Break-even sparsity over batch size, a line per block size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lspsim.errors import ResultError
from lspsim.report.plots import palette
from lspsim.report.plots.canvas import FONT, INK, SMALL, axes_for, quiet

NEVER = 1.06
"""Where a batch is drawn at which no sparsity pays."""


def draw_break_evens(
    lines: Mapping[str, Sequence[tuple[int, float | None]]],
    *,
    title: str = "",
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw the least sparsity at which blocks pay; what never pays is drawn above 100 %.

    Parameters
    ----------
    lines
        By block size, (batch, sparsity) with None for never.
    title
        What was predicted.
    ax
        Where; default: a new figure.

    Raises
    ------
    ResultError
        When there is no point.
    """
    if not any(lines.values()):
        raise ResultError("a plot of break-evens needs at least one point")
    figure, ax = axes_for(ax, height_in=3.2, width_in=5.2)
    for i, (name, points) in enumerate(lines.items()):
        ordered = sorted(points)
        ax.plot(
            [batch for batch, _ in ordered],
            [100 * (NEVER if value is None else value) for _, value in ordered],
            color=palette.CYCLE[i % len(palette.CYCLE)],
            marker=palette.MARKERS[i % len(palette.MARKERS)],
            markersize=5,
            linewidth=1.2,
            label=name,
            clip_on=False,
        )
    batches = sorted({batch for points in lines.values() for batch, _ in points})
    ax.set_xscale("log", base=2)
    ax.set_xticks(batches, [str(batch) for batch in batches])
    ax.minorticks_off()
    ax.set_ylim(0, 110)
    ax.set_yticks([0, 25, 50, 75, 100, 100 * NEVER], ["0", "25", "50", "75", "100", "never"])
    quiet(ax)
    for level in (25, 50, 75, 100):
        ax.axhline(level, color="#dddddd", linewidth=0.6, zorder=0)
    ax.set_xlabel("Batch (images)")
    ax.set_ylabel("Break-even sparsity (%)")
    ax.set_title(title, loc="left", fontsize=FONT, color=INK)
    ax.legend(
        frameon=False,
        fontsize=SMALL,
        title="block (out x in)",
        title_fontsize=SMALL,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
    )
    return figure, ax

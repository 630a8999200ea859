"""The comparison as a picture: KL to dense over sparsity, a panel per block size."""

from __future__ import annotations

from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from lspsim.bench.cells import (
    FISHER,
    FULL,
    HEADLINES,
    LOW_RANK,
    LPVIT,
    RANDOM,
    RANDOM_FULL,
    REFIT,
    UNITS,
    Cell,
    Method,
)
from lspsim.bench.claims import over_seeds
from lspsim.bench.results import Table
from lspsim.report.plots import palette
from lspsim.report.plots.canvas import SMALL, new_figure, quiet, save_figure

NAMES = {
    FULL: "block-OBS, full",
    REFIT: "block-OBS + refit",
    RANDOM: "random + refit, uniform",
    LPVIT: "LPViT, not fine-tuned",
    FISHER: "Fisher, all else as in full",
    RANDOM_FULL: "random, all else as in full",
    UNITS: "structured, full",
    LOW_RANK: "low rank + refit",
}
"""What is drawn, in this order; low rank has no blocks and is drawn in every panel."""


def draw_bench(table: Table) -> Figure:
    """Draw what is finished of `NAMES`: lines where there are several sparsities, else marks.

    Means over the seeds that are there; bars are their standard deviation, where there are
    several and it is wider than the mark.
    """
    sizes = sorted({(c.block_out, c.block_in) for c in table.rows if c.block_out})
    figure = new_figure(2.9)
    panels = figure.subplots(1, max(len(sizes), 1), sharey=True, squeeze=False)[0]
    for panel, size in zip(panels, sizes, strict=False):
        for number, method in enumerate(NAMES):
            _draw(panel, table, method, (0, 0) if method == LOW_RANK else size, number)
        quiet(panel, grid="both")
        panel.set_yscale("log")
        shown = sorted({c.sparsity for c in table.rows if c.block_out and not c.distilled})
        panel.xaxis.set_major_locator(FixedLocator(shown))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        panel.set_title(f"{size[0]}x{size[1]} blocks", fontsize=SMALL, loc="left")
        panel.set_xlabel("MACs of prunable layers removed (%)", fontsize=SMALL)
    panels[0].set_ylabel("KL to dense (nats per image)", fontsize=SMALL)
    known: dict[str, Artist] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        known |= dict(zip(labels, handles, strict=True))
    shown_names = [name for name in NAMES.values() if name in known]
    figure.legend(
        [known[name] for name in shown_names],
        shown_names,
        loc="outside right upper",
        fontsize=SMALL,
        frameon=False,
    )
    return figure


def _draw(panel: Axes, table: Table, method: Method, size: tuple[int, int], number: int) -> None:
    found = {}
    for cell in table.rows:
        if cell.method == method and (cell.block_out, cell.block_in) == size:
            spread = over_seeds(table, Cell(method, *size, cell.sparsity), "kl_nats")
            if spread is not None and not cell.distilled:
                found[cell.sparsity] = spread
    if not found:
        return
    at = sorted(found)
    colours = [colour for colour in palette.CYCLE if colour != palette.BLACK]
    panel.errorbar(
        at,
        [found[x].mean for x in at],
        yerr=[found[x].deviation or 0.0 for x in at],
        color=palette.BLACK if method == FULL else colours[number % len(colours)],
        marker=palette.MARKERS[number % len(palette.MARKERS)],
        markersize=4.5,
        linewidth=1.4 if method == FULL else 0.9,
        linestyle="-" if method in HEADLINES else ":",
        elinewidth=0.7,
        label=NAMES[method],
    )


def write_picture(table: Table) -> Path:
    """Write the picture beside the table, as PNG and SVG; return the former's path."""
    png, _ = save_figure(draw_bench(table), table.path.with_suffix(""))
    return png

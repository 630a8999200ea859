"""One picture of one run: masks, cycles, energy."""

from __future__ import annotations

from matplotlib.figure import Figure

from lspsim.report.grouping import group_layers
from lspsim.report.plots.breakdown import (
    cycle_breakdown,
    cycles_of,
    draw_breakdown,
    energy_breakdown,
    energy_of,
    fold_small,
)
from lspsim.report.plots.canvas import FONT, INK, new_figure
from lspsim.report.plots.masks import draw_masks, mask_strips
from lspsim.report.quantities import percent, si
from lspsim.report.summary import RunSummary
from lspsim.workload import Workload

WIDTH_IN = 8.0
LABELS_IN = 1.08
"""Space for labels at the left, for masks as for bars."""


def headline(run: RunSummary) -> str:
    """Return the run in one line: what, how fast, how much energy."""
    totals = run.totals
    kept = totals.macs_executed / totals.macs_dense if totals.macs_dense else 0.0
    return (
        f"{run.label}: {si(totals.latency_s, 's')}, {si(totals.energy_j, 'J')}, "
        f"{percent(kept)} of the dense MACs executed"
    )


def draw_overview(run: RunSummary, workload: Workload, *, min_share: float = 0.01) -> Figure:
    """Draw masks over the cycle and energy breakdowns, which share their rows.

    Parameters
    ----------
    run
        The run.
    workload
        What ran, for its masks.
    min_share
        Rows below this share of both time and energy are drawn as one bar.

    Raises
    ------
    ResultError
        When no GEMM has a mask, or the run is empty.
    """
    bars = fold_small(group_layers(run.layers), [cycles_of, energy_of], min_share)
    cycles = cycle_breakdown(run, bars)
    energy = energy_breakdown(run, bars)
    strips = mask_strips(workload)
    masks_in = (WIDTH_IN - LABELS_IN - 0.2) * (strips.height + 0.5) / strips.width + 0.3
    bars_in = 1.6 + 0.21 * len(cycles.labels)
    figure = new_figure(masks_in + bars_in, width_in=WIDTH_IN)
    grid = figure.add_gridspec(2, 1, height_ratios=(masks_in, bars_in))
    top, bottom = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    top.suptitle(headline(run), fontsize=FONT + 1, color=INK, x=0.01, ha="left")
    draw_masks(strips, ax=top.add_subplot(), label_in=LABELS_IN)
    left, right = bottom.subplots(1, 2)
    draw_breakdown(cycles, ax=left, legend_columns=2)
    draw_breakdown(energy, ax=right, labels=False, legend_columns=2)
    return figure

"""Stacked bars: where each layer's cycles or energy go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lspsim.errors import ResultError
from lspsim.report.grouping import LayerRow, group_layers
from lspsim.report.plots import palette
from lspsim.report.plots.canvas import FAINT, FONT, INK, SMALL, axes_for, quiet
from lspsim.report.summary import RunSummary
from lspsim.simulate.columns import BUCKETS

REST = "everything else"
MIN_SHARE = 0.005
"""Rows below this share of the whole are drawn as one bar."""
MIN_PART = 0.01
"""Energy components below this share of the whole are drawn as one part."""


@dataclass(frozen=True, slots=True, eq=False)
class Breakdown:
    """Values of a stacked bar chart, one bar per layer row.

    Attributes
    ----------
    title, unit
        What is split, in which unit.
    labels
        Bars, top to bottom.
    parts, part_labels, colours
        Segments of a bar: key, what the legend says, colour.
    values
        `[labels, parts]`, in `unit`.
    """

    title: str
    unit: str
    labels: tuple[str, ...]
    parts: tuple[str, ...]
    part_labels: tuple[str, ...]
    colours: tuple[str, ...]
    values: NDArray[np.float64]

    @property
    def total(self) -> float:
        """Sum over all bars."""
        return float(self.values.sum())


Bars = list[tuple[str, list[LayerRow]]]
"""Labels and the rows that each bar sums."""


def fold_small(
    rows: Sequence[LayerRow], weights: Sequence[Callable[[LayerRow], float]], min_share: float
) -> Bars:
    """Return one bar per row, and one for all rows that are small by every weight.

    Parameters
    ----------
    rows
        Report rows.
    weights
        What a row is worth, e.g. its cycles.
    min_share
        Smaller than this share of the sum of each weight is small.
    """
    sums = [sum(map(weight, rows)) or 1.0 for weight in weights]
    bars: Bars = []
    rest: list[LayerRow] = []
    for row in rows:
        share = max(weight(row) / whole for weight, whole in zip(weights, sums, strict=True))
        if share >= min_share:
            bars.append((bar_label(row), [row]))
        elif share > 0:
            rest.append(row)
    if rest:
        bars.append((bar_label(rest[0]) if len(rest) == 1 else REST, rest))
    return bars


def cycles_of(row: LayerRow) -> float:
    """Cycles of a row, as a weight for `fold_small`."""
    return float(row.cycles_total)


def energy_of(row: LayerRow) -> float:
    """Energy of a row, as a weight for `fold_small`."""
    return row.energy_total_pj


def bar_label(row: LayerRow) -> str:
    """Return a row's label for an axis: without the repeated prefix, `12 x attn.qkv`."""
    if row.count == 1:
        return row.name
    prefix, _, suffix = row.name.rpartition("*.")
    stage = prefix.replace("*.", "").replace("blocks.", "").strip(".")
    return f"{stage + '.' if stage else ''}{suffix} \u00d7{row.count}"


def cycle_breakdown(run: RunSummary, bars: Bars | None = None) -> Breakdown:
    """Return cycles per layer row and bucket.

    Core-cycles are divided by the cores, so bars sum to the run's cycles.

    Parameters
    ----------
    run
        The run.
    bars
        What to draw; default: every row of at least `MIN_SHARE`, the others as one.

    Raises
    ------
    ResultError
        When the run has no cycles.
    """
    if not run.totals.cycles_total:
        raise ResultError(f"{run.label}: no cycles to draw; the run is empty")
    bars = bars or fold_small(group_layers(run.layers), [cycles_of], MIN_SHARE)
    table = np.array(
        [[sum(row.cycles[bucket] for row in rows) for bucket in BUCKETS] for _, rows in bars],
        np.float64,
    )
    used = [i for i in range(len(BUCKETS)) if table[:, i].any()]
    parts = tuple(BUCKETS[i] for i in used)
    return Breakdown(
        title="Cycles",
        unit="cycles",
        labels=tuple(label for label, _ in bars),
        parts=parts,
        part_labels=tuple(palette.BUCKET_LABEL[part] for part in parts),
        colours=tuple(palette.BUCKET[part] for part in parts),
        values=table[:, used] / run.cores,
    )


def energy_breakdown(run: RunSummary, bars: Bars | None = None) -> Breakdown:
    """Return energy in joules per layer row and component.

    Components below `MIN_PART` of the whole are summed as `other`.

    Parameters
    ----------
    run
        The run.
    bars
        What to draw; default: every row of at least `MIN_SHARE`, the others as one.

    Raises
    ------
    ResultError
        When the run has no energy.
    """
    bars = bars or fold_small(group_layers(run.layers), [energy_of], MIN_SHARE)
    names = list(dict.fromkeys(name for layer in run.layers for name in layer.energy_pj))
    table = np.array(
        [
            [sum(row.energy_pj.get(name, 0.0) for row in rows) * 1e-12 for name in names]
            for _, rows in bars
        ]
    ).reshape(len(bars), len(names))
    sums = table.sum(axis=0)
    if not sums.any():
        raise ResultError(f"{run.label}: no energy to draw; the run has no energy figures")
    named = [i for i in range(len(names)) if sums[i] >= MIN_PART * sums.sum()]
    rest = [i for i in range(len(names)) if sums[i] > 0 and i not in named]
    parts = [names[i] for i in named]
    labels = [palette.ENERGY_LABEL.get(part, part.replace("_", " ")) for part in parts]
    colours = [
        palette.ENERGY.get(part, palette.CYCLE[i % len(palette.CYCLE)])
        for i, part in enumerate(parts)
    ]
    columns = [table[:, i] for i in named]
    if rest:
        parts.append("other")
        labels.append("other")
        colours.append(palette.OTHER)
        columns.append(table[:, rest].sum(axis=1))
    return Breakdown(
        title="Energy",
        unit="J",
        labels=tuple(label for label, _ in bars),
        parts=tuple(parts),
        part_labels=tuple(labels),
        colours=tuple(colours),
        values=np.stack(columns, axis=1),
    )


def draw_breakdown(
    data: Breakdown, *, ax: Axes | None = None, labels: bool = True, legend_columns: int = 4
) -> tuple[Figure, Axes]:
    """Draw horizontal stacked bars, the first row on top.

    Parameters
    ----------
    data
        What to draw.
    ax
        Where; None = a new figure.
    labels
        Name the bars on the y axis.
    legend_columns
        Columns of the legend above the bars.
    """
    figure, ax = axes_for(ax, height_in=1.0 + 0.21 * len(data.labels))
    scale, prefix = _prefix(float(data.values.sum(axis=1).max()), data.unit)
    positions = np.arange(len(data.labels))
    left = np.zeros(len(data.labels))
    for i, (label, colour) in enumerate(zip(data.part_labels, data.colours, strict=True)):
        width = data.values[:, i] / scale
        ax.barh(positions, width, left=left, height=0.72, color=colour, label=label, linewidth=0)
        left += width
    for position, end in zip(positions, left, strict=True):
        share = end * scale / data.total
        if share == 0:
            continue
        ax.annotate(
            f"{100 * share:.1f} %",
            (end, position),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=FAINT,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    quiet(ax, grid="x")
    ax.set_ylim(len(data.labels) - 0.4, -0.6)
    ax.set_xlim(0, float(left.max()) * 1.13)
    ax.set_yticks(positions, data.labels if labels else [""] * len(data.labels))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(f"{data.title} ({prefix}{data.unit})" if data.unit == "J" else prefix)
    ax.xaxis.label.set_color(INK)
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=legend_columns,
        frameon=False,
        fontsize=FONT,
        handlelength=0.9,
        handleheight=0.9,
        columnspacing=1.2,
        handletextpad=0.5,
        borderaxespad=0.2,
    )
    return figure, ax


def _prefix(largest: float, unit: str) -> tuple[float, str]:
    """Return the scale of an axis and how it is written."""
    if unit == "cycles":
        for scale, words in ((1e9, "Billion cycles"), (1e6, "Million cycles")):
            if largest >= scale:
                return scale, words
        return (1e3, "Thousand cycles") if largest >= 1e3 else (1.0, "Cycles")
    for scale, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "\u00b5"), (1e-9, "n")):
        if largest >= scale:
            return scale, prefix
    return 1e-12, "p"

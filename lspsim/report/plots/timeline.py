"""A timeline on paper: who is busy when, for windows of a few layers."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lspsim.report.grouping import layer_type
from lspsim.report.plots import palette
from lspsim.report.plots.canvas import INK, SMALL, axes_for, quiet
from lspsim.report.trace_spans import LANE_LABELS, LAYERS, Timeline

COLOURS: dict[str, str] = {
    LAYERS: palette.OTHER,
    "dma weights": palette.VERMILLION,
    "dma activations": palette.ORANGE,
    "dma write-back": palette.PURPLE,
    "shift weights": palette.SKY,
    "array": palette.BLUE,
    "vector": palette.GREEN,
}
CHARACTER_SHARE = 0.012
"""Width of a letter as a share of the axis: layers too narrow for their name have none."""


def lanes_of(data: Timeline) -> list[tuple[int, str]]:
    """Return the (core, lane) pairs that are busy, layers first, then core by core."""
    order = list(LANE_LABELS)
    return sorted(
        {(span.core, span.lane) for span in data.spans},
        key=lambda pair: (pair[0], order.index(pair[1])),
    )


def draw_timeline(data: Timeline, *, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw one line per lane; time runs to the right, in microseconds."""
    lanes = lanes_of(data)
    figure, ax = axes_for(ax, height_in=0.7 + 0.24 * len(lanes))
    scale = 1e6 / data.clock_hz
    for row, (core, lane) in enumerate(lanes):
        spans = [span for span in data.spans if (span.core, span.lane) == (core, lane)]
        ax.broken_barh(
            [(span.start * scale, (span.end - span.start) * scale) for span in spans],
            (row - 0.38, 0.76),
            facecolors=COLOURS[lane],
            edgecolors="white" if lane == LAYERS else COLOURS[lane],
            linewidth=0.6 if lane == LAYERS else 0.3,  # so that the shortest spans are seen
        )
        if lane == LAYERS:
            for span in spans:
                start, end = max(span.start, data.start), min(span.end, data.end)
                label = layer_type(span.layer.split(" + ")[0])
                if end - start > CHARACTER_SHARE * len(label) * (data.end - data.start):
                    ax.text(
                        (start + end) / 2 * scale,
                        row,
                        label,
                        ha="center",
                        va="center",
                        fontsize=SMALL,
                        color=INK,
                        clip_on=True,
                    )
    many = data.cores > 1
    titles = [
        f"core {core}: {LANE_LABELS[lane]}" if many and core >= 0 else LANE_LABELS[lane]
        for core, lane in lanes
    ]
    ax.set_yticks(range(len(lanes)), titles)
    ax.set_ylim(len(lanes) - 0.5, -0.5)
    ax.set_xlim(data.start * scale, data.end * scale)
    ax.set_xlabel("Time (\u00b5s)")
    quiet(ax, grid="x")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return figure, ax

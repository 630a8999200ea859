"""Three folds under each fold overlap."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from small import COLS, ROWS, Run, play, small_chip

from lspsim.report.plots import palette
from lspsim.report.plots.canvas import FAINT, FONT, INK, SMALL, new_figure, quiet
from lspsim.workload import Gemm, Workload

M, FOLDS = 10, 3
SHIFT, STREAM, DRAIN = palette.SKY, palette.BLUE, palette.OTHER
OVERLAPS = {
    "double-buffered": "double-buffered",
    "single-buffered": "single-buffered",
    "none": "none (serial)",
}


def draw_folds() -> Figure:
    """Draw when tiles are shifted in, rows stream and results leave."""
    runs = {name: _run(name) for name in OVERLAPS}
    figure = new_figure(3.75)
    axes = figure.subplots(len(runs), 1, sharex=True)
    for ax, (name, run) in zip(axes, runs.items(), strict=True):
        _draw(ax, OVERLAPS[name], run)
    longest = max(int(run.timing.end[-1]) for run in runs.values())
    axes[-1].set_xlim(-0.5, longest + 4)
    axes[-1].set_xticks(range(0, longest + 1, 10))
    axes[-1].set_xlabel("Cycle")
    return figure


def _run(overlap: str) -> Run:
    hardware = small_chip(
        array__fold_overlap=overlap, memory__ideal=True, array__accumulator_rows=M
    )
    return play(Workload([Gemm("g", m=M, k=FOLDS * ROWS, n=COLS)]), hardware)


def _draw(ax: Axes, title: str, run: Run) -> None:
    shifts, streams = run.lanes["shift weights"], run.lanes["array"]
    end = int(run.timing.end[-1])
    for i, (shift, stream) in enumerate(zip(shifts, streams, strict=True), start=1):
        tail = ROWS + COLS
        _bar(ax, 0, shift.start, shift.end, SHIFT, f"$w_{i}$", INK)
        _bar(ax, 1, stream.start, stream.end, STREAM, f"$s_{i}$", "white")
        _bar(ax, 2, stream.end, stream.end + tail, DRAIN, "", INK)
    ax.axvline(end, color=INK, linewidth=0.8)
    ax.text(end + 0.5, 1, str(end), fontsize=FONT, color=INK, va="center", ha="left")
    ax.set_title(title, fontsize=FONT, color=INK, loc="left", pad=3)
    ax.set_yticks(range(3), ["shift tile in", "stream rows", "results leave"])
    ax.set_ylim(2.5, -0.5)
    quiet(ax, grid="x")
    ax.tick_params(axis="y", length=0, labelsize=SMALL)
    ax.tick_params(axis="x", labelsize=SMALL)
    ax.spines["left"].set_visible(False)


def _bar(ax: Axes, lane: int, start: int, end: int, colour: str, label: str, ink: str) -> None:
    """Draw one interval with a line between its cycles and a label in it."""
    ax.broken_barh([(start, end - start)], (lane - 0.36, 0.72), facecolors=colour, linewidth=0)
    for cycle in range(start + 1, end):
        ax.plot([cycle, cycle], [lane - 0.36, lane + 0.36], color="white", linewidth=0.35)
    ax.plot([start, start], [lane - 0.36, lane + 0.36], color=FAINT, linewidth=0.7)
    if label:
        ax.text(start + 0.35, lane, label, fontsize=FONT, color=ink, va="center", ha="left")

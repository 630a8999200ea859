"""Who gets the wait of a fold."""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from small import COLS, ROWS, Run, Span, play, small_chip

from lspsim.report.plots import palette
from lspsim.report.plots.canvas import FONT, INK, SMALL, new_figure, quiet
from lspsim.workload import Gemm, Workload

M, TILES, COLUMNS = 6, 2, 3
LATENCY = 2
LANES = {
    "dma weights": "DMA: tiles",
    "dma activations": "DMA: activations",
    "shift weights": "shift tile in",
    "array": "stream rows",
    "dma write-back": "DMA: write-back",
}
COLOURS = {
    "dma weights": palette.PURPLE,
    "dma activations": palette.PURPLE,
    "shift weights": palette.SKY,
    "array": palette.BLUE,
    "dma write-back": palette.PURPLE,
}


class Part(NamedTuple):
    """A stretch of a core's time and the bucket that it belongs to."""

    start: int
    end: int
    bucket: str


def draw_attribution() -> Figure:
    """Draw what each unit does, and under it the bucket of every cycle."""
    run = _run()
    figure = new_figure(3.5)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(len(LANES), 1.5))
    for row, lane in enumerate(LANES):
        _draw_lane(top, row, lane, run)
    top.set_yticks(range(len(LANES)), list(LANES.values()))
    top.set_ylim(len(LANES) - 0.5, -0.5)
    _draw_parts(bottom, _parts(run))
    end = int(run.timing.end[-1])
    for ax in (top, bottom):
        quiet(ax, grid="x")
        ax.tick_params(axis="y", length=0, labelsize=SMALL)
        ax.spines["left"].set_visible(False)
        ax.set_xlim(-0.5, end + 0.5)
    bottom.set_xticks(range(0, end + 1, 10))
    bottom.tick_params(axis="x", labelsize=SMALL)
    bottom.set_xlabel("Cycle")
    return figure


def _run() -> Run:
    """Return three tile columns of two tiles each; X comes from DRAM."""
    hardware = small_chip(
        array__accumulator_rows=M,
        array__index="bsr",
        buffers__weight=f"{4 * ROWS * COLS} B",
        memory__channels="separate",
        memory__shares={"weights": 0.5, "activations": 0.25, "writeback": 0.25},
        memory__dram__bandwidth="8 GB/s",
        memory__dram__efficiency=1.0,
        memory__dram__latency=f"{LATENCY} ns",
        memory__dram__burst="1 B",
    )
    return play(Workload([Gemm("g", m=M, k=TILES * ROWS, n=COLUMNS * COLS, bias=True)]), hardware)


def _parts(run: Run) -> list[Part]:
    """Split the core's time as docs/model.md, "Attribution", says, from the logged intervals.

    Raises
    ------
    ValueError
        When the sums are not those that the engine counted.
    """
    tiles = [span.end + LATENCY for span in run.lanes["dma weights"]]
    pieces = [span.end + LATENCY for span in run.lanes["dma activations"]]
    streams, writes = run.lanes["array"], run.lanes["dma write-back"]
    parts: list[Part] = []
    earliest, shifted = ROWS, 0
    at = 0
    for i, stream in enumerate(streams):
        parts.append(Part(at, min(earliest, stream.start), "fill_drain"))
        at = earliest
        if stream.start > earliest:
            parts += _wait(i, at, stream.start, tiles, pieces, run)
        parts.append(Part(stream.start, stream.end, "compute"))
        shifted = max(stream.start, run.lanes["shift weights"][i].end)
        earliest, at = max(shifted + ROWS, stream.end), stream.end
    done = at + ROWS + COLS
    parts.append(Part(at, done, "fill_drain"))
    parts.append(Part(done, writes[-1].end, "stall_writeback"))
    parts = [part for part in parts if part.end > part.start]
    counted = {
        "compute": run.timing.compute,
        "fill_drain": run.timing.array_cycles - run.timing.compute,
        "stall_weights": run.timing.stall_weights,
        "stall_activations": run.timing.stall_activations,
        "stall_writeback": run.timing.stall_writeback,
        "index": run.timing.index,
    }
    for bucket, cycles in counted.items():
        drawn = sum(part.end - part.start for part in parts if part.bucket == bucket)
        if drawn != int(cycles.sum()):
            raise ValueError(f"{bucket}: {drawn} cycles drawn, {int(cycles.sum())} simulated")
    return parts


def _wait(
    i: int, start: int, end: int, tiles: list[int], pieces: list[int], run: Run
) -> list[Part]:
    """Give the wait of fold i to its last arriver."""
    if tiles[i] + ROWS == end:
        header = int(run.program.visit_header_cycles[i // TILES]) if i % TILES == 0 else 0
        split = start + min(header, end - start)
        return [Part(start, split, "index"), Part(split, end, "stall_weights")]
    if pieces[i % TILES] == end:
        return [Part(start, end, "stall_activations")]
    return [Part(start, end, "stall_writeback")]


def _draw_lane(ax: Axes, row: int, lane: str, run: Run) -> None:
    """Draw one unit; a transfer is followed by its latency."""
    spans = run.lanes[lane]
    names = _names(lane, spans, run)
    ink = INK if lane == "shift weights" else "white"
    colour = COLOURS[lane]
    for i, (span, name) in enumerate(zip(spans, names, strict=True)):
        ax.broken_barh(
            [(span.start, span.end - span.start)],
            (row - 0.36, 0.72),
            facecolors=colour,
            edgecolors="white",
            linewidth=0.6,
        )
        if lane == "dma weights" and i % TILES == 0:
            header = int(run.program.visit_header_cycles[i // TILES])
            ax.broken_barh(
                [(span.start, header)],
                (row - 0.36, 0.72),
                facecolors=palette.BLACK,
                edgecolors="white",
                linewidth=0.6,
            )
        if lane in ("dma weights", "dma activations"):
            ax.plot([span.end, span.end + LATENCY], [row, row], color=colour, linewidth=1.0)
            ax.plot([span.end + LATENCY], [row], marker="|", color=colour, markersize=5)
        right = span.end if lane != "dma weights" else span.end - 0.1
        left = right - int(run.program.segment_tile_cycles[0]) if lane == "dma weights" else span[0]
        ax.text((left + right) / 2, row, name, fontsize=SMALL, color=ink, va="center", ha="center")


def _names(lane: str, spans: list[Span], run: Run) -> list[str]:
    """Return the label of each interval, numbered from 1."""
    if lane == "dma activations":
        return [f"piece {i} of X" for i in range(1, len(spans) + 1)]
    if lane == "dma write-back":
        return [f"result {i}" for i in range(1, len(spans) + 1)]
    return [str(i) for i in range(1, len(spans) + 1)]


def _draw_parts(ax: Axes, parts: list[Part]) -> None:
    """Draw the buckets one after the other, each with its name where it first appears."""
    for part in parts:
        ax.broken_barh(
            [(part.start, part.end - part.start)],
            (-0.36, 0.72),
            facecolors=palette.BUCKET[part.bucket],
            edgecolors="white",
            linewidth=0.6,
        )
    seen: set[str] = set()
    for part in parts:
        if part.bucket not in seen:
            seen.add(part.bucket)
            ax.broken_barh(
                [(0, 0)], (0, 0), facecolors=palette.BUCKET[part.bucket], label=part.bucket
            )
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.75),
        ncols=6,
        fontsize=SMALL,
        frameon=False,
        handlelength=1.0,
        handleheight=1.0,
        columnspacing=1.2,
    )
    ax.set_yticks([0], ["attributed to"])
    ax.set_ylim(0.6, -0.6)
    ax.xaxis.label.set_fontsize(FONT)

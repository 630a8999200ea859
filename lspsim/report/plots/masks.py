"""Mask thumbnails: every masked weight, its kept blocks dark."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lspsim.errors import ResultError
from lspsim.report.grouping import common_name, layer_type
from lspsim.report.plots import palette
from lspsim.report.plots.canvas import FAINT, FONT, INK, SMALL, WIDTH_IN, axes_for
from lspsim.workload import BlockMask, Gemm, Workload

CHARACTER_IN = 0.066
"""Width of a character of a label, on average."""
MAX_HEIGHT_IN = 14.0


@dataclass(frozen=True, slots=True, eq=False)
class Thumbnail:
    """One mask as it is drawn, its shorter side 1 long."""

    name: str
    density: float
    """Kept fraction of the real weights."""
    cells: NDArray[np.bool_]
    """Kept blocks, `[N, K]` blocks; `[K, N]` where `transposed`."""
    width: float
    height: float
    transposed: bool


@dataclass(frozen=True, slots=True, eq=False)
class MaskLine:
    """Masks side by side, with what they have in common."""

    label: str
    thumbnails: tuple[Thumbnail, ...]

    @property
    def height(self) -> float:
        """Height of the tallest thumbnail."""
        return max(thumbnail.height for thumbnail in self.thumbnails)


@dataclass(frozen=True, slots=True, eq=False)
class MaskGrid:
    """Lines of thumbnails, top to bottom."""

    lines: tuple[MaskLine, ...]
    note: str
    """What dark and pale mean."""
    gap: float
    """Between thumbnails, in lengths of a thumbnail's shorter side."""
    line_gap: float
    """Under each line, likewise."""
    show_density: bool
    """Write each density under its thumbnail."""
    show_names: bool
    """Write each layer type over the first line's thumbnails."""

    @property
    def width(self) -> float:
        """Width of the widest line."""
        return max(
            sum(t.width for t in line.thumbnails) + self.gap * (len(line.thumbnails) - 1)
            for line in self.lines
        )

    @property
    def height(self) -> float:
        """All lines and the gaps under them."""
        return sum(line.height + self.line_gap for line in self.lines)


def mask_grid(workload: Workload) -> MaskGrid:
    """Return one line per kind of layer, one thumbnail per block of the network.

    All thumbnails are upright or all are flat, whichever makes the picture squarer;
    a weight of the other kind is transposed, and its line's label says so.

    Parameters
    ----------
    workload
        Where the masks are.

    Raises
    ------
    ResultError
        When no GEMM has a mask.
    """
    kinds: dict[tuple[str, tuple[int, int]], list[tuple[str, BlockMask]]] = {}
    for gemm, mask in _masked(workload):
        kinds.setdefault((_pattern(gemm.name), mask.shape), []).append((gemm.name, mask))
    grids = [
        MaskGrid(
            tuple(_line(members, upright) for members in kinds.values()),
            _note(workload),
            gap=0.16 if upright else 0.5,
            line_gap=0.45 if upright else 1.3,
            show_density=True,
            show_names=False,
        )
        for upright in (True, False)
    ]
    return min(grids, key=lambda grid: abs(math.log(grid.height / grid.width)))


def _line(members: list[tuple[str, BlockMask]], upright: bool) -> MaskLine:
    """Return one kind's line."""
    thumbnails = tuple(_thumbnail(name, mask, upright=upright) for name, mask in members)
    kind = common_name([name for name, _ in members]).replace("blocks.*.", "")
    n, k = members[0][1].shape
    size = f"K\u00d7N = {k}\u00d7{n}" if thumbnails[0].transposed else f"N\u00d7K = {n}\u00d7{k}"
    return MaskLine(f"{kind}\n{size}", thumbnails)


def mask_strips(workload: Workload, blocks: int = 3) -> MaskGrid:
    """Return some blocks of the network, one per line, their weights lying side by side.

    Parameters
    ----------
    workload
        Where the masks are.
    blocks
        Lines at most: the first block, the last, and some between.

    Raises
    ------
    ResultError
        When no GEMM has a mask.
    """
    found: dict[str, list[Thumbnail]] = {}
    for gemm, mask in _masked(workload):
        parent = gemm.name.removesuffix(layer_type(gemm.name)).rstrip(".")
        found.setdefault(parent, []).append(_thumbnail(gemm.name, mask, upright=False))
    most = max(len(thumbnails) for thumbnails in found.values())
    full = [(name, ts) for name, ts in found.items() if len(ts) == most]
    picks = sorted({round(i) for i in np.linspace(0, len(full) - 1, min(blocks, len(full)))})
    lines = tuple(MaskLine(_block_label(full[i][0]), tuple(full[i][1])) for i in picks)
    return MaskGrid(
        lines, _note(workload), gap=0.16, line_gap=0.16, show_density=False, show_names=True
    )


def draw_masks(
    data: MaskGrid, *, ax: Axes | None = None, label_in: float | None = None
) -> tuple[Figure, Axes]:
    """Draw the thumbnails; kept blocks dark, removed ones pale.

    Parameters
    ----------
    data
        What to draw.
    ax
        Where, as wide as its figure; None = a new figure.
    label_in
        Inches left for the lines' labels; default: what the longest needs.
    """
    if label_in is None:
        longest = max(len(text) for line in data.lines for text in line.label.splitlines())
        label_in = CHARACTER_IN * longest + 0.15
    width_in = WIDTH_IN if ax is None else axes_for(ax, 0.0)[0].get_figwidth()
    unit = data.width / (width_in - label_in - 0.1)
    top = 0.2 * unit if data.show_names else 0.0
    bottom = 0.2 * unit
    height_in = (top + data.height + bottom) / unit
    figure, ax = axes_for(ax, height_in=min(MAX_HEIGHT_IN, height_in))
    colours = ListedColormap(["#e8edf2", palette.BLUE])
    y = 0.0
    for i, line in enumerate(data.lines):
        x = 0.0
        for thumbnail in line.thumbnails:
            ax.imshow(
                thumbnail.cells,
                cmap=colours,
                vmin=0,
                vmax=1,
                extent=(x, x + thumbnail.width, y + thumbnail.height, y),
                interpolation="antialiased",
                interpolation_stage="rgba",
            )
            centre = x + thumbnail.width / 2
            if data.show_density:
                ax.text(
                    centre,
                    y + thumbnail.height + 0.04,
                    f"{100 * thumbnail.density:.0f} %",
                    ha="center",
                    va="top",
                    fontsize=SMALL,
                    color=FAINT,
                )
            if data.show_names and i == 0:
                ax.text(
                    centre,
                    y - 0.08,
                    layer_type(thumbnail.name),
                    ha="center",
                    va="bottom",
                    fontsize=FONT,
                    color=INK,
                )
            x += thumbnail.width + data.gap
        ax.text(
            -0.1 * unit,
            y + line.height / 2,
            line.label,
            ha="right",
            va="center",
            fontsize=FONT,
            color=INK,
            linespacing=1.4,
        )
        y += line.height + data.line_gap
    ax.text(data.width, y, data.note, ha="right", va="top", fontsize=SMALL, color=FAINT)
    ax.set_xlim(-label_in * unit, data.width)
    ax.set_ylim(y + bottom, -top)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return figure, ax


def _masked(workload: Workload) -> Iterable[tuple[Gemm, BlockMask]]:
    """Return the GEMMs that have a mask."""
    found = [(gemm, gemm.mask) for gemm in workload.gemms if gemm.mask is not None]
    if not found:
        raise ResultError(
            f"{workload.model}: no GEMM has a mask, so there is nothing to draw; give it masks "
            "(--sparsity, --masks)"
        )
    return found


def _note(workload: Workload) -> str:
    """Say what dark and pale mean, with the block's size where there is one only."""
    sizes = {(mask.block_out, mask.block_in) for _, mask in _masked(workload)}
    size = " ".join(f"{out}\u00d7{into} " for out, into in sizes) if len(sizes) == 1 else ""
    return f"dark: kept {size}blocks of the weights; pale: removed"


def _thumbnail(name: str, mask: BlockMask, *, upright: bool) -> Thumbnail:
    """Lay one mask upright or flat; cells keep the real proportions of the weight."""
    n, k = mask.shape
    transposed = (k > n) if upright else (n > k)
    across, down = (n, k) if transposed else (k, n)
    short = min(n, k)
    return Thumbnail(
        name=name,
        density=mask.density,
        cells=mask.keep.T if transposed else mask.keep,
        width=across / short,
        height=down / short,
        transposed=transposed,
    )


def _pattern(name: str) -> str:
    """Return the name with its numbers taken out."""
    return ".".join("*" if part.isdigit() else part for part in name.split("."))


def _block_label(parent: str) -> str:
    """Return `block 3` for `blocks.3`; other names as they are."""
    head, _, number = parent.rpartition(".")
    return f"block {number}" if head == "blocks" else parent or "model"

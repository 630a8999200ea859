"""Roofline: each GEMM against the array's peak and the DRAM's bandwidth.

Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lspsim.errors import ResultError
from lspsim.hardware import Hardware
from lspsim.report.grouping import layer_type
from lspsim.report.plots import palette
from lspsim.report.plots.canvas import FAINT, FONT, INK, SMALL, axes_for, quiet
from lspsim.report.summary import RunSummary


@dataclass(frozen=True, slots=True)
class RooflinePoint:
    """One GEMM."""

    name: str
    type: str
    """Name without the block's number: what the colours show."""
    macs_per_byte: float
    """Executed MACs per DRAM byte read or written; inf when nothing is moved."""
    macs_per_cycle: float
    """Executed MACs per cycle of the whole chip."""


@dataclass(frozen=True, slots=True)
class Roofline:
    """Roofs and dots."""

    label: str
    peak_macs_per_cycle: float
    """rows x cols x cores."""
    dram_bytes_per_cycle: float | None
    """bandwidth x efficiency / clock; None with ideal memory."""
    points: tuple[RooflinePoint, ...]

    @property
    def ridge_macs_per_byte(self) -> float | None:
        """Intensity from which the array's peak is the lower roof."""
        if self.dram_bytes_per_cycle is None:
            return None
        return self.peak_macs_per_cycle / self.dram_bytes_per_cycle

    @property
    def above_roof(self) -> tuple[RooflinePoint, ...]:
        """GEMMs above their roof by more than a thousandth.

        A layer can outrun the DRAM when its weights were fetched ahead, while
        earlier layers ran; over the whole run nothing is above the roof.
        """
        return tuple(
            point
            for point in self.points
            if point.macs_per_cycle > 1.001 * self.roof(point.macs_per_byte)
        )

    def roof(self, macs_per_byte: float) -> float:
        """Return the most MACs per cycle that an intensity allows."""
        if self.dram_bytes_per_cycle is None or math.isinf(macs_per_byte):
            return self.peak_macs_per_cycle
        return min(self.peak_macs_per_cycle, macs_per_byte * self.dram_bytes_per_cycle)


def roofline(run: RunSummary, hardware: Hardware) -> Roofline:
    """Return the roofline of a run; GEMMs without executed MACs are left out.

    Parameters
    ----------
    run
        The run.
    hardware
        What it ran on.

    Raises
    ------
    ResultError
        When no GEMM executed anything.
    """
    points = tuple(
        RooflinePoint(
            name=layer.name,
            type=layer_type(layer.name),
            macs_per_byte=layer.macs_executed / moved
            if (moved := layer.dram_read_bytes + layer.dram_write_bytes)
            else math.inf,
            macs_per_cycle=layer.macs_executed / layer.cycles_total,
        )
        for layer in run.layers
        if layer.kind == "gemm" and layer.macs_executed and layer.cycles_total
    )
    if not points:
        raise ResultError(f"{run.label}: no GEMM executed a MAC; a roofline needs at least one")
    dram = hardware.memory.dram
    return Roofline(
        label=run.label,
        peak_macs_per_cycle=float(hardware.array.rows * hardware.array.cols * hardware.cores),
        dram_bytes_per_cycle=None
        if hardware.memory.ideal
        else float(dram.bandwidth_bytes_per_s * dram.efficiency / hardware.clock_hz),
        points=points,
    )


def draw_roofline(data: Roofline, *, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw roofs as lines and one dot per GEMM, coloured by type.

    GEMMs that move nothing through DRAM are at the right edge.

    Parameters
    ----------
    data
        Roofs and GEMMs.
    ax
        Where to draw; default: a new figure.
    """
    figure, ax = axes_for(ax, height_in=4.0, width_in=6.0)
    finite = [p.macs_per_byte for p in data.points if math.isfinite(p.macs_per_byte)]
    ridge = data.ridge_macs_per_byte or 1.0
    low = min([*finite, ridge]) / 4
    high = max([*finite, ridge]) * 10
    edge = high / 2.2
    xs = [low, ridge, high]
    ax.loglog(xs, [data.roof(x) for x in xs], color=INK, linewidth=1.2, zorder=2)
    types = list(dict.fromkeys(point.type for point in data.points))
    for i, name in enumerate(types):
        mine = [point for point in data.points if point.type == name]
        ax.scatter(
            [min(point.macs_per_byte, edge) for point in mine],
            [point.macs_per_cycle for point in mine],
            s=max(16, 64 - 7 * i),  # nested, where several types meet in one point
            facecolors="none",
            edgecolors=palette.CYCLE[i % len(palette.CYCLE)],
            marker=palette.MARKERS[(i + i // len(palette.CYCLE)) % len(palette.MARKERS)],
            label=f"{name} \u00d7{len(mine)}" if len(mine) > 1 else name,
            linewidths=1.3,
            zorder=3,
        )
    ax.set_xlim(low, high)
    slowest = min(point.macs_per_cycle for point in data.points)
    ax.set_ylim(min(slowest, data.roof(low * 4)) / 3, data.peak_macs_per_cycle * 2)
    quiet(ax, grid="both")
    ax.annotate(
        f"array peak: {data.peak_macs_per_cycle:,.0f} MACs per cycle",
        (high, data.peak_macs_per_cycle),
        xytext=(-2, 6),
        textcoords="offset points",
        ha="right",
        fontsize=SMALL,
        color=INK,
    )
    if data.dram_bytes_per_cycle is not None:
        # The text turns with the line: at a point of a log-log plot, the line's direction in
        # data coordinates is the point itself.
        x = math.sqrt(low * 4 * ridge)
        y = data.roof(x) * 1.2
        ax.text(
            x,
            y,
            f"DRAM: {data.dram_bytes_per_cycle:.3g} bytes per cycle",
            ha="center",
            va="bottom",
            rotation=math.degrees(math.atan2(y, x)),
            rotation_mode="anchor",
            transform_rotates_text=True,
            fontsize=SMALL,
            color=INK,
        )
    if len(finite) < len(data.points):
        ax.axvline(high / 4.84, color=FAINT, linewidth=0.6, linestyle=(0, (4, 3)))
        ax.annotate(
            "no DRAM\ntraffic",
            (edge, ax.get_ylim()[0]),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=SMALL,
            color=FAINT,
        )
    if data.above_roof:
        ax.annotate(
            f"above the DRAM roof: {len(data.above_roof)} of {len(data.points)} GEMMs,\n"
            "their weights fetched while earlier layers ran",
            (0, 1),
            xycoords="axes fraction",
            xytext=(4, -4),
            textcoords="offset points",
            va="top",
            fontsize=SMALL,
            color=FAINT,
        )
    ax.set_xlabel("Executed MACs per DRAM byte")
    ax.set_ylabel("Executed MACs per cycle")
    ax.legend(frameon=False, fontsize=FONT, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure, ax

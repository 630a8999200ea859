"""Parity: predicted over measured, along what was measured, with bands of 10 and 20 %."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lspsim.errors import ResultError
from lspsim.report.plots import palette
from lspsim.report.plots.canvas import FAINT, INK, SMALL, axes_for, quiet

BANDS = (0.1, 0.2)
_SHADES = ("#d3e5f0", "#eaf3f8")
_LIMIT = 1.6
"""Ratios beyond it (or its inverse) are drawn at the edge."""
_MANY = 500
"""From so many points on, markers become small and pale."""


@dataclass(frozen=True, slots=True)
class ParityGroup:
    """Points that share a colour; arrays are `[rows]`, all above 0."""

    name: str
    measured: NDArray[np.float64]
    predicted: NDArray[np.float64]

    @property
    def ratio(self) -> NDArray[np.float64]:
        """Predicted over measured, `[rows]`."""
        return np.asarray(self.predicted / self.measured)

    @property
    def mean_error(self) -> float:
        """Mean of |ratio - 1|."""
        return float(np.abs(self.ratio - 1).mean())

    @property
    def within(self) -> tuple[float, ...]:
        """Share of the points inside each band."""
        error = np.abs(self.ratio - 1)
        return tuple(float((error <= band).mean()) for band in BANDS)


def draw_parity(
    groups: Sequence[ParityGroup], label: str, *, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """Draw one dot per row; a perfect prediction lies on the line at 1.

    Over six decades of latency a plain parity plot hides errors of half; the ratio shows
    them.

    Parameters
    ----------
    groups
        What to draw.
    label
        What was measured, with its unit.
    ax
        Where; default: a new figure.

    Raises
    ------
    ResultError
        When no group has a point.
    """
    shown = [group for group in groups if group.measured.size]
    if not shown:
        raise ResultError("a parity plot needs at least one measurement")
    figure, ax = axes_for(ax, height_in=3.6, width_in=8.0)
    for band, shade in reversed(list(zip(BANDS, _SHADES, strict=True))):
        ax.axhspan(1 - band, 1 + band, color=shade, linewidth=0, zorder=0)
    ax.axhline(1, color=FAINT, linewidth=0.8, zorder=1)
    handles = {}
    for i in sorted(range(len(shown)), key=lambda i: -shown[i].measured.size):
        many = shown[i].measured.size > _MANY
        handles[i] = ax.scatter(
            shown[i].measured,
            np.clip(shown[i].ratio, 1 / _LIMIT, _LIMIT),
            s=3 if many else 16,
            alpha=0.25 if many else 0.9,
            color=palette.CYCLE[i % len(palette.CYCLE)],
            marker=palette.MARKERS[(i + i // len(palette.CYCLE)) % len(palette.MARKERS)],
            linewidths=0,
            rasterized=many,  # thousands of marks make an SVG slow
            zorder=3,
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(1 / _LIMIT / 1.03, _LIMIT * 1.03)
    ticks = [0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)
    quiet(ax)
    ax.set_xlabel(label)
    ax.set_ylabel("Predicted / measured")
    beyond = sum(int((np.abs(np.log(g.ratio)) > np.log(_LIMIT)).sum()) for g in shown)
    notes = "bands: 10 and 20 %" + (f"; at the edges: {beyond} beyond" if beyond else "")
    ax.annotate(
        notes,
        (1, 0),
        xycoords="axes fraction",
        xytext=(-4, 4),
        textcoords="offset points",
        ha="right",
        fontsize=SMALL,
        color=FAINT,
    )
    legend = ax.legend(
        [handles[i] for i in range(len(shown))],
        [_legend_label(group) for group in shown],
        frameon=False,
        fontsize=SMALL,
        labelcolor=INK,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        labelspacing=0.8,
    )
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
            handle.set_sizes([18])  # type: ignore[attr-defined]
    return figure, ax


def _legend_label(group: ParityGroup) -> str:
    count = group.measured.size
    return f"{group.name}\nn = {count:,}, mean error {100 * group.mean_error:.1f} %"

"""Draw the parity plot of docs/validation.md: `PYTHONPATH=. python docs/figures/draw_rtl.py`.

Cycles of the RTL come from the tables in tests/rtl, those of the event engine are computed.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from matplotlib.figure import Figure

from tests.rtl.tier import BUILDS, GOLDEN, LAYERS_TABLE, cases_of, layer_cases

KINDS = {
    "random, ideal memory": ("#1f77b4", "o"),
    "random, stalled memory": ("#d62728", "s"),
    "layers of DeiT, ideal memory": ("#2ca02c", "^"),
    "layers of DeiT, LPDDR4": ("#ff7f0e", "v"),
}


def measured(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table of the RTL's cycles."""
    with path.open(encoding="utf-8", newline="") as file:
        next(file)
        return list(csv.DictReader(file))


def points() -> list[tuple[str, int, int]]:
    """Return (kind, cycles of the RTL, cycles of the event engine) of every case."""
    drawn = [case for build in BUILDS for case in cases_of(build)]
    layers = [case for _, case in layer_cases()]
    out = []
    for kinds, rows, cases in (
        (list(KINDS)[:2], measured(GOLDEN), drawn),
        (list(KINDS)[2:], measured(LAYERS_TABLE), layers),
    ):
        for row, case in zip(rows, cases, strict=True):
            kind = kinds[0] if row["ideal"] == "1" else kinds[1]
            out.append((kind, int(row["cycles"]), case.expected.cycles))
    return out


def draw() -> Figure:
    """Return the plot: one dot per case, equality as a line."""
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    ax = figure.subplots()
    found = [point for point in points() if point[1] > 0 and point[2] > 0]
    for kind, (colour, marker) in KINDS.items():
        own = [(rtl, event) for name, rtl, event in found if name == kind]
        ax.plot(
            *zip(*own, strict=True),
            marker,
            color=colour,
            markersize=3,
            alpha=0.6,
            label=f"{kind} ({len(own)})",
        )
    ends = [min(rtl for _, rtl, _ in found), max(rtl for _, rtl, _ in found)]
    ax.plot(ends, ends, color="black", linewidth=0.8, label="equal")
    ax.set(xscale="log", yscale="log", xlabel="RTL, cycles", ylabel="event engine, cycles")
    ax.legend(frameon=False, fontsize=8)
    return figure


def main(folder: Path) -> None:
    """Write the plot as PNG: two thousand dots are a large SVG."""
    draw().savefig(folder / "rtl_parity.png", dpi=120, facecolor="white")


if __name__ == "__main__":
    default = Path(__file__).parents[1] / "images"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)

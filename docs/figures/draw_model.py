"""Draw the figures of docs/model.md.

`python docs/figures/draw_model.py` writes them to docs/images; another folder may be
named. What shows time is measured on the `reference` engine, not drawn by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
from attribution import draw_attribution
from chip import draw_chip
from folds import draw_folds
from matplotlib.figure import Figure
from tiles import draw_tiles

FIGURES: dict[str, Callable[[], Figure]] = {
    "model_chip": draw_chip,
    "model_tiles": draw_tiles,
    "model_folds": draw_folds,
    "model_attribution": draw_attribution,
}


def main(folder: Path) -> None:
    """Write every figure as SVG; the same figure gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "lspsim"}):
        for name, draw in FIGURES.items():
            draw().savefig(folder / f"{name}.svg", facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    default = Path(__file__).parents[1] / "images"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)

"""Pictures of a run. Each has an info object (tested) and a function that draws it on `ax`."""

from lspsim.report.plots.breakdown import (
    Breakdown,
    cycle_breakdown,
    draw_breakdown,
    energy_breakdown,
)
from lspsim.report.plots.canvas import save_figure
from lspsim.report.plots.masks import MaskGrid, draw_masks, mask_grid
from lspsim.report.plots.overview import draw_overview
from lspsim.report.plots.roofline import Roofline, draw_roofline, roofline
from lspsim.report.plots.timeline import draw_timeline

__all__ = [
    "Breakdown",
    "MaskGrid",
    "Roofline",
    "cycle_breakdown",
    "draw_breakdown",
    "draw_masks",
    "draw_overview",
    "draw_roofline",
    "draw_timeline",
    "energy_breakdown",
    "mask_grid",
    "roofline",
    "save_figure",
]

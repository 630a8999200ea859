"""Predictions against other simulators, RTL, published chips and GPU measurements.

One module per comparison: `scalesim`, `rtl`, `rtl_area`, `chips`, `gpu`.
"""

from lspsim.validate.chips import ChipReport, validate_chips
from lspsim.validate.closed_forms import scalesim_counts, scalesim_cycles
from lspsim.validate.scalesim import ScaleSimReport, validate_scalesim

__all__ = [
    "ChipReport",
    "ScaleSimReport",
    "scalesim_counts",
    "scalesim_cycles",
    "validate_chips",
    "validate_scalesim",
]

"""Compensation: what the weights that stay can make up for those that go."""

from lspsim.prune.compensate.obs import BlockObs, block_obs
from lspsim.prune.compensate.refit import Refit, least_squares_refit
from lspsim.prune.compensate.sequential import (
    Compensated,
    LayerReport,
    Method,
    compensate,
)

__all__ = [
    "BlockObs",
    "Compensated",
    "LayerReport",
    "Method",
    "Refit",
    "block_obs",
    "compensate",
    "least_squares_refit",
]

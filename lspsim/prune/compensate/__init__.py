"""Compensation: what the weights that stay can make up for those that go."""

from lspsim.prune.compensate.obs import BlockObs, block_obs
from lspsim.prune.compensate.refit import Refit, least_squares_refit, mean_shift

__all__ = ["BlockObs", "Refit", "block_obs", "least_squares_refit", "mean_shift"]

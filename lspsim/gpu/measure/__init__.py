"""Measuring latency and energy of dense and block-sparse layers and networks."""

from lspsim.gpu.measure.campaign import Campaign, Outcome
from lspsim.gpu.measure.points import Choice, Point, campaign_points
from lspsim.gpu.measure.store import Store

__all__ = ["Campaign", "Choice", "Outcome", "Point", "Store", "campaign_points"]

"""Engines, energy and results.

Start with `simulate` (the entry), `result`, then the engines `event`, `analytic`, `reference`.
"""

from lspsim.simulate.result import LayerResult, SimulationResult, Totals
from lspsim.simulate.simulate import simulate

__all__ = ["LayerResult", "SimulationResult", "Totals", "simulate"]

"""Engines, energy and results. Floor 3."""

from lspsim.simulate.result import LayerResult, SimulationResult, Totals
from lspsim.simulate.simulate import simulate

__all__ = ["LayerResult", "SimulationResult", "Totals", "simulate"]

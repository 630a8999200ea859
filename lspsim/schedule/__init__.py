"""Schedules: workload + hardware -> program. Floor 2."""

from lspsim.schedule.build import build_program
from lspsim.schedule.program import Program, Timing

__all__ = ["Program", "Timing", "build_program"]

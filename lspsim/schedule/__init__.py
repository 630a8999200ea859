"""Schedules: workload + hardware -> program.

Start with `program` (what engines read), then `build` and `lower`.
"""

from lspsim.schedule.build import build_program
from lspsim.schedule.program import Program, Timing

__all__ = ["Program", "Timing", "build_program"]

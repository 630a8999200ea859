"""Exploration of designs: fronts of pruned networks, and dominance.

Start with `front` (from records on disk to a front); `dominance` holds the comparison.
"""

from lspsim.explore.front import front, read_records, write_front

__all__ = ["front", "read_records", "write_front"]

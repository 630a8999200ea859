"""Studies over many designs: fronts of pruned points. Floor 6."""

from lspsim.explore.front import front, read_records, write_front

__all__ = ["front", "read_records", "write_front"]

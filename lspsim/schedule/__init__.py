"""Schedules: workload + hardware -> program. Floor 2."""

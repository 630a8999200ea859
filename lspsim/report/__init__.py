"""What people see of a run: tables, run directories, comparisons, timelines, plots. Floor 4.

Each of them is a tested info object first and a drawing second. Plots load
matplotlib and live in `lspsim.report.plots`; timelines in `lspsim.report.trace`.
"""

from lspsim.report.compare import Comparison, compare
from lspsim.report.run_directory import RunDirectory, read_run, write_run
from lspsim.report.summary import RunSummary

__all__ = [
    "Comparison",
    "RunDirectory",
    "RunSummary",
    "compare",
    "read_run",
    "write_run",
]

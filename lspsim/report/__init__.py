"""Reports of a run: tables, run directories, comparisons, timelines, plots.

Each of them is a tested info object first and a drawing second. Start with `summary`
(the figures of a run) and `run_directory`. Plots load matplotlib and are in
`lspsim.report.plots`; timelines are in `lspsim.report.trace`.
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

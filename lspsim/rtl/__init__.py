"""The modelled core as SystemVerilog, its test bench, and what it takes to run them.

Start with `parameters` (from hardware to a core), `generate` (its files), `case` (one GEMM).
"""

from lspsim.rtl.build import Simulator, build_simulator, missing_tools
from lspsim.rtl.case import Case, CaseResult, lower_case
from lspsim.rtl.parameters import Parameters, parameters_of
from lspsim.rtl.sources import rtl_digest, source_names, source_text

__all__ = [
    "Case",
    "CaseResult",
    "Parameters",
    "Simulator",
    "build_simulator",
    "lower_case",
    "missing_tools",
    "parameters_of",
    "rtl_digest",
    "source_names",
    "source_text",
]

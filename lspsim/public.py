"""The public names, for type checkers; at run time `lspsim` itself loads them lazily.

They stand here because `simulate` is a package, too: imported in the package's own
`__init__`, a type checker would take the package for the function.
"""

from lspsim.errors import (
    ConfigError,
    LspsimError,
    MissingDependencyError,
    ModelError,
    ResultError,
    ScheduleError,
    UnsupportedOperatorError,
    WorkloadError,
)
from lspsim.hardware import Hardware, load_hardware
from lspsim.models import workload_from_model
from lspsim.simulate import SimulationResult, simulate
from lspsim.workload import BlockMask, Gemm, VectorOp, Workload

__all__ = [
    "BlockMask",
    "ConfigError",
    "Gemm",
    "Hardware",
    "LspsimError",
    "MissingDependencyError",
    "ModelError",
    "ResultError",
    "ScheduleError",
    "SimulationResult",
    "UnsupportedOperatorError",
    "VectorOp",
    "Workload",
    "WorkloadError",
    "load_hardware",
    "simulate",
    "workload_from_model",
]

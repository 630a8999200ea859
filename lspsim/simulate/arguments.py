"""What `simulate` was given, where it is not what it takes: which mistake, and the cure."""

from __future__ import annotations

from os import PathLike, fspath

from lspsim.errors import LspsimError, WorkloadError
from lspsim.hardware.schema import Hardware
from lspsim.workload import Gemm, VectorOp, Workload

_CALL = "simulate(workload, hardware)"


def check_arguments(workload: object, hardware: object) -> None:
    """Pass a `Workload` and a `Hardware`, refuse everything else.

    Raises
    ------
    WorkloadError
        When `workload` is none.
    LspsimError
        When `hardware` is none, or both are swapped.
    """
    if isinstance(workload, Workload) and isinstance(hardware, Hardware):
        return
    if isinstance(workload, Hardware) or (
        isinstance(hardware, Workload) and not isinstance(workload, Workload)
    ):
        raise LspsimError(f"simulate: the workload comes first; write {_CALL}")
    if not isinstance(workload, Workload):
        raise WorkloadError(f"simulate: workload must be a lspsim.Workload, {_workload(workload)}")
    raise LspsimError(f"simulate: hardware must be a lspsim.Hardware, {_hardware(hardware)}")


def _workload(given: object) -> str:
    if isinstance(given, str):
        return f"got the name {given!r}; write lspsim.workload_from_model({given!r})"
    if isinstance(given, Gemm | VectorOp):
        return f"got the operator {given.name!r}; put it into one: lspsim.Workload([operator])"
    if isinstance(given, list | tuple):
        return f"got a {type(given).__name__}; put its operators into one: lspsim.Workload([...])"
    return (
        f"got {type(given).__name__}; make one with lspsim.workload_from_model(model) or "
        "lspsim.Workload(operators)"
    )


def _hardware(given: object) -> str:
    if isinstance(given, str | PathLike):
        return f"got the name {fspath(given)!r}; write lspsim.load_hardware({fspath(given)!r})"
    return f"got {type(given).__name__}; load one with lspsim.load_hardware(name or path)"

"""`simulate`: workload + hardware + engine -> `SimulationResult`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from lspsim.arrays import IntArray
from lspsim.errors import LspsimError
from lspsim.kernels import analytic as kernel
from lspsim.schedule.build import build_program
from lspsim.schedule.lower import lower_workload
from lspsim.schedule.program import Program, Timing
from lspsim.simulate.analytic import Analysis, analyse
from lspsim.simulate.arguments import check_arguments
from lspsim.simulate.columns import BUCKETS, COUNTS
from lspsim.simulate.energy import energy_components_pj, energy_constants, energy_totals_pj
from lspsim.simulate.event import run_event
from lspsim.simulate.result import OpTable, SimulationResult, Totals

if TYPE_CHECKING:
    from lspsim.hardware import Hardware
    from lspsim.workload import Workload

EngineName = Literal["event", "analytic", "reference"]

_MACS = COUNTS.index("macs_executed")
_READ = COUNTS.index("dram_read_bytes")
_WRITE = COUNTS.index("dram_write_bytes")


def simulate(
    workload: Workload, hardware: Hardware, engine: EngineName = "event"
) -> SimulationResult:
    """Simulate one inference.

    Parameters
    ----------
    workload
        Operators with their masks.
    hardware
        The accelerator.
    engine
        `event`: exact, fast. `reference`: the same by SimPy, slow. `analytic`:
        closed forms; exact with ideal memory, otherwise a lower bound
        (`result.lower_bound` says so).

    Raises
    ------
    ScheduleError
        When the hardware cannot run the workload.
    WorkloadError
        When `workload` is a name, a model or a list of operators instead.
    LspsimError
        On an unknown engine, or when `hardware` is a name or a path instead.
    """
    check_arguments(workload, hardware)
    if engine not in get_args(EngineName):
        raise LspsimError(
            f"unknown engine {engine!r}; use one of {', '.join(get_args(EngineName))}"
        )
    analysis = analyse(workload, hardware)
    figures = analysis.figures
    if engine == "analytic":
        cycles, buckets = figures[:, kernel.TOTAL], analysis.buckets
        arrays = figures[:, kernel.ARRAY]
    else:
        program = build_program(workload, hardware)
        cycles, arrays, buckets = _timed(program, _run(program, engine), len(workload.ops))
    table = OpTable(
        cycles_total=cycles,
        cycles_array=arrays,
        buckets=buckets,
        counts=analysis.counts,
        tiles_live=figures[:, kernel.TILES_LIVE],
        tiles_total=figures[:, kernel.TILES_TOTAL],
        folds=figures[:, kernel.FOLDS],
        fused_into=analysis.fused_into,
    )
    return SimulationResult(
        workload=workload,
        hardware=hardware,
        engine=engine,
        lower_bound=engine == "analytic" and not hardware.memory.ideal,
        table=table,
        totals=_totals(workload, hardware, analysis, cycles),
        make_energy=lambda: energy_components_pj(table.counts, table.cycles_total, hardware),
    )


def _run(program: Program, engine: EngineName) -> Timing:
    if engine == "event":
        return run_event(program)
    from lspsim.simulate.reference import run_reference

    return run_reference(program)


def _timed(program: Program, timing: Timing, ops: int) -> tuple[IntArray, IntArray, IntArray]:
    """Spread a timing over operators: cycles, `cycles_array` and buckets, `[ops, ...]`."""
    span = np.diff(timing.end, prepend=0)
    gather = program.segment_gather_cycles
    start = timing.end - span
    used = timing.core_end - start[:, None]
    slowest = used.max(axis=1)
    row = np.zeros((span.size, len(BUCKETS)), np.int64)
    row[:, kernel.COMPUTE] = timing.compute.sum(axis=1)
    row[:, kernel.FILL_DRAIN] = timing.array_cycles.sum(axis=1) - row[:, kernel.COMPUTE]
    row[:, kernel.STALL_WEIGHTS] = timing.stall_weights.sum(axis=1)
    row[:, kernel.STALL_ACTIVATIONS] = timing.stall_activations.sum(axis=1)
    row[:, kernel.STALL_WRITEBACK] = timing.stall_writeback.sum(axis=1) + gather * program.cores
    row[:, kernel.INDEX] = timing.index.sum(axis=1)
    row[:, kernel.VECTOR_BUCKET] = timing.vector.sum(axis=1)
    row[:, kernel.IMBALANCE] = slowest * program.cores - used.sum(axis=1)
    cycles = np.zeros(ops, np.int64)
    arrays = np.zeros(ops, np.int64)
    buckets = np.zeros((ops, len(BUCKETS)), np.int64)
    cycles[program.segment_op] = span
    arrays[program.segment_op] = timing.array_cycles.max(axis=1)
    buckets[program.segment_op] = row
    return cycles, arrays, buckets


def _totals(workload: Workload, hardware: Hardware, analysis: Analysis, cycles: IntArray) -> Totals:
    """Sum a network's figures; energy is actions times constants plus static power times time."""
    counts = analysis.counts.sum(axis=0)
    total = int(cycles.sum())
    latency = total / hardware.clock_hz
    energy_pj = energy_totals_pj(counts[None, :], total, hardware)
    area = energy_constants(hardware).area_mm2
    low, nominal, high = (1e-12 * bound for bound in energy_pj)
    cells = hardware.array.rows * hardware.array.cols * hardware.cores
    return Totals(
        cycles_total=total,
        latency_s=latency,
        energy_j=nominal,
        energy_low_j=low,
        energy_high_j=high,
        power_w=nominal / latency if total else 0.0,
        macs_dense=lower_workload(workload).macs_dense,
        macs_executed=int(counts[_MACS]),
        utilization=int(counts[_MACS]) / (cells * total) if total else 0.0,
        dram_read_bytes=int(counts[_READ]),
        dram_write_bytes=int(counts[_WRITE]),
        area_mm2=area.value,
        area_low_mm2=area.low,
        area_high_mm2=area.high,
    )

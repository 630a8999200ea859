"""`build_program`: workload + hardware -> `Program`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lspsim.arrays import IntArray
from lspsim.errors import ScheduleError
from lspsim.kernels import layout as at
from lspsim.kernels import visits as vis
from lspsim.kernels.segments import find_segments
from lspsim.schedule.lower import check_schedulable, chip_of, lower_workload
from lspsim.schedule.program import Program

if TYPE_CHECKING:
    from lspsim.hardware import Hardware
    from lspsim.workload import Workload


def plan_segments(workload: Workload, ops: IntArray, chip: IntArray) -> tuple[IntArray, IntArray]:
    """Return the segment table `[segments, SEGMENT_SIZE]` and `fused_into` `[ops]`.

    Raises
    ------
    ScheduleError
        When not even one row of a streamed operand fits half its buffer.
    """
    segments = np.zeros((ops.shape[0], at.SEGMENT_SIZE), np.int64)
    fused_into = np.full(ops.shape[0], -1, np.int64)
    count, failed = find_segments(ops, chip, segments, fused_into)
    if failed >= 0:
        op = workload.ops[failed]
        output_stationary = chip[at.DATAFLOW] == at.OUTPUT_STATIONARY
        need = f"{int(chip[at.ROWS])} rows" if output_stationary else "one row"
        which = "weight" if chip[at.DATAFLOW] == at.INPUT_STATIONARY else "activation"
        raise ScheduleError(
            f"gemm {op.name!r}: {need} of its {int(ops[failed, at.K])} streamed values do not fit "
            f"half of the buffer; enlarge buffers.{which}"
        )
    return segments[:count], fused_into


def sort_by_core(table: IntArray, core_column: int, cores: int) -> tuple[IntArray, IntArray]:
    """Return `table` transposed with its rows grouped by core, and the start of each group."""
    owner = table[:, core_column]
    start = np.zeros(cores + 1, np.int64)
    np.cumsum(np.bincount(owner, minlength=cores), out=start[1:])
    if cores > 1:
        table = table[np.argsort(owner, kind="stable")]
    return np.ascontiguousarray(table.T), start


def check_range(ops: IntArray, chip: IntArray) -> None:
    """Refuse sizes whose exact products would leave int64."""
    largest = float(ops[:, at.M].max()) * float(ops[:, at.N].max()) * float(ops[:, at.BATCH].max())
    factor = float(max(chip[at.RATE_NUM : at.RATE_NUM + 6].max(), chip[at.NOC_NUM], 1))
    if largest * 32 * factor > 2.0**62:
        raise ScheduleError(
            "the workload's tensors times the clock-to-bandwidth ratio do not fit 64 bits; use "
            "rounder values for clock, bandwidth and efficiency"
        )


def column_too_tall(workload: Workload, op: int, slots: int, chip: IntArray) -> ScheduleError:
    """Return the error for a column that output-stationary cannot keep on chip."""
    return ScheduleError(
        f"gemm {workload.ops[op].name!r}: one column of weights takes {slots} tiles of "
        f"{int(chip[at.ROWS])}x{int(chip[at.COLS])}, but the weight buffer holds "
        f"{int(chip[at.SLOTS])}; output-stationary keeps a whole column: enlarge buffers.weight"
    )


def _read_behind(hardware: Hardware) -> int:
    """Return the cycles for which X is still read after the end of a stream.

    A gathering array row r may take token t - r from the buffer as late as in cycle t.
    """
    array = hardware.array
    gathers = array.dataflow == "weight-stationary" and array.packing == "k-compact"
    return array.rows - 1 if gathers else 0


def build_program(workload: Workload, hardware: Hardware) -> Program:
    """Schedule `workload` on `hardware`.

    The rules are those of docs/model.md, sections "Loops" to "Programs".

    Raises
    ------
    ScheduleError
        When the hardware cannot run the workload.
    """
    tables = lower_workload(workload)
    check_schedulable(workload, tables, hardware)
    chip = chip_of(hardware)
    ops = tables.ops
    check_range(ops, chip)
    segments, _ = plan_segments(workload, ops, chip)
    most_visits, most_needs, most_transfers = vis.sizes(ops, chip, segments)
    visits = np.empty((most_visits, vis.VISIT_SIZE), np.int64)
    needs = np.empty(most_needs, np.int64)
    acts = np.empty((most_transfers, vis.TRANSFER_SIZE), np.int64)
    seg_out = np.zeros((segments.shape[0], 3), np.int64)
    filled, needed, moved, failed, slots = vis.fill_program(
        ops, tables.words, chip, segments, visits, needs, acts, seg_out
    )
    if failed >= 0:
        raise column_too_tall(workload, failed, slots, chip)
    v, visit_start = sort_by_core(visits[:filled], vis.V_CORE, hardware.cores)
    a, act_start = sort_by_core(acts[:moved], vis.A_CORE, hardware.cores)
    segment = np.ascontiguousarray(seg_out.T)
    segment_op = np.ascontiguousarray(segments[:, at.FIRST_OP])
    for array in (v, a, needs, segment, segment_op, visit_start, act_start):
        array.setflags(write=False)
    return Program(
        cores=hardware.cores,
        rows=hardware.array.rows,
        cols=hardware.array.cols,
        output_stationary=hardware.array.dataflow == "output-stationary",
        overlap=int(chip[at.OVERLAP]),
        ideal=hardware.memory.ideal,
        shared_channel=bool(chip[at.SHARED]),
        prefetch=hardware.memory.prefetch_across_layers,
        fifo_slots=int(chip[at.SLOTS]),
        latency_cycles=int(chip[at.LATENCY]),
        read_behind_cycles=_read_behind(hardware),
        segment_op=segment_op,
        segment_tile_cycles=segment[0],
        segment_prefetchable=segment[1],
        segment_gather_cycles=segment[2],
        visit_start=visit_start,
        visit_segment=v[vis.V_SEGMENT],
        visit_folds=v[vis.V_FOLDS],
        visit_length=v[vis.V_LENGTH],
        visit_acquire=v[vis.V_ACQUIRE],
        visit_held=v[vis.V_HELD],
        visit_release=v[vis.V_RELEASE],
        visit_header_cycles=v[vis.V_HEADER],
        visit_vector_cycles=v[vis.V_VECTOR],
        visit_is_vector=v[vis.V_IS_VECTOR],
        visit_writeback_cycles=v[vis.V_WRITEBACK],
        visit_drain_cycles=v[vis.V_DRAIN],
        visit_fold_start=v[vis.V_FOLD_START],
        fold_needs=needs[:needed],
        act_start=act_start,
        act_segment=a[vis.A_SEGMENT],
        act_cycles=a[vis.A_CYCLES],
        act_after_visit=a[vis.A_AFTER],
    )


__all__ = ["build_program", "plan_segments"]

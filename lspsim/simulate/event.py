"""The event engine: Numba, equal to `reference` cycle for cycle."""

from __future__ import annotations

import dataclasses

import numpy as np

from lspsim.errors import ScheduleError
from lspsim.kernels import event as kernel
from lspsim.schedule.program import Program, Timing


def _without_requests(program: Program) -> Program:
    """Return `program` with nothing to fetch, write or drain: what `ideal` means."""
    none = np.zeros_like(program.visit_segment)
    return dataclasses.replace(
        program,
        visit_acquire=none,
        visit_held=none,
        visit_header_cycles=none,
        visit_writeback_cycles=none,
        visit_drain_cycles=none,
        visit_fold_start=np.full_like(none, -1),
        act_start=np.zeros_like(program.act_start),
        act_segment=program.act_segment[:0],
        act_cycles=program.act_cycles[:0],
        act_after_visit=program.act_after_visit[:0],
    )


def run_event(program: Program) -> Timing:
    """Return the timing of `program`.

    Raises
    ------
    ScheduleError
        When a segment can never end, e.g. because a hand-made program holds
        more tiles than the FIFO has slots.
    """
    if program.ideal:
        program = _without_requests(program)
    segments = program.segment_op.size
    seg_end = np.zeros(segments, np.int64)
    out = np.zeros((segments, program.cores, kernel.RESULT_SIZE), np.int64)
    # slots beyond the number of transfers are never used
    slots = max(1, min(program.fifo_slots, int(program.visit_acquire.sum())))
    visits = (
        program.visit_segment,
        program.visit_folds,
        program.visit_length,
        program.visit_acquire,
        program.visit_held,
        program.visit_release,
        program.visit_header_cycles,
        program.visit_vector_cycles,
        program.visit_is_vector,
        program.visit_writeback_cycles,
        program.visit_drain_cycles,
        program.visit_fold_start,
    )
    segment = (
        program.segment_tile_cycles,
        program.segment_prefetchable,
        program.segment_gather_cycles,
    )
    if program.cores == 1 and (program.ideal or not program.shared_channel):
        kernel.run_alone(
            program.rows,
            program.cols,
            program.output_stationary,
            program.overlap,
            program.ideal,
            program.prefetch,
            slots,
            program.latency_cycles,
            program.read_behind_cycles,
            *segment,
            *visits,
            program.fold_needs,
            program.act_segment,
            program.act_cycles,
            program.act_after_visit,
            seg_end,
            out,
        )
    else:
        stuck = kernel.run_shared(
            program.rows,
            program.cols,
            program.output_stationary,
            program.overlap,
            program.ideal,
            program.shared_channel,
            program.prefetch,
            slots,
            program.latency_cycles,
            program.read_behind_cycles,
            *segment,
            program.visit_start,
            *visits,
            program.fold_needs,
            program.act_start,
            program.act_segment,
            program.act_cycles,
            program.act_after_visit,
            seg_end,
            out,
        )
        if stuck >= 0:
            raise ScheduleError(
                f"segment {stuck} (operator {int(program.segment_op[stuck])}) can never end: a "
                "visit waits for a transfer that no buffer slot is left for"
            )
    return Timing(
        end=seg_end,
        core_end=out[:, :, kernel.R_END],
        array_cycles=out[:, :, kernel.R_ARRAY],
        compute=out[:, :, kernel.R_COMPUTE],
        stall_weights=out[:, :, kernel.R_STALL_WEIGHTS],
        stall_activations=out[:, :, kernel.R_STALL_ACTIVATIONS],
        stall_writeback=out[:, :, kernel.R_STALL_WRITEBACK],
        index=out[:, :, kernel.R_INDEX],
        vector=out[:, :, kernel.R_VECTOR],
    )

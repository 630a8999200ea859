"""Counts and closed forms: the arrays behind every `SimulationResult`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lspsim.errors import ScheduleError
from lspsim.kernels import analytic as kernel
from lspsim.schedule.build import check_range, plan_segments
from lspsim.schedule.lower import check_schedulable, chip_of, lower_workload
from lspsim.simulate.columns import BUCKETS, COUNTS

if TYPE_CHECKING:
    from lspsim.hardware import Hardware
    from lspsim.workload import Workload

IntArray = NDArray[np.int64]


class Analysis(NamedTuple):
    """What the closed forms yield, per operator."""

    counts: IntArray
    """`[ops, len(COUNTS)]`."""
    buckets: IntArray
    """`[ops, len(BUCKETS)]` core-cycles."""
    figures: IntArray
    """`[ops, FIGURES]`: live tiles, tiles, folds, `cycles_array`, `cycles_total`."""
    segments: IntArray
    fused_into: IntArray
    cycles_total: int


def analyse(workload: Workload, hardware: Hardware) -> Analysis:
    """Return exact action counts and analytic cycles of every operator.

    Raises
    ------
    ScheduleError
        When the hardware cannot run the workload.
    """
    tables = lower_workload(workload)
    check_schedulable(workload, tables, hardware)
    chip = chip_of(hardware)
    check_range(tables.ops, chip)
    segments, fused_into = plan_segments(workload, tables.ops, chip)
    ops = tables.ops.shape[0]
    counts = np.zeros((ops, len(COUNTS)), np.int64)
    buckets = np.zeros((ops, len(BUCKETS)), np.int64)
    figures = np.zeros((ops, kernel.FIGURES), np.int64)
    failed, slots, cycles = kernel.analyse(
        tables.ops, tables.words, chip, segments, counts, buckets, figures
    )
    if failed >= 0:
        raise ScheduleError(
            f"gemm {workload.ops[failed].name!r}: one column of weights takes {slots} tiles, but "
            f"the weight buffer holds {hardware.buffers.weight_bytes} bytes; output-stationary "
            "keeps a whole column: enlarge buffers.weight"
        )
    return Analysis(counts, buckets, figures, segments, fused_into, int(cycles))

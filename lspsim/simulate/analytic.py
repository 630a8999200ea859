"""Counts and closed forms: the arrays behind every `SimulationResult`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lspsim.arrays import IntArray
from lspsim.kernels import analytic as kernel
from lspsim.kernels import layout as at
from lspsim.kernels.plan import PLAN_SIZE
from lspsim.kernels.plan import plan as make_plan
from lspsim.kernels.profile import SUMS
from lspsim.kernels.profile import profile as make_profile
from lspsim.schedule.build import check_range, column_too_tall, plan_segments
from lspsim.schedule.lower import OpTables, check_schedulable, chip_of, lower_workload
from lspsim.simulate.columns import BUCKETS, COUNTS

if TYPE_CHECKING:
    from lspsim.hardware import Hardware
    from lspsim.workload import Workload


MOST_PLANS = 256
"""Plans kept per workload; a sweep over more chips starts afresh rather than grow."""

PROFILE_COLUMNS = (
    at.ROWS,
    at.COLS,
    at.CORES,
    at.DATAFLOW,
    at.PACKING,
    at.SPARSE,
    at.ASSIGNMENT,
)
"""All of the hardware that a mask's sums depend on."""


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


def analyse(workload: Workload, hardware: Hardware, fast: bool = True) -> Analysis:
    """Return exact action counts and analytic cycles of every operator.

    `fast=False` does every GEMM column by column: the oracle of the closed forms.

    Raises
    ------
    ScheduleError
        When the hardware cannot run the workload.
    """
    tables = lower_workload(workload)
    chip = chip_of(hardware)
    plan = plan_of(workload, tables, hardware, chip)
    sums, core_folds = profile_of(workload, tables, chip)
    ops = tables.ops.shape[0]
    counts = np.zeros((ops, len(COUNTS)), np.int64)
    buckets = np.zeros((ops, len(BUCKETS)), np.int64)
    figures = np.zeros((ops, kernel.FIGURES), np.int64)
    failed, slots, cycles = kernel.combine(
        tables.ops,
        tables.words,
        chip,
        plan.segments,
        plan.rows,
        plan.class_of,
        sums,
        core_folds,
        fast,
        counts,
        buckets,
        figures,
    )
    if failed >= 0:
        raise column_too_tall(workload, failed, slots, chip)
    return Analysis(counts, buckets, figures, plan.segments, plan.fused_into, cycles)


class Plan(NamedTuple):
    """The mask-independent part of an analysis."""

    segments: IntArray
    fused_into: IntArray
    rows: IntArray
    """`[ops, PLAN_SIZE]`; see `lspsim.kernels.plan`."""
    class_of: IntArray
    """`[segments]`: operator whose row a segment uses."""


def plan_of(workload: Workload, tables: OpTables, hardware: Hardware, chip: IntArray) -> Plan:
    """Return the plan of `workload` on a chip, kept with the workload's shapes."""
    key = ("plan", tables.shape_digest, chip.tobytes())
    cached = workload.shape_cache.get(key)
    if isinstance(cached, Plan):
        return cached
    check_schedulable(workload, tables, hardware)
    check_range(tables.ops, chip)
    segments, fused_into = plan_segments(workload, tables.ops, chip)
    rows = np.zeros((tables.ops.shape[0], PLAN_SIZE), np.int64)
    class_of = np.zeros(segments.shape[0], np.int64)
    make_plan(tables.ops, chip, segments, rows, class_of)
    plan = Plan(segments, fused_into, rows, class_of)
    if len(workload.shape_cache) > MOST_PLANS:
        workload.shape_cache.clear()
    workload.shape_cache[key] = plan
    return plan


def profile_of(workload: Workload, tables: OpTables, chip: IntArray) -> tuple[IntArray, IntArray]:
    """Return the mask sums `[ops, SUMS]` and folds per core `[ops, cores]`, kept by array shape."""
    key = ("profile", *(int(chip[column]) for column in PROFILE_COLUMNS))
    cached = workload.cache.get(key)
    if isinstance(cached, tuple):
        return cached
    sums = np.zeros((tables.ops.shape[0], SUMS), np.int64)
    core_folds = np.zeros((tables.ops.shape[0], int(chip[at.CORES])), np.int64)
    make_profile(tables.ops, tables.words, chip, sums, core_folds)
    workload.cache[key] = (sums, core_folds)
    return sums, core_folds

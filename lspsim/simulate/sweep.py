"""`sweep`: analytic totals of one workload on many chips, a few microseconds each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lspsim.arrays import FloatArray, IntArray
from lspsim.kernels import layout as at
from lspsim.kernels.plan import PLAN_SIZE
from lspsim.kernels.sweep import sweep as run_kernel
from lspsim.kernels.totals import T_SIZE
from lspsim.schedule.build import check_range
from lspsim.schedule.lower import OpTables, check_schedulable, chip_of, lower_workload
from lspsim.simulate.analytic import PROFILE_COLUMNS, analyse, profile_of
from lspsim.simulate.columns import COUNTS
from lspsim.simulate.energy import NOMINAL, energy_constants

if TYPE_CHECKING:
    from lspsim.hardware import Hardware
    from lspsim.workload import Workload


@dataclass(frozen=True, slots=True, eq=False)
class SweepTotals:
    """Network totals, one entry per chip, in the order given."""

    cycles_total: IntArray
    """`[chips]`; a lower bound where the chip's memory is not ideal."""
    counts: IntArray
    """`[chips, len(COUNTS)]`: exact action counts."""
    energy_pj: FloatArray
    """`[chips]`: actions times constants plus static power times time."""


def sweep(workload: Workload, hardware: Sequence[Hardware]) -> SweepTotals:
    """Return the analytic totals of `workload` on every chip.

    Equal to `simulate(workload, h, engine="analytic")` for each; the mask is
    looked at once per array shape.

    Raises
    ------
    ScheduleError
        When one of the chips cannot run the workload.
    """
    tables = lower_workload(workload)
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, chip_description in enumerate(hardware):
        check_schedulable(workload, tables, chip_description)
        chip = chip_of(chip_description)
        check_range(tables.ops, chip)
        groups[tuple(int(chip[c]) for c in PROFILE_COLUMNS)].append(i)
    cycles = np.zeros(len(hardware), np.int64)
    counts = np.zeros((len(hardware), len(COUNTS)), np.int64)
    for members in groups.values():
        chips = np.stack([chip_of(hardware[i]) for i in members])
        cycles[members], counts[members] = sweep_chips(workload, tables, chips)
    for i in np.flatnonzero(cycles < 0).tolist():
        analysis = analyse(workload, hardware[i])
        cycles[i] = analysis.cycles_total
        counts[i] = analysis.counts.sum(axis=0)
    energy = np.zeros(len(hardware), np.float64)
    for i, chip_description in enumerate(hardware):
        constants = energy_constants(chip_description)
        static = constants.static_pj_per_cycle[NOMINAL].sum()
        energy[i] = counts[i] @ constants.per_count_pj[NOMINAL] + cycles[i] * static
    return SweepTotals(cycles, counts, energy)


def sweep_chips(workload: Workload, tables: OpTables, chips: IntArray) -> tuple[IntArray, IntArray]:
    """Return cycles `[points]` (-1 = needs `analyse`) and counts of chips alike in array shape."""
    sums, core_folds = profile_of(workload, tables, chips[0])
    size = tables.ops.shape[0]
    cycles = np.empty(chips.shape[0], np.int64)
    counts = np.zeros((chips.shape[0], len(COUNTS)), np.int64)
    run_kernel(
        tables.ops,
        chips,
        sums,
        core_folds,
        np.zeros((size, at.SEGMENT_SIZE), np.int64),
        np.zeros(size, np.int64),
        np.zeros((size, PLAN_SIZE), np.int64),
        np.zeros(size, np.int64),
        np.zeros((size, T_SIZE), np.int64),
        cycles,
        counts,
    )
    return cycles, counts

"""The closed forms by class and by totals give what they give column by column."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from lspsim.errors import ScheduleError
from lspsim.hardware import Hardware
from lspsim.kernels.totals import T_SIZE, totals
from lspsim.schedule.lower import chip_of, lower_workload
from lspsim.simulate.analytic import Analysis, analyse, plan_of, profile_of
from lspsim.simulate.columns import BUCKETS, COUNTS
from lspsim.workload import Workload
from tests.schedule.cases import draw
from tests.simulate.workload_cases import random_mask

CASES = 1500
BATCHES = 5


def network_totals(workload: Workload, hardware: Hardware) -> tuple[int, np.ndarray]:
    """Return cycles (-1: these need the general path) and the counts of the totals kernel."""
    tables, chip = lower_workload(workload), chip_of(hardware)
    plan = plan_of(workload, tables, hardware, chip)
    sums, core_folds = profile_of(workload, tables, chip)
    scratch = np.full((len(workload.ops), T_SIZE), 77, np.int64)
    out = np.full(len(COUNTS), 77, np.int64)
    cycles = totals(
        tables.ops,
        chip,
        plan.segments,
        plan.rows,
        plan.class_of,
        sums,
        core_folds,
        scratch,
        out,
    )
    return int(cycles), out


def assert_same(fast: Analysis, slow: Analysis, hardware: Hardware) -> None:
    for name, columns in (("counts", COUNTS), ("buckets", BUCKETS), ("figures", None)):
        a, b = getattr(fast, name), getattr(slow, name)
        for op, column in np.argwhere(a != b):
            label = columns[column] if columns else column
            raise AssertionError(
                f"operator {op}, {name} {label}: fast {a[op, column]}, slow {b[op, column]}"
            )
    assert fast.cycles_total == slow.cycles_total
    np.testing.assert_array_equal(fast.segments, slow.segments)
    np.testing.assert_array_equal(fast.fused_into, slow.fused_into)
    assert slow.buckets.sum() == hardware.cores * slow.cycles_total


def check_totals(workload: Workload, hardware: Hardware, slow: Analysis) -> bool:
    """Compare the totals kernel; return whether it takes this case."""
    cycles, counts = network_totals(workload, hardware)
    if cycles == -1:
        return False
    assert cycles == slow.cycles_total
    expected = slow.counts.sum(axis=0)
    wrong = [
        f"{label}: {a} != {b}"
        for label, a, b in zip(COUNTS, counts, expected, strict=True)
        if a != b
    ]
    assert not wrong, wrong
    return True


@pytest.mark.parametrize("batch", range(BATCHES))
def test_fast_equals_column_by_column(batch: int) -> None:
    fit = taken = 0
    for seed in range(batch, CASES, BATCHES):
        workload, hardware = draw(seed)
        try:
            slow = analyse(workload, hardware, fast=False)
        except ScheduleError as error:
            with pytest.raises(ScheduleError, match=f"^{re.escape(str(error))}$"):
                analyse(workload, hardware)
            continue
        fit += 1
        try:
            assert_same(analyse(workload, hardware), slow, hardware)
            taken += check_totals(workload, hardware, slow)
        except AssertionError as error:
            error.add_note(f"seed {seed}: {workload.ops}\n{hardware}")
            raise
    assert fit >= 0.75 * CASES / BATCHES, f"only {fit} cases of this batch fit"
    assert taken >= fit / 3, f"the totals kernel takes only {taken} of {fit} cases"


def test_plans_kept_for_other_masks_are_not_mistaken() -> None:
    """`with_masks` shares plans among masks of one shape; results are those of a fresh workload."""
    compared = 0
    for seed in range(120):
        workload, hardware = draw(seed)
        try:
            analyse(workload, hardware)
        except ScheduleError:
            continue
        rng = random.Random(seed)
        masks = {
            op.name: random_mask(rng, op.n, op.k, op.mask.block_out, op.mask.block_in)
            for op in workload.gemms
            if op.mask is not None
        }
        try:
            changed = analyse(workload.with_masks(masks), hardware)
        except ScheduleError as error:
            if "one column of weights" not in str(error):
                raise
            continue
        compared += bool(masks)
        fresh = analyse(Workload(workload.with_masks(masks).ops), hardware, fast=False)
        assert_same(changed, fresh, hardware)
    assert compared >= 30

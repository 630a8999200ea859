"""Totals of one workload on many chips that share the array's shape."""

from __future__ import annotations

from numba import njit

from lspsim.kernels.layout import (
    ACCUMULATOR_ROWS,
    ACTIVATION_BITS,
    ACTIVATION_BUFFER,
    DATAFLOW,
    ROWS,
    VECTOR_OVERLAP,
    WEIGHT_BITS,
    WEIGHT_BUFFER,
)
from lspsim.kernels.plan import plan
from lspsim.kernels.segments import find_segments
from lspsim.kernels.totals import totals


@njit(cache=True, nogil=True)
def same_residency(a, b):
    """Whether two chips keep the same tensors on chip."""
    return (
        a[ACTIVATION_BUFFER] == b[ACTIVATION_BUFFER]
        and a[WEIGHT_BUFFER] == b[WEIGHT_BUFFER]
        and a[ACCUMULATOR_ROWS] == b[ACCUMULATOR_ROWS]
        and a[ACTIVATION_BITS] == b[ACTIVATION_BITS]
        and a[WEIGHT_BITS] == b[WEIGHT_BITS]
        and a[VECTOR_OVERLAP] == b[VECTOR_OVERLAP]
        and a[ROWS] == b[ROWS]
        and a[DATAFLOW] == b[DATAFLOW]
    )


@njit(cache=True, nogil=True)
def sweep(
    ops,
    chips,
    sums,
    core_folds,
    segments,
    fused_into,
    rows,
    class_of,
    scratch,
    cycles,
    counts,
):
    """Fill `cycles` `[points]` and `counts` `[points, COUNT_SIZE]`.

    A point that the totals kernel cannot do gets -1 cycles: do it with `combine`.

    Parameters
    ----------
    ops, sums, core_folds
        One workload's operators and mask sums (`lspsim.kernels.profile`).
    chips
        int64 `[points, CHIP_SIZE]`, equal in all that the sums depend on.
    segments, fused_into, rows, class_of, scratch
        Work arrays of the sizes that `find_segments`, `plan` and `totals` ask for.
    """
    found = 0
    for point in range(chips.shape[0]):
        chip = chips[point]
        if point == 0 or not same_residency(chip, chips[point - 1]):
            found, _ = find_segments(ops, chip, segments, fused_into)
        cycles[point] = -1
        if found == 0:
            continue
        used = segments[:found]
        plan(ops, chip, used, rows, class_of)
        cycles[point] = totals(
            ops, chip, used, rows, class_of, sums, core_folds, scratch, counts[point]
        )

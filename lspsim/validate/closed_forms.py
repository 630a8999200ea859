"""SCALE-Sim's cycle and SRAM counts of one GEMM, as closed forms.

Source: SCALE-Sim 3.0.0, 60 runs, which these forms reproduce exactly; it executes the
folds one after the other ("serial") and charges edge folds for the full array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lspsim.errors import LspsimError

Dataflow = Literal["ws", "os", "is"]

REPORTED_OFFSET = -1
"""SCALE-Sim reports the index of the last cycle, counted from 0: one less than their number."""

ARRAY_OFFSET = 2
"""`cycles_array` runs from the edge at which operands are sampled to the edge of the last
accumulator write: two edges that the sum over folds does not hold (docs/model.md)."""


@dataclass(frozen=True, slots=True)
class ScalesimCounts:
    """What SCALE-Sim counts for one GEMM without stalls."""

    folds: int
    cycles_per_fold: int
    ifmap_reads: int
    filter_reads: int
    ofmap_writes: int
    """Words as SCALE-Sim counts them, `surplus_writes` included."""
    surplus_writes: int
    """Words that SCALE-Sim counts and no array writes: R + C per fold of `os`, else 0."""

    @property
    def cycles(self) -> int:
        """Cycles of all folds, one after the other."""
        return self.folds * self.cycles_per_fold

    @property
    def reported_cycles(self) -> int:
        """Total that SCALE-Sim prints where nothing stalls."""
        return self.cycles + REPORTED_OFFSET

    @property
    def cycles_array(self) -> int:
        """What `fold_overlap: none` gives for the same folds."""
        return self.cycles + ARRAY_OFFSET


def scalesim_counts(
    m: int, n: int, k: int, rows: int, cols: int, dataflow: Dataflow
) -> ScalesimCounts:
    """Count one GEMM `[m, k] @ [k, n]` on a `rows x cols` array.

    Parameters
    ----------
    m, n, k
        Rows of the input (ifmap), columns of the output, reduction length; all >= 1.
    rows, cols
        Array size; all >= 1.
    dataflow
        `ws`, `os` or `is`: the operand that stays is the filter, the output, the ifmap.

    Raises
    ------
    LspsimError
        On an unknown dataflow, or a size below 1.
    """
    sizes = {"m": m, "n": n, "k": k, "rows": rows, "cols": cols}
    for name, size in sizes.items():
        if size < 1:
            raise LspsimError(f"{name} is {size}; a GEMM and an array have sizes of at least 1")
    m_rows, m_cols = -(-m // rows), -(-m // cols)
    n_cols, k_rows = -(-n // cols), -(-k // rows)
    if dataflow == "ws":
        return ScalesimCounts(
            folds=k_rows * n_cols,
            cycles_per_fold=2 * rows + cols + m - 2,
            ifmap_reads=m * k * n_cols,
            filter_reads=k * n,
            ofmap_writes=m * n * k_rows,
            surplus_writes=0,
        )
    if dataflow == "os":
        folds = m_rows * n_cols
        surplus = folds * (rows + cols)
        return ScalesimCounts(
            folds=folds,
            cycles_per_fold=rows + cols + k - 2,
            ifmap_reads=m * k * n_cols,
            filter_reads=k * n * m_rows,
            ofmap_writes=m * n + surplus,
            surplus_writes=surplus,
        )
    if dataflow == "is":
        return ScalesimCounts(
            folds=k_rows * m_cols,
            cycles_per_fold=2 * rows + cols + n - 2,
            ifmap_reads=m * k,
            filter_reads=k * n * m_cols,
            ofmap_writes=m * n * k_rows,
            surplus_writes=0,
        )
    raise LspsimError(f"unknown dataflow {dataflow!r}; use ws, os or is")


def scalesim_cycles(m: int, n: int, k: int, rows: int, cols: int, dataflow: Dataflow) -> int:
    """Total cycles that SCALE-Sim prints for one GEMM without stalls; see `scalesim_counts`."""
    return scalesim_counts(m, n, k, rows, cols, dataflow).reported_cycles

"""Fitting a GPU's dense parameters to a table of GEMM latencies.

Bounded least squares on the error of the logarithm (trust region reflective,
`scipy.optimize.least_squares`, soft-L1 loss so that few odd rows do not decide).
The bounds keep every parameter physical: efficiencies are at most 1.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lspsim.arrays import FloatArray
from lspsim.errors import ResultError
from lspsim.gpu.fit.accuracy import Accuracy
from lspsim.gpu.fit.bounds import at_bounds
from lspsim.gpu.fit.gemm_table import GemmTable
from lspsim.gpu.model.dense import Chip, DenseRates, dense_times

ROWS = 3000
"""Rows that the fit looks at, drawn with a fixed seed where there are more."""
SIDES = (256, 8192)
"""N and K of the rows that are fitted: those of transformers' layers."""
LEAST_TOKENS = 128
"""M of the rows that are fitted; smaller ones are bound by launches and weights."""
NOISE = 1.25
"""How far above the peak an odd row may seem to be."""
SOFT = 0.1
"""Error of the logarithm from which on the loss grows linearly."""


class Range(NamedTuple):
    """Bounds and start of one parameter."""

    low: float
    start: float
    high: float


BOUNDS: dict[str, Range] = {
    "compute_efficiency": Range(0.3, 0.85, 1.0),
    "dram_efficiency": Range(0.3, 0.9, 1.0),
    "l2_efficiency": Range(0.2, 0.8, 1.0),
    "l2_share": Range(0.001, 0.5, 1.0),
    "feed": Range(0.5, 2.5, 10.0),
    "overlap_loss": Range(0.001, 0.3, 1.0),
    "block_s": Range(0.0, 0.2e-6, 1e-6),
    "launch_s": Range(1e-6, 2.5e-6, 6e-6),
    "split_s": Range(0.0, 2e-6, 10e-6),
}
"""In the order of `DenseRates`. A kernel takes a microsecond at least; no thread block's
start and end take more than a few."""


@dataclass(frozen=True, slots=True)
class DenseFit:
    """Fitted parameters and how well they do."""

    rates: DenseRates
    fitted: Accuracy
    """On the rows of the fit."""
    held_out: Accuracy | None
    """On rows that the fit did not see, all with M >= 128; None where none was held out."""

    @property
    def at_bounds(self) -> tuple[str, ...]:
        """Parameters that ended at a bound."""
        values = {f"dense.{name.removesuffix('_s')}": x for name, x in self.rates._asdict().items()}
        limits = [(bound.low, bound.high) for bound in BOUNDS.values()]
        return at_bounds(values, dict(zip(values, limits, strict=True)))


def fit_dense(
    measured: list[tuple[Chip, GemmTable]],
    hold_out: Collection[tuple[int, int]] = (),
    seed: int = 0,
) -> DenseFit:
    """Fit the dense parameters to one GPU's table, or one set to those of several.

    Parameters
    ----------
    measured
        GPUs with their tables.
    hold_out
        Weights `(n, k)` that the fit does not see, and whose error it reports.
    seed
        Chooses the rows where there are more than `ROWS` of a table.

    Raises
    ------
    ResultError
        When a table has too few rows in the fitted range, no held-out row, or rows that
        its GPU cannot have reached.
    """
    from scipy.optimize import least_squares

    rng = np.random.default_rng(seed)
    training, testing = [], []
    for chip, table in measured:
        check_possible(chip, table)
        wide = table.where(table.m >= LEAST_TOKENS)
        held = wide.with_weights(hold_out)
        if hold_out and not held.any():
            wanted = ", ".join(f"n={n} k={k}" for n, k in sorted(hold_out))
            raise ResultError(
                f"{table.source}: no row with M >= {LEAST_TOKENS} has a held-out weight "
                f"({wanted}); hold out another model, or nothing"
            )
        inside = np.minimum(wide.n, wide.k) >= SIDES[0]
        inside &= np.maximum(wide.n, wide.k) <= SIDES[1]
        rows = np.flatnonzero(inside & ~held)
        if rows.size < 3 * len(BOUNDS):
            raise ResultError(
                f"{table.source}: {rows.size} rows have M >= {LEAST_TOKENS} and N, K in "
                f"{SIDES[0]}..{SIDES[1]}; a fit needs at least {3 * len(BOUNDS)}"
            )
        if rows.size > ROWS:
            rows = rng.choice(rows, ROWS, replace=False)
        picked = np.zeros(len(wide), dtype=bool)
        picked[rows] = True
        training.append((chip, wide.where(picked)))
        testing.append((chip, wide.where(held)))

    scale = np.array([bound.start for bound in BOUNDS.values()])

    def residual(x: FloatArray) -> FloatArray:
        rates = DenseRates(*(x * scale).tolist())
        return np.concatenate(
            [
                np.log(predicted(chip, rates, table)) - np.log(table.latency_s)
                for chip, table in training
            ]
        )

    low, _, high = (np.array(column) for column in zip(*BOUNDS.values(), strict=True))
    found = least_squares(
        residual,
        np.ones(len(scale)),
        bounds=(low / scale, high / scale),
        loss="soft_l1",
        f_scale=SOFT,
        diff_step=1e-3,
    )
    rates = DenseRates(*(found.x * scale).tolist())
    return DenseFit(
        rates,
        accuracy(rates, training),
        accuracy(rates, testing) if hold_out else None,
    )


def check_possible(chip: Chip, table: GemmTable) -> None:
    """Refuse rows far above the peak at the highest clock: a wrong unit, format or GPU.

    Raises
    ------
    ResultError
        Names the first such row.
    """
    least_s = 2 * table.m * table.n * table.k / chip.peak_flop_per_s
    wrong = np.flatnonzero(table.latency_s < least_s / NOISE)
    if wrong.size:
        m, n, k, latency_s, least = (
            float(x[wrong[0]]) for x in (table.m, table.n, table.k, table.latency_s, least_s)
        )
        raise ResultError(
            f"{table.source}: {wrong.size:,} of {len(table):,} rows are {NOISE} times as fast as "
            f"the GPU's peak at its highest clock, or faster, the first m={m:g}, n={n:g}, k={k:g} "
            f"with {latency_s:.3g} s (peak: {least:.3g} s); check the unit of the latency (a bare "
            "latency is in ms), --dtype and --gpu"
        )


def dense_values(rates: DenseRates) -> dict[str, float | str]:
    """Return parameters as `with_values` takes them: path to value."""
    return {f"dense.{name.removesuffix('_s')}": value for name, value in rates._asdict().items()}


def predicted(chip: Chip, rates: DenseRates, table: GemmTable) -> FloatArray:
    """Return the latencies of a table's rows, `[rows]`, s."""
    return dense_times(chip, rates, table.m, table.n, table.k).latency_s


def accuracy(rates: DenseRates, tables: list[tuple[Chip, GemmTable]]) -> Accuracy:
    """Compare predictions with one or several tables."""
    return Accuracy.of(
        np.concatenate([predicted(chip, rates, table) for chip, table in tables]),
        np.concatenate([table.latency_s for _, table in tables]),
    )

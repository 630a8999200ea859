"""Claims about methods: paired tests on the same images, corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from scipy.stats import binomtest

from lspsim.bench.cells import FISHER, FULL, LPVIT, RANDOM, RANDOM_FULL, REFIT, Cell, Method
from lspsim.bench.results import Table

PAIRS = (
    (FULL, FISHER),
    (FULL, RANDOM_FULL),
    (FULL, RANDOM),
    (FULL, REFIT),
    (FULL, LPVIT),
    (REFIT, RANDOM),
)
"""Which methods are compared with which; written down before anything was measured, but for
the first: Fisher was seen to be near at 80 %, and was then asked about everywhere."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation over seeds; the latter is None for a single one."""

    mean: float
    deviation: float | None
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Return mean and sample standard deviation."""
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def over_seeds(table: Table, cell: Cell, column: str) -> Spread | None:
    """Return the spread of a column over the seeds of a cell that are finished."""
    values = [
        float(getattr(row, column))
        for other, row in table.rows.items()
        if (other.method, other.block, other.sparsity, other.distilled)
        == (cell.method, cell.block, cell.sparsity, cell.distilled)
    ]
    return spread(values) if values else None


@dataclass(frozen=True, slots=True)
class Claim:
    """One method against another, same blocks and sparsity, same calibration and test images.

    Parameters
    ----------
    ours, theirs
        The methods.
    block, sparsity
        Where.
    gain_points
        Percentage points of top-1 that ours has more, over the seeds that both have.
    kl_ratio
        Mean KL of ours over that of theirs, same seeds.
    lost, won
        Of the first seed: images that only theirs classifies correctly; only ours.
    images
        That these are out of.
    p_value
        Exact McNemar test on them, two-sided (Psychometrika 1947).
    p_holm
        The same after Holm's correction for all claims (Scand. J. Statist. 1979).
    """

    ours: Method
    theirs: Method
    block: str
    sparsity: int
    gain_points: Spread
    kl_ratio: float
    lost: int
    won: int
    images: int
    p_value: float
    p_holm: float


def mcnemar(lost: int, won: int) -> float:
    """Return the two-sided exact p-value that both are equally often right alone."""
    if lost + won == 0:
        return 1.0
    return float(binomtest(lost, lost + won, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected by Holm's step-down procedure, in the order given."""
    count = len(p_values)
    adjusted = [0.0] * count
    highest = 0.0
    for rank, i in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (count - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def claims(table: Table) -> list[Claim]:
    """Compare `PAIRS` wherever both methods are finished, without distillation."""
    found = []
    places = sorted({(c.block_out, c.block_in, c.sparsity) for c in table.rows if not c.distilled})
    for ours, theirs in PAIRS:
        for place in places:
            seeds = [
                c.seed
                for c in sorted(table.rows)
                if not c.distilled
                and c == Cell(ours, *place, c.seed)
                and Cell(theirs, *place, c.seed) in table.rows
            ]
            if seeds:
                found.append(_claim(table, ours, theirs, place, seeds))
    corrected = holm([claim[-1] for claim in found])
    return [Claim(*claim, p) for claim, p in zip(found, corrected, strict=True)]


def _claim(
    table: Table, ours: Method, theirs: Method, place: tuple[int, int, int], seeds: Sequence[int]
) -> tuple[Method, Method, str, int, Spread, float, int, int, int, float]:
    """Return the fields of a claim but the corrected p-value."""
    pairs = [(Cell(ours, *place, seed), Cell(theirs, *place, seed)) for seed in seeds]
    gains = []
    for a, b in pairs:
        right_a, right_b = _common(table, a, b)
        gains.append(100 * float(right_a.mean() - right_b.mean()))
    kl_ours = fmean(table.rows[a].kl_nats for a, _ in pairs)
    kl_theirs = fmean(table.rows[b].kl_nats for _, b in pairs)
    right_a, right_b = _common(table, *pairs[0])
    lost, won = int((right_b & ~right_a).sum()), int((right_a & ~right_b).sum())
    return (
        ours,
        theirs,
        pairs[0][0].block,
        place[2],
        spread(gains),
        kl_ours / kl_theirs if kl_theirs > 0 else np.inf,
        lost,
        won,
        len(right_a),
        mcnemar(lost, won),
    )


def _common(table: Table, a: Cell, b: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Return who is right on the images that both have seen."""
    right_a, right_b = table.right(a), table.right(b)
    count = min(len(right_a), len(right_b))
    return right_a[:count], right_b[:count]

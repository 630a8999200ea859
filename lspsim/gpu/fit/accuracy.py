"""How far predictions are from measurements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lspsim.arrays import FloatArray
from lspsim.errors import ResultError


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Relative errors |predicted / measured - 1| over some rows."""

    rows: int
    mean: float
    """Mean absolute percentage error, as a fraction."""
    p90: float
    worst: float
    worst_row: int
    spearman: float | None
    """Rank correlation; None with fewer than 3 rows, or where a side is constant."""

    @classmethod
    def of(cls, predicted: FloatArray, measured: FloatArray) -> Accuracy:
        """Compare.

        Parameters
        ----------
        predicted, measured
            `[rows]`, in the same unit, measured > 0.

        Raises
        ------
        ResultError
            On no row.
        """
        if measured.size == 0:
            raise ResultError("there is no measurement to compare with")
        error = np.abs(predicted / measured - 1)
        worst = int(error.argmax())
        return cls(
            int(measured.size),
            float(error.mean()),
            float(np.quantile(error, 0.9)),
            float(error[worst]),
            worst,
            _spearman(predicted, measured),
        )


def _spearman(a: FloatArray, b: FloatArray) -> float | None:
    if a.size < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)

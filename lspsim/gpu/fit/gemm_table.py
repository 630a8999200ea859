"""GEMM latency tables: parquet or CSV with m, n, k and a latency."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lspsim.arrays import FloatArray
from lspsim.errors import ResultError
from lspsim.gpu.config.schema import Dtype

if TYPE_CHECKING:
    import pandas as pd


_LATENCY = {"latency": 1e-3, "latency_ms": 1e-3, "latency_us": 1e-6, "latency_s": 1.0}
"""Accepted columns and their unit in seconds; a bare `latency` is in ms."""
_DTYPE_COLUMNS = ("dtype", "gemm_dtype")
_DTYPES: dict[Dtype, tuple[str, ...]] = {
    "bf16": ("bf16", "bfloat16"),
    "fp16": ("fp16", "float16", "half"),
    "tf32": ("tf32",),
    "fp32": ("fp32", "float32", "float"),
}


@dataclass(frozen=True, slots=True, eq=False)
class GemmTable:
    """Measured dense GEMMs `Y[m, n] = X[m, k] @ W[n, k]^T`; arrays are `[rows]`."""

    m: FloatArray
    n: FloatArray
    k: FloatArray
    latency_s: FloatArray
    source: str
    """File that they come from."""

    def __len__(self) -> int:
        return int(self.m.size)

    def where(self, chosen: NDArray[np.bool_]) -> GemmTable:
        """Return the rows that a bool array `[rows]` picks."""
        return GemmTable(
            self.m[chosen], self.n[chosen], self.k[chosen], self.latency_s[chosen], self.source
        )

    def with_weights(self, shapes: Collection[tuple[int, int]]) -> NDArray[np.bool_]:
        """Return which rows, `[rows]`, have one of these weights `(n, k)`."""
        found = np.zeros(len(self), dtype=bool)
        for n, k in shapes:
            found |= (self.n == n) & (self.k == k)
        return found


def read_gemm_table(path: Path, dtype: Dtype = "bf16") -> GemmTable:
    """Read a table.

    Parameters
    ----------
    path
        `.parquet` or `.csv` with columns `m`, `n`, `k` and one of `latency` (ms),
        `latency_ms`, `latency_us`, `latency_s`.
    dtype
        Rows of this number format are taken, where the table has a column `dtype` or
        `gemm_dtype`.

    Raises
    ------
    ResultError
        When the file cannot be read, lacks a column, has no row of the number format, or
        holds values that are no sizes or latencies.
    """
    import pandas as pd

    frame = _read(path)
    columns = set(frame.columns)
    latency = [name for name in _LATENCY if name in columns]
    missing = [name for name in ("m", "n", "k") if name not in columns]
    if missing or not latency:
        needed = [*missing, *([] if latency else ["latency"])]
        raise ResultError(
            f"{path}: no column {', '.join(map(repr, needed))}; the table has "
            f"{', '.join(map(str, frame.columns))}. Needed are m, n, k and one of "
            f"{', '.join(_LATENCY)} (a bare latency is in ms): rename the columns"
        )
    if len(latency) > 1:
        raise ResultError(f"{path}: both {' and '.join(latency)} are there; keep one")
    for column in _DTYPE_COLUMNS:
        if column in columns:
            there = sorted(frame[column].astype(str).unique())
            frame = frame[frame[column].astype(str).str.lower().isin(_DTYPES[dtype])]
            if frame.empty:
                raise ResultError(
                    f"{path}: no row is {dtype}; column {column!r} has {', '.join(there)}: "
                    "choose another --dtype"
                )
    values = {}
    for name in ("m", "n", "k", latency[0]):
        values[name] = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64)
        wrong = ~(np.isfinite(values[name]) & (values[name] > 0))
        needed_here = "above 0"
        if name != latency[0]:
            wrong |= values[name] % 1 != 0
            needed_here = "a whole number above 0"
        if wrong.any():
            at = int(wrong.argmax())
            raise ResultError(
                f"{path}: column {name!r} must be {needed_here}, but {_place(path, frame, at)} has "
                f"{frame[name].iloc[at]!s}; leave such rows out"
            )
    if frame.empty:
        raise ResultError(f"{path}: the table has no rows")
    return GemmTable(
        values["m"],
        values["n"],
        values["k"],
        values[latency[0]] * _LATENCY[latency[0]],
        path.name,
    )


def _place(path: Path, frame: pd.DataFrame, at: int) -> str:
    """Name a row as an editor counts lines, or from 0 where the file has none."""
    row = int(frame.index[at])
    return f"line {row + 2}" if path.suffix == ".csv" else f"row {row}"


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    if not path.is_file():
        raise ResultError(f"{path}: there is no such file; check the path")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path).reset_index(drop=True)
        if path.suffix == ".csv":
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)
                frame = pd.read_csv(path, index_col=False, skip_blank_lines=False)
            return frame.dropna(how="all")  # blank lines; the index still counts them
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResultError(f"{path}: cannot be read: {reason}; check the path") from None
    except pd.errors.ParserWarning:
        raise ResultError(f"{path}: line 2 has more values than the header; mend it") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise ResultError(f"{path}: is no table: {str(error).strip()}") from None
    raise ResultError(f"{path}: not a known kind of table; give a .parquet or .csv file")

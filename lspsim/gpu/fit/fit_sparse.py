"""Fitting block-sparse efficiencies to own measurements of layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lspsim.errors import ResultError
from lspsim.gpu.config.edit import with_values
from lspsim.gpu.config.load import gpu_named
from lspsim.gpu.config.schema import Gpu, Parameters
from lspsim.gpu.fit.accuracy import Accuracy
from lspsim.gpu.fit.bounds import at_bounds
from lspsim.gpu.fit.measured import MeasuredRow
from lspsim.gpu.model.gpu_model import GpuModel

HELD_OUT_SPARSITY = 0.7
"""Rows of this sparsity are predicted, not fitted."""
BOUNDS = (0.02, 1.0)
GRID = 25
SIDES = (16, 32, 64, 128)


@dataclass(frozen=True, slots=True)
class SparseLayerFit:
    """Efficiencies by block side, and how well they do."""

    parameters: Parameters
    fitted: Accuracy
    held_out: Accuracy | None
    at_bounds: tuple[str, ...]
    """Parameters that ended at a bound."""


def fit_sparse_layers(
    rows: Sequence[MeasuredRow], start: Parameters, given: Sequence[Gpu] = ()
) -> SparseLayerFit:
    """Fit one efficiency per side of square blocks, on rows that are not held out.

    Parameters
    ----------
    rows
        Block-sparse layers; rectangular blocks are predicted, not fitted.
    start
        All else stays.
    given
        GPUs in place of the shipped ones of their names.

    Raises
    ------
    ResultError
        Without a row to fit to.
    """
    used = [row for row in rows if abs(row.sparsity - HELD_OUT_SPARSITY) > 1e-6]
    held = [row for row in rows if abs(row.sparsity - HELD_OUT_SPARSITY) <= 1e-6]
    parameters = start
    sides = [side for side in SIDES if any(row.block == (side, side) for row in used)]
    if not sides:
        raise ResultError(
            f"no layer with square blocks of {', '.join(map(str, SIDES))} and a sparsity other "
            f"than the held-out {HELD_OUT_SPARSITY:.0%} was measured; measure some at 50 or 90 %"
        )
    for side in sides:
        mine = [row for row in used if row.block == (side, side)]
        path = f"sparse.efficiency_{side}"
        parameters = with_values(parameters, {path: _best(path, mine, parameters, given)})
    source = used[0].source
    fitted = _accuracy(used, parameters, given)
    checked = _accuracy(held, parameters, given) if held else None
    said = (
        f"sides {', '.join(map(str, sides))} fitted by lspsim gpu calibrate to {source}, mean "
        f"error {fitted.mean:.1%}"
    )
    if checked is not None:
        said += f"; at {HELD_OUT_SPARSITY:.0%} sparsity, held out, {checked.mean:.1%}"
    missing = [side for side in SIDES if side not in sides]
    if missing:
        said += f"; {', '.join(map(str, missing))}: {start.sparse.source}"
    values = {
        f"sparse.efficiency_{side}": float(getattr(parameters.sparse, f"efficiency_{side}"))
        for side in sides
    }
    return SparseLayerFit(
        with_values(parameters, {"sparse.source": said}),
        fitted,
        checked,
        at_bounds(values, dict.fromkeys(values, BOUNDS)),
    )


def predicted_layer_s(row: MeasuredRow, model: GpuModel) -> float:
    """Return the predicted latency of a measured layer, s."""
    if row.block is None:
        return model.dense_latency(row.m, row.n, row.k).latency_s
    return model.sparse_latency(row.masks()[row.layer], row.m).latency_s


def _best(
    path: str, rows: Sequence[MeasuredRow], parameters: Parameters, given: Sequence[Gpu]
) -> float:
    """Return the value of one parameter with the least loss.

    A grid comes first: above what memory delivers the loss is flat, and a search by sections
    that begins there ends anywhere.
    """
    from scipy.optimize import minimize_scalar

    grid = np.geomspace(*BOUNDS, GRID)
    at = int(np.argmin([_loss(x, path, rows, parameters, given) for x in grid]))
    around = (grid[max(at - 1, 0)], grid[min(at + 1, GRID - 1)])
    return float(minimize_scalar(_loss, args=(path, rows, parameters, given), bounds=around).x)


def _loss(
    x: float,
    path: str,
    rows: Sequence[MeasuredRow],
    parameters: Parameters,
    given: Sequence[Gpu],
) -> float:
    """Return the squared errors of the logarithm with one parameter set to x."""
    found = _predicted(rows, with_values(parameters, {path: x}), given)
    return float((np.log(found / np.array([row.latency_s for row in rows])) ** 2).sum())


def _predicted(
    rows: Sequence[MeasuredRow], parameters: Parameters, given: Sequence[Gpu]
) -> np.ndarray:
    models = {
        key: GpuModel(gpu_named(key[0], given), key[1], parameters)
        for key in {(row.gpu, row.dtype) for row in rows}
    }
    return np.array([predicted_layer_s(row, models[row.gpu, row.dtype]) for row in rows])


def _accuracy(
    rows: Sequence[MeasuredRow], parameters: Parameters, given: Sequence[Gpu]
) -> Accuracy:
    return Accuracy.of(
        _predicted(rows, parameters, given), np.array([row.latency_s for row in rows])
    )

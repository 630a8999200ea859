"""Fitting what no GEMM table determines: from latencies of whole networks.

| what | fitted to |
|---|---|
| compute, DRAM and attention efficiency | DeiT-T and DeiT-B under timm; DeiT-S is held out |
| block-sparse efficiency | SuperBlock's pruned ViTs, as speedups over its dense one |
| a framework's overhead | its own dense network |

Latencies of whole networks say little about one kernel, so few parameters are fitted to
them, each bounded; the rest stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lspsim.arrays import FloatArray
from lspsim.errors import ResultError
from lspsim.gpu.config.edit import rounded, with_values
from lspsim.gpu.config.schema import Framework, Gpu, Parameters
from lspsim.gpu.fit.accuracy import Accuracy
from lspsim.gpu.fit.bounds import at_bounds
from lspsim.gpu.fit.networks import NetworkRow, network_rows, predict_row

FITTED_MODELS = ("deit_tiny_patch16_224", "deit_base_patch16_224")
HELD_OUT_MODEL = "deit_small_patch16_224"

NETWORK_BOUNDS: dict[str, tuple[float, float, float]] = {
    "dense.compute_efficiency": (0.3, 0.85, 1.0),
    "vector.dram_efficiency": (0.5, 0.85, 1.0),
    "vector.attention_efficiency": (0.1, 0.4, 1.0),
}
"""Low, start, high."""
SPARSE_BOUNDS = (0.05, 1.0)

SIDE_RATIOS = {"efficiency_16": 14 / 30, "efficiency_32": 18 / 30, "efficiency_128": 1.0}
"""Efficiency of other block sides over that of 64: as what is left at SuperBlock's
break-even sparsities 0.86, 0.82 and 0.70 for 16, 32 and 64 (PyTorch blog, "Speeding up ViTs
using Block Sparsity", 2024, fp32 on A100). 128 was not measured: taken for 64's."""


@dataclass(frozen=True, slots=True)
class NetworkFit:
    """Parameters fitted to networks, and how well they do."""

    parameters: Parameters
    fitted: Accuracy
    held_out: Accuracy | None
    at_bounds: tuple[str, ...]
    """Parameters that ended at a bound."""


def fit_networks(
    rows: Sequence[NetworkRow], start: Parameters, given: Sequence[Gpu] = ()
) -> NetworkFit:
    """Fit compute, DRAM and attention efficiency to DeiT-T and DeiT-B; predict DeiT-S.

    Parameters
    ----------
    rows
        Dense networks of one or several GPUs; others than the three DeiTs are ignored.
    start
        Parameters; all but the three fitted ones stay.
    given
        GPUs in place of the shipped ones of their names.

    Raises
    ------
    ResultError
        Without rows of both fitted models.
    """
    from scipy.optimize import least_squares

    training = [row for row in rows if row.model in FITTED_MODELS and not row.pruned]
    testing = [row for row in rows if row.model == HELD_OUT_MODEL and not row.pruned]
    if {row.model for row in training} != set(FITTED_MODELS):
        raise ResultError(
            f"no latencies of {' and '.join(FITTED_MODELS)} are there for this GPU; networks "
            "cannot be fitted. Give a GEMM table (--table)"
        )
    low, first, high = np.array(list(NETWORK_BOUNDS.values())).T

    def changed(x: FloatArray) -> Parameters:
        return with_values(start, dict(zip(NETWORK_BOUNDS, x.tolist(), strict=True)))

    def residual(x: FloatArray) -> FloatArray:
        parameters = changed(x)
        return np.array(
            [
                np.log(predict_row(row, parameters, given=given).latency_s / row.latency_s)
                for row in training
            ]
        )

    # Parameters are rounded to four digits when set: steps must be larger.
    found = least_squares(residual, first, bounds=(low, high), diff_step=1e-2)
    fitted = changed(found.x)
    return NetworkFit(
        fitted,
        accuracy_of(training, fitted, given),
        accuracy_of(testing, fitted, given) if testing else None,
        at_bounds(
            dict(zip(NETWORK_BOUNDS, found.x.tolist(), strict=True)),
            {name: (first, last) for name, (first, _, last) in NETWORK_BOUNDS.items()},
        ),
    )


def accuracy_of(
    rows: Sequence[NetworkRow],
    parameters: Parameters | None = None,
    given: Sequence[Gpu] = (),
) -> Accuracy:
    """Compare predictions with published rows."""
    return Accuracy.of(
        np.array([predict_row(row, parameters, given=given).latency_s for row in rows]),
        np.array([row.latency_s for row in rows]),
    )


def fit_overhead(
    rows: Sequence[NetworkRow],
    framework: Framework,
    parameters: Parameters | None = None,
    given: Sequence[Gpu] = (),
) -> Framework:
    """Return the framework with the overhead at which its dense network fits.

    The overhead multiplies the time of GEMMs, dense and block-sparse alike: they run under
    the network's clocks and by its libraries, not in bursts as GEMM tables are measured. It
    is fitted to the first of the dense networks with the largest batch, where GEMMs matter
    most; the other rows check it.

    Parameters
    ----------
    rows
        Published networks that ran under it.
    framework
        All else stays.
    parameters
        Others than the GPU's.
    given
        GPUs in place of the shipped ones of their names.

    Raises
    ------
    ResultError
        Without a dense network.
    """
    from scipy.optimize import minimize_scalar

    dense = [row for row in rows if not row.pruned]
    if not dense:
        known = sorted({one.gpu for one in network_rows() if one.framework == framework.name})
        there = f"; they are there for {', '.join(known)}" if known else ""
        raise ResultError(
            f"no published dense network ran under {framework.name} on this GPU{there}"
        )
    row = max(dense, key=lambda one: one.batch)

    def changed(factor: float) -> Framework:
        return framework.model_copy(update={"overhead": rounded(factor)})

    def loss(factor: float) -> float:
        latency_s = predict_row(row, parameters, changed(factor), given).latency_s
        return float(np.log(latency_s / row.latency_s)) ** 2

    best = minimize_scalar(loss, bounds=(0.5, 5.0), method="bounded")
    return changed(float(best.x))


@dataclass(frozen=True, slots=True)
class SparseFit:
    """Block-sparse efficiency fitted to speedups."""

    parameters: Parameters
    predicted: tuple[float, ...]
    """Speedup of every row, predicted by a fit to the others."""
    measured: tuple[float, ...]

    @property
    def at_bounds(self) -> tuple[str, ...]:
        """The fitted efficiency, where it ended at a bound."""
        name, value = "sparse.efficiency_64", float(self.parameters.sparse.efficiency_64)
        return at_bounds({name: value}, {name: SPARSE_BOUNDS})

    @property
    def left_out(self) -> Accuracy:
        """How good the predictions are."""
        return Accuracy.of(np.array(self.predicted), np.array(self.measured))


def fit_sparse(
    pruned: Sequence[NetworkRow],
    dense: NetworkRow,
    parameters: Parameters,
    framework: Framework,
    given: Sequence[Gpu] = (),
) -> SparseFit:
    """Fit the efficiency of 64x64 blocks to the speedups of pruned networks.

    Every speedup is also predicted from a fit to the others (leaving one out).

    Parameters
    ----------
    pruned
        Networks with pruned layers, blocks of 64.
    dense
        The network that they are compared with.
    parameters
        All but the block-sparse efficiencies stay.
    framework
        What ran them.
    given
        GPUs in place of the shipped ones of their names.

    Raises
    ------
    ResultError
        With fewer than two rows.
    """
    if len(pruned) < 2:
        raise ResultError("a block-sparse efficiency needs at least two pruned networks")
    dense_s = predict_row(dense, parameters, framework, given).latency_s
    measured = [dense.latency_s / row.latency_s for row in pruned]

    def speedup(row: NetworkRow, chosen: Parameters) -> float:
        return dense_s / predict_row(row, chosen, framework, given).latency_s

    def fit(rows: Sequence[int]) -> Parameters:
        from scipy.optimize import minimize_scalar

        def loss(x: float) -> float:
            chosen = with_efficiency_64(parameters, x)
            return sum(float(np.log(speedup(pruned[i], chosen) / measured[i])) ** 2 for i in rows)

        best = minimize_scalar(loss, bounds=SPARSE_BOUNDS, method="bounded")
        return with_efficiency_64(parameters, float(best.x))

    every = range(len(pruned))
    predicted = [speedup(pruned[i], fit([j for j in every if j != i])) for i in every]
    return SparseFit(fit(every), tuple(predicted), tuple(measured))


def with_efficiency_64(parameters: Parameters, value: float) -> Parameters:
    """Return parameters with this efficiency of 64x64 blocks, other sides in proportion."""
    sides = {f"sparse.{name}": value * ratio for name, ratio in SIDE_RATIOS.items()}
    return with_values(parameters, {"sparse.efficiency_64": value, **sides})

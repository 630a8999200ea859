"""Fitting energy per operation and per DRAM byte to own measurements.

Non-negative least squares (Lawson and Hanson, `scipy.optimize.nnls`) on relative errors:
measured energy minus idle power over the measured time is what operations and bytes took.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lspsim.errors import ResultError
from lspsim.gpu.config.load import gpu_named
from lspsim.gpu.config.schema import Gpu, Parameters
from lspsim.gpu.fit.accuracy import Accuracy
from lspsim.gpu.fit.fit_sparse import HELD_OUT_SPARSITY
from lspsim.gpu.fit.measured import MeasuredRow
from lspsim.gpu.model.gpu_model import GpuModel
from lspsim.gpu.model.inference import predict


@dataclass(frozen=True, slots=True)
class EnergyFit:
    """Constants of a GPU's `power` section, and how well they do at measured latencies."""

    idle_w: float
    """Mean of the measured idle powers; the data sheet file's where none was measured."""
    flop_j: float
    byte_j: float
    fitted: Accuracy
    held_out: Accuracy | None

    def lines(self) -> tuple[str, ...]:
        """Return the values as a file of `hw_configs/gpu` writes them."""
        return (
            f"idle: {self.idle_w:.4g} W",
            f"flop: {1e12 * self.flop_j:.4g} pJ/FLOP",
            f"byte: {1e12 * self.byte_j:.4g} pJ/B",
        )


def fit_energy(
    rows: Sequence[MeasuredRow], parameters: Parameters, given: Sequence[Gpu] = ()
) -> EnergyFit:
    """Fit two energies to rows of one GPU whose energy was measured.

    Parameters
    ----------
    rows
        Layers and networks under sustained load; those without energy are ignored.
    parameters
        Say which bytes pass DRAM.
    given
        GPUs in place of the shipped ones of their names.

    Raises
    ------
    ResultError
        With fewer than three rows that have an energy.
    """
    from scipy.optimize import nnls

    known = [row for row in rows if row.energy_j is not None]
    used = [row for row in known if abs(row.sparsity - HELD_OUT_SPARSITY) > 1e-6]
    held = [row for row in known if abs(row.sparsity - HELD_OUT_SPARSITY) <= 1e-6]
    if len(used) < 3:
        raise ResultError(
            f"{len(used)} rows have an energy; to fit one per operation and one per byte takes "
            "at least 3 (lspsim gpu measure writes them under sustained load)"
        )
    idles = [row.idle_w for row in used if row.idle_w is not None]
    gpu = gpu_named(used[0].gpu, given)
    idle_w = float(np.mean(idles)) if idles else float(gpu.power.idle.value)
    work = np.array([_work(row, parameters, given) for row in used])
    measured = np.array([row.energy_j for row in used], dtype=np.float64)
    dynamic = measured - idle_w * np.array([row.latency_s for row in used])
    (flop_j, byte_j), _ = nnls(work / measured[:, None], dynamic / measured)

    def accuracy(chosen: Sequence[MeasuredRow]) -> Accuracy:
        found = [
            idle_w * row.latency_s + float(np.dot((flop_j, byte_j), _work(row, parameters, given)))
            for row in chosen
        ]
        known_j = np.array([row.energy_j for row in chosen], dtype=np.float64)
        return Accuracy.of(np.array(found), known_j)

    return EnergyFit(
        idle_w, float(flop_j), float(byte_j), accuracy(used), accuracy(held) if held else None
    )


def _work(row: MeasuredRow, parameters: Parameters, given: Sequence[Gpu]) -> tuple[float, float]:
    """Return operations, counted in those of bf16, and DRAM bytes of a measured row."""
    gpu = gpu_named(row.gpu, given)
    model = GpuModel(gpu, row.dtype, parameters)
    slower = gpu.peak_flop_per_s("bf16") / gpu.peak_flop_per_s(row.dtype)
    if row.kind == "layer":
        time = (
            model.dense_latency(row.m, row.n, row.k)
            if row.block is None
            else model.sparse_latency(row.masks()[row.layer], row.m)
        )
        return slower * time.flops, time.dram_bytes
    from lspsim.models import cached_workload

    workload = cached_workload(row.model, batch=row.batch).with_masks(dict(row.masks(row.batch)))
    layers = predict(workload, model, kernels="sparse").layers
    return (
        slower * sum(layer.time.flops for layer in layers),
        sum(layer.time.dram_bytes for layer in layers),
    )

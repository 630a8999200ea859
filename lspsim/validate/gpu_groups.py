"""Groups of rows for `lspsim validate gpu`: predictions of one kind beside measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lspsim.arrays import FloatArray
from lspsim.gpu.config.load import load_framework, load_gpu, load_parameters
from lspsim.gpu.config.schema import Dtype, Gpu
from lspsim.gpu.fit.accuracy import Accuracy
from lspsim.gpu.fit.fit_dense import LEAST_TOKENS, SIDES, predicted
from lspsim.gpu.fit.fit_networks import FITTED_MODELS, fit_sparse
from lspsim.gpu.fit.fit_sparse import HELD_OUT_SPARSITY
from lspsim.gpu.fit.gemm_table import GemmTable
from lspsim.gpu.fit.measured import MeasuredRow
from lspsim.gpu.fit.networks import NetworkRow, predict_row
from lspsim.gpu.model.dense import chip_of, dense_rates
from lspsim.gpu.model.gpu_model import GpuModel
from lspsim.gpu.model.inference import predict
from lspsim.gpu.model.roofline import EFFICIENCY, LAUNCH_S, derated_roofline_s, roofline_s

Role = Literal["fitted", "held out", "predicted", "transferred"]
"""What a row proves. `fitted`: parameters of this GPU or framework were fitted to it, so it
is no evidence; `held out`: a part of the fitted data that the fit did not see; `predicted`:
nothing was fitted to it; `transferred`: predicted with another GPU's parameters."""


@dataclass(frozen=True, slots=True)
class Group:
    """Predictions of one kind beside measurements; arrays are `[rows]`."""

    name: str
    role: Role
    quantity: str
    """`latency (s)`, `speedup` or `energy (J)`."""
    predicted: FloatArray
    measured: FloatArray
    roofline: FloatArray | None
    """The data sheet's roofline for the same rows; None for speedups and energies."""
    derated: FloatArray | None
    """At 0.8 of the peaks with 3 us per kernel."""
    labels: tuple[str, ...] = ()

    @property
    def accuracy(self) -> Accuracy:
        """Of the predictions."""
        return Accuracy.of(self.predicted, self.measured)


def table_groups(
    gpu: Gpu, table: GemmTable, dtype: Dtype, hold_out: frozenset[tuple[int, int]]
) -> list[Group]:
    """Return the held-out and the other rows of a table."""
    wide = table.where(table.m >= LEAST_TOKENS)
    held = wide.with_weights(hold_out)
    rates = dense_rates(load_parameters(gpu))
    parts: tuple[tuple[NDArray[np.bool_], str, Role], ...] = (
        (held, "held-out weights", "held out"),
        (~held & _within(wide), f"other weights, N and K {SIDES[0]} to {SIDES[1]}", "fitted"),
        (~held & ~_within(wide), f"weights outside {SIDES[0]} to {SIDES[1]}", "predicted"),
    )
    groups = []
    for chosen, label, role in parts:
        if chosen.any():
            rows = wide.where(chosen)
            groups.append(
                Group(
                    f"{gpu.name} GEMM table, M >= {LEAST_TOKENS}, {label}",
                    role,
                    "latency (s)",
                    predicted(chip_of(gpu, dtype), rates, rows),
                    rows.latency_s,
                    *_table_rooflines(gpu, dtype, rows),
                )
            )
    return groups


def _within(table: GemmTable) -> NDArray[np.bool_]:
    """Return which rows have N and K in the range of the fits."""
    low, high = np.minimum(table.n, table.k), np.maximum(table.n, table.k)
    return np.asarray((low >= SIDES[0]) & (high <= SIDES[1]))


def table_transfer(gpu: Gpu, table: GemmTable, dtype: Dtype, source: Gpu) -> Group:
    """Return a table's rows predicted with the parameters of another GPU."""
    rows = table.where((table.m >= LEAST_TOKENS) & _within(table))
    return Group(
        f"{gpu.name} GEMM table with {source.name}'s parameters",
        "transferred",
        "latency (s)",
        predicted(chip_of(gpu, dtype), dense_rates(load_parameters(source)), rows),
        rows.latency_s,
        *_table_rooflines(gpu, dtype, rows),
    )


def _table_rooflines(gpu: Gpu, dtype: Dtype, table: GemmTable) -> tuple[FloatArray, FloatArray]:
    flops = 2 * table.m * table.n * table.k
    value = chip_of(gpu, dtype).value_bytes
    moved = value * (table.m * table.k + table.n * table.k + table.m * table.n)
    raw = np.maximum(flops / gpu.peak_flop_per_s(dtype), moved / float(gpu.memory.bandwidth.value))
    return raw, raw / EFFICIENCY + LAUNCH_S


def network_groups(rows: Sequence[NetworkRow]) -> list[Group]:
    """Return the published latencies by GPU, framework and role; and transfers."""
    dense = [row for row in rows if not row.pruned]
    keys = dict.fromkeys((row.gpu, row.framework, _role(row, rows)) for row in dense)
    groups = [
        _network_group(
            f"{gpu}, {framework}",
            role,
            [r for r in dense if (r.gpu, r.framework, _role(r, rows)) == (gpu, framework, role)],
        )
        for gpu, framework, role in keys
    ]
    for source, target in (("rtx3090", "rtx4090"), ("rtx4090", "rtx3090")):
        there = [row for row in dense if row.gpu == target]
        groups.append(
            _network_group(f"{target} with {source}'s parameters", "transferred", there, source)
        )
    return groups


def _role(row: NetworkRow, rows: Sequence[NetworkRow]) -> Role:
    """Return what a dense network proves: see docs/gpu.md, "What was fitted to what"."""
    if row.gpu.startswith("rtx"):
        if row.model in FITTED_MODELS:
            return "fitted"
        return "held out" if row.model.startswith("deit_small") else "predicted"
    same = [r for r in rows if r.framework == row.framework and not r.pruned]
    return "fitted" if row == max(same, key=lambda one: one.batch) else "predicted"


def _network_group(
    name: str, role: Role, rows: Sequence[NetworkRow], parameters_of: str | None = None
) -> Group:
    chosen = None if parameters_of is None else load_parameters(load_gpu(parameters_of))
    found = [predict_row(row, chosen) for row in rows]
    return Group(
        name,
        role,
        "latency (s)",
        np.array([one.latency_s for one in found]),
        np.array([row.latency_s for row in rows]),
        np.array([one.roofline_s for one in found]),
        np.array([one.derated_roofline_s for one in found]),
        tuple(row.label for row in rows),
    )


def speedup_groups(rows: Sequence[NetworkRow]) -> list[Group]:
    """Return the speedups of pruned networks over their dense one.

    The block-sparse efficiency was fitted to those of ViT-B: each of them is predicted by a
    fit to the others. Other networks are predicted with the shipped parameters.
    """
    groups = []
    pruned = [row for row in rows if row.pruned]
    for key in dict.fromkeys((row.gpu, row.framework, row.model) for row in pruned):
        gpu, framework, model = key
        mine = [row for row in pruned if (row.gpu, row.framework, row.model) == key]
        dense = next(
            row for row in rows if (row.gpu, row.framework, row.model) == key and not row.pruned
        )
        fitted = model == pruned[0].model
        if fitted:
            parameters = load_parameters(load_gpu(gpu))
            found = fit_sparse(mine, dense, parameters, load_framework(framework)).predicted
        else:
            base_s = predict_row(dense).latency_s
            found = tuple(base_s / predict_row(row).latency_s for row in mine)
        groups.append(
            Group(
                f"{gpu}, {framework}, {model} pruned{', leaving one out' if fitted else ''}",
                "held out" if fitted else "predicted",
                "speedup",
                np.array(found),
                np.array([dense.latency_s / row.latency_s for row in mine]),
                None,
                None,
                tuple(row.label for row in mine),
            )
        )
    return groups


def own_groups(rows: Sequence[MeasuredRow]) -> list[Group]:
    """Return own measurements by GPU, kind and regime: latency, and energy where measured.

    Parameters
    ----------
    rows
        As `read_measurements` gives them.

    Raises
    ------
    ResultError
        When a row's masks cannot be drawn again.
    """
    groups = []
    for key in dict.fromkeys((r.gpu, r.dtype, r.kind, _what(r), r.regime) for r in rows):
        gpu, dtype, kind, what, regime = key
        mine = [r for r in rows if (r.gpu, r.dtype, r.kind, _what(r), r.regime) == key]
        model = GpuModel(load_gpu(gpu), dtype)
        name = f"{gpu} {dtype}, own {kind}s, {what}, {regime}"
        found = [_own_prediction(row, model) for row in mine]
        role: Role = "held out" if what.endswith("held out") else "predicted"
        groups.append(
            Group(
                name,
                role,
                "latency (s)",
                np.array([one.latency_s for one in found]),
                np.array([row.latency_s for row in mine]),
                np.array([one.roofline_s for one in found]),
                np.array([one.derated_s for one in found]),
                tuple(row.label for row in mine),
            )
        )
        metered = [(one, row) for one, row in zip(found, mine, strict=True) if row.energy_j]
        if metered:
            groups.append(
                Group(
                    name,
                    role,
                    "energy (J)",
                    np.array([one.energy_j for one, _ in metered]),
                    np.array([row.energy_j for _, row in metered], dtype=np.float64),
                    None,
                    None,
                    tuple(row.label for _, row in metered),
                )
            )
    return groups


class _Own(NamedTuple):
    """Prediction of a measured row."""

    latency_s: float
    energy_j: float
    roofline_s: float
    derated_s: float


def _what(row: MeasuredRow) -> str:
    if row.block is None:
        return "dense"
    held = abs(row.sparsity - HELD_OUT_SPARSITY) < 1e-6
    return f"block-sparse{', held out' if held and row.kind == 'layer' else ''}"


def _own_prediction(row: MeasuredRow, model: GpuModel) -> _Own:
    if row.kind == "layer":
        time = (
            model.dense_latency(row.m, row.n, row.k)
            if row.block is None
            else model.sparse_latency(row.masks()[row.layer], row.m)
        )
        latency_s, energy_j = time.latency_s, model.energy_j(time)
        if row.regime == "sustained":
            latency_s, energy_j = model.under_load(latency_s, energy_j)
        return _Own(
            latency_s,
            energy_j,
            roofline_s(model.gpu, model.dtype, time),
            derated_roofline_s(model.gpu, model.dtype, time),
        )
    from lspsim.models import cached_workload

    workload = cached_workload(row.model, batch=row.batch).with_masks(dict(row.masks(row.batch)))
    found = predict(workload, model, load_framework(), "sparse")
    sustained = row.regime == "sustained"
    return _Own(
        found.sustained_s if sustained else found.latency_s,
        found.sustained_j if sustained else found.energy_j,
        found.roofline_s,
        found.derated_roofline_s,
    )

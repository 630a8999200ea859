"""`lspsim gpu calibrate`: everything that can be fitted from what is given, and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lspsim.errors import ResultError
from lspsim.gpu.config.edit import with_values
from lspsim.gpu.config.load import load_framework
from lspsim.gpu.config.schema import Dtype, Gpu, Parameters
from lspsim.gpu.fit.accuracy import Accuracy
from lspsim.gpu.fit.fit_dense import BOUNDS, LEAST_TOKENS, SIDES, DenseFit, dense_values, fit_dense
from lspsim.gpu.fit.fit_energy import EnergyFit, fit_energy
from lspsim.gpu.fit.fit_networks import (
    FITTED_MODELS,
    HELD_OUT_MODEL,
    fit_networks,
    fit_sparse,
)
from lspsim.gpu.fit.fit_sparse import HELD_OUT_SPARSITY, fit_sparse_layers
from lspsim.gpu.fit.gemm_table import GemmTable, read_gemm_table
from lspsim.gpu.fit.measured import MeasuredRow, dense_table, read_measurements
from lspsim.gpu.fit.networks import NetworkRow, network_rows
from lspsim.gpu.model.dense import chip_of


@dataclass(frozen=True, slots=True)
class Finding:
    """How well one part of a fit does."""

    part: str
    rows: str
    """Which rows."""
    accuracy: Accuracy


@dataclass(frozen=True, slots=True)
class Calibration:
    """New parameters, and how well they do."""

    parameters: Parameters
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    """What was not fitted, and why; what ended at a bound."""
    energy: EnergyFit | None = None
    """Belongs into the GPU's own file, not into its parameters."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a calibration starts from.

    Parameters
    ----------
    measured
        GPUs, each with a table (`.parquet`, `.csv`) or own measurements (`.jsonl`).
    hold_out
        Weights `(n, k)` that dense fits do not see, and what to call them.
    public
        Also fit to the published networks of these GPUs.
    note
        Said in the sources besides the files' names: origin, licence, versions.
    """

    measured: Sequence[tuple[Gpu, Path | None]]
    dtype: Dtype = "bf16"
    hold_out: frozenset[tuple[int, int]] = frozenset()
    hold_out_name: str = ""
    public: bool = False
    note: str = ""


def calibrate(given: Given, start: Parameters) -> Calibration:
    """Fit what the given measurements determine; the rest stays as in `start`.

    Raises
    ------
    ResultError
        When a file cannot be read, or nothing can be fitted.
    """
    parameters = start
    findings: list[Finding] = []
    notes: list[str] = []
    tables, own = _tables(given, notes)
    if tables:
        fit = fit_dense([(chip_of(g, given.dtype), t) for g, t in tables], given.hold_out)
        parameters = with_values(
            parameters,
            {**dense_values(fit.rates), "dense.source": _dense_source(given, tables, fit)},
        )
        findings += _dense_findings(given, fit)
        _note_bounds(fit.at_bounds, notes)
    gpus = [gpu for gpu, _ in given.measured]
    energy = None
    layers = [row for row in own if row.kind == "layer" and row.block is not None]
    if layers:
        parameters, more = _own_sparse(layers, parameters, gpus, notes)
        findings += more
    if any(row.energy_j is not None for row in own):
        energy = fit_energy(own, parameters, gpus)
        findings.append(Finding("energy, at measured latencies", "fitted", energy.fitted))
        if energy.held_out is not None:
            label = f"held out: {HELD_OUT_SPARSITY:.0%} sparsity"
            findings.append(Finding("energy, at measured latencies", label, energy.held_out))
    if given.public:
        parameters, more = _public(gpus, parameters, notes)
        findings += more
    if not findings:
        raise ResultError(
            "nothing was fitted: "
            + ("; ".join(notes) or "give a table (--table) or take the public rows (--public)")
        )
    return Calibration(parameters, tuple(findings), tuple(notes), energy)


def _tables(
    given: Given, notes: list[str]
) -> tuple[list[tuple[Gpu, GemmTable]], list[MeasuredRow]]:
    """Return dense tables, and all own rows."""
    tables: list[tuple[Gpu, GemmTable]] = []
    own: list[MeasuredRow] = []
    for gpu, path in given.measured:
        if path is None:
            continue
        if path.suffix != ".jsonl":
            tables.append((gpu, read_gemm_table(path, given.dtype)))
            continue
        rows = [row for row in read_measurements([path]) if row.dtype == given.dtype]
        foreign = {row.gpu for row in rows} - {gpu.name}
        if foreign:
            raise ResultError(
                f"{path} holds rows of {', '.join(sorted(foreign))}; give the matching --gpu"
            )
        own += rows
        dense = dense_table(rows, path.name)
        if len(dense) >= 3 * len(BOUNDS):
            tables.append((gpu, dense))
        else:
            notes.append(
                f"{path.name}: {len(dense)} dense layers are too few for the dense parameters, "
                "which stay"
            )
    return tables, own


def _dense_source(given: Given, tables: list[tuple[Gpu, GemmTable]], fit: DenseFit) -> str:
    files = " and ".join(table.source for _, table in tables)
    note = f" ({given.note})" if given.note else ""
    text = (
        f"fitted by lspsim gpu calibrate to {files}{note}: {given.dtype}, M >= {LEAST_TOKENS}, "
        f"N and K from {SIDES[0]} to {SIDES[1]}; mean error {fit.fitted.mean:.1%}"
    )
    if fit.held_out is not None:
        text += (
            f", on the weights of {given.hold_out_name}, held out, {fit.held_out.mean:.1%} "
            f"(p90 {fit.held_out.p90:.1%})"
        )
    return text


def _dense_findings(given: Given, fit: DenseFit) -> list[Finding]:
    found = [Finding("dense GEMM", "fitted", fit.fitted)]
    if fit.held_out is not None:
        found.append(Finding("dense GEMM", f"held out: {given.hold_out_name}", fit.held_out))
    return found


def _note_bounds(names: Sequence[str], notes: list[str]) -> None:
    if names:
        notes.append(f"ended at a bound, not determined by the rows: {', '.join(names)}")


def _own_sparse(
    rows: Sequence[MeasuredRow], parameters: Parameters, gpus: Sequence[Gpu], notes: list[str]
) -> tuple[Parameters, list[Finding]]:
    burst = [row for row in rows if row.regime == "burst"]
    if not burst:
        notes.append("no block-sparse layer was measured in bursts")
        return parameters, []
    fit = fit_sparse_layers(burst, parameters, gpus)
    _note_bounds(fit.at_bounds, notes)
    findings = [Finding("block-sparse layer", "fitted", fit.fitted)]
    if fit.held_out is not None:
        label = f"held out: {HELD_OUT_SPARSITY:.0%} sparsity"
        findings.append(Finding("block-sparse layer", label, fit.held_out))
    return fit.parameters, findings


def _public(
    gpus: Sequence[Gpu], parameters: Parameters, notes: list[str]
) -> tuple[Parameters, list[Finding]]:
    names = {gpu.name for gpu in gpus}
    rows = [row for row in network_rows() if row.gpu in names]
    findings: list[Finding] = []
    if {row.model for row in rows} >= set(FITTED_MODELS):
        fit = fit_networks(rows, parameters, gpus)
        _note_bounds(fit.at_bounds, notes)
        said = (
            "fitted by lspsim gpu calibrate --public to timm's results of "
            f"{' and '.join(FITTED_MODELS)} on {' and '.join(sorted(names))}, mean error "
            f"{fit.fitted.mean:.1%}"
        )
        if fit.held_out is not None:
            said += f"; on {HELD_OUT_MODEL}, held out, {fit.held_out.mean:.1%}"
        dense = f"compute_efficiency {said}; the rest: {parameters.dense.source}"
        parameters = with_values(fit.parameters, {"dense.source": dense, "vector.source": said})
        findings.append(Finding("networks", " and ".join(FITTED_MODELS), fit.fitted))
        if fit.held_out is not None:
            findings.append(Finding("networks", f"held out: {HELD_OUT_MODEL}", fit.held_out))
    else:
        notes.append("no public DeiT-T and DeiT-B on this GPU: elementwise work and attention stay")
    return _public_sparse(rows, parameters, gpus, findings, notes)


def _public_sparse(
    rows: Sequence[NetworkRow],
    parameters: Parameters,
    gpus: Sequence[Gpu],
    findings: list[Finding],
    notes: list[str],
) -> tuple[Parameters, list[Finding]]:
    pruned = [row for row in rows if row.pruned]
    if not pruned:
        notes.append("no public block-sparse network on this GPU: block-sparse efficiencies stay")
        return parameters, findings
    model = pruned[0].model
    fitted = [row for row in pruned if row.model == model]
    dense = next(
        row
        for row in rows
        if row.model == model and not row.pruned and row.framework == fitted[0].framework
    )
    fit = fit_sparse(fitted, dense, parameters, load_framework(fitted[0].framework), gpus)
    _note_bounds(fit.at_bounds, notes)
    said = (
        f"efficiency_64 fitted by lspsim gpu calibrate --public to the speedups of {model} under "
        f"{fitted[0].framework}, mean error leaving one out {fit.left_out.mean:.1%}; other sides "
        "in the proportions of SuperBlock's break-even sparsities, 128 as 64 (docs/gpu.md)"
    )
    findings.append(Finding("speedup of pruned networks", "leaving one out", fit.left_out))
    return with_values(fit.parameters, {"sparse.source": said}), findings

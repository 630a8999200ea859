"""`SimulationResult`: what a simulation found, per operator and in total."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from lspsim.arrays import FloatArray, IntArray
from lspsim.simulate.columns import BUCKETS, COUNTS

if TYPE_CHECKING:
    import pandas as pd

    from lspsim.hardware import Hardware
    from lspsim.workload import Workload

SCHEMA = "lspsim/result/v1"

PLAIN = (
    "name",
    "kind",
    "m",
    "k",
    "n",
    "batch",
    "density",
    "tiles_live",
    "tiles_total",
    "folds",
    "cycles_array",
    "cycles_total",
    "start_cycle",
    "macs_dense",
    "utilization",
    "bound_by",
    "fused_into",
)
"""Fields of `LayerResult` that `layer_frame` copies as they are."""


class LayerResult(NamedTuple):
    """One operator's share of a simulation.

    Attributes
    ----------
    name, kind, m, k, n, batch
        The operator, its shape, and its instances.
    density
        Kept fraction of the real weights; 1.0 where nothing can be pruned.
    tiles_live, tiles_total, folds
        Executed tiles, all tiles, and tile passes.
    cycles_array
        Array-only count, slowest core: docs/model.md "Array timing", everything ready.
    cycles_total, start_cycle
        Its time and its start.
    cycles
        Core-cycles by bucket; they sum to `cores * cycles_total`.
    energy_pj, counts
        Energy by component, and exact action counts.
    macs_dense, macs_executed
        Multiply-accumulates without masks, and those executed.
    dram_read_bytes, dram_write_bytes
        Off-chip traffic in whole bursts.
    utilization
        Executed MACs / (rows x cols x cores x cycles_total); 0 without cycles.
    bound_by
        The bucket that holds most core-cycles; "fused" for a fused operator.
    fused_into
        The GEMM that carries the cycles of a fused vector operator.
    """

    name: str
    kind: str
    m: int
    k: int
    n: int
    batch: int
    density: float
    tiles_live: int
    tiles_total: int
    folds: int
    cycles_array: int
    cycles_total: int
    start_cycle: int
    cycles: dict[str, int]
    energy_pj: dict[str, float]
    counts: dict[str, int]
    macs_dense: int
    macs_executed: int
    dram_read_bytes: int
    dram_write_bytes: int
    utilization: float
    bound_by: str
    fused_into: str | None

    def __repr__(self) -> str:
        return (
            f"LayerResult(name={self.name!r}, kind={self.kind!r}, "
            f"cycles_total={self.cycles_total}, bound_by={self.bound_by!r})"
        )


class LayerResults(list[LayerResult]):
    """A list that prints as one line: a large network has hundreds of operators."""

    def __repr__(self) -> str:
        ends = f": {self[0].name!r} to {self[-1].name!r}" if self else ""
        return f"<{len(self)} LayerResult{ends}>"


class Totals(NamedTuple):
    """Whole-network figures.

    Attributes
    ----------
    cycles_total, latency_s
        Time of one inference.
    energy_j, energy_low_j, energy_high_j
        Energy, and its band by the constants' bounds.
    power_w
        `energy_j / latency_s`: the average over the run.
    macs_dense, macs_executed
        Multiply-accumulates without masks, and those executed.
    utilization
        Executed MACs / (rows x cols x cores x cycles_total).
    dram_read_bytes, dram_write_bytes
        Off-chip traffic in whole bursts.
    area_mm2, area_low_mm2, area_high_mm2
        Of the chip without DRAM (`lspsim.simulate.area`), and its band.
    """

    cycles_total: int
    latency_s: float
    energy_j: float
    energy_low_j: float
    energy_high_j: float
    power_w: float
    macs_dense: int
    macs_executed: int
    utilization: float
    dram_read_bytes: int
    dram_write_bytes: int
    area_mm2: float
    area_low_mm2: float
    area_high_mm2: float


@dataclass(frozen=True, slots=True, eq=False)
class OpTable:
    """Per-operator arrays that an engine fills; row i = operator i of the workload."""

    cycles_total: IntArray
    """`[ops]`."""
    cycles_array: IntArray
    """`[ops]`, slowest core."""
    buckets: IntArray
    """`[ops, len(BUCKETS)]` core-cycles."""
    counts: IntArray
    """`[ops, len(COUNTS)]`."""
    tiles_live: IntArray
    tiles_total: IntArray
    folds: IntArray
    fused_into: IntArray
    """`[ops]`: index of the GEMM that serves the operator, or -1."""


@dataclass(frozen=True, eq=False)
class SimulationResult:
    """Result of `lspsim.simulate`.

    Attributes
    ----------
    workload, hardware, engine
        What was simulated, on what, by which engine.
    lower_bound
        True when the figures are a lower bound (`analytic` with real memory).
    table
        Per-operator arrays.
    totals
        Whole-network figures.
    make_energy
        Yields (component names, pJ `[ops, components]`); run on demand.
    """

    workload: Workload
    hardware: Hardware
    engine: str
    lower_bound: bool
    table: OpTable
    totals: Totals
    make_energy: Callable[[], tuple[tuple[str, ...], FloatArray]]

    def __repr__(self) -> str:
        bound = ", lower_bound=True" if self.lower_bound else ""
        return (
            f"SimulationResult(model={self.workload.model!r}, batch={self.workload.batch}, "
            f"hardware={self.hardware.name!r}, engine={self.engine!r}, "
            f"latency_s={self.totals.latency_s:.4g}, energy_j={self.totals.energy_j:.4g}, "
            f"operators={len(self.workload.ops)}{bound})"
        )

    @cached_property
    def energy(self) -> tuple[tuple[str, ...], FloatArray]:
        """Component names and energies in pJ, `[ops, components]`."""
        return self.make_energy()

    @cached_property
    def layers(self) -> LayerResults:
        """One `LayerResult` per operator, in execution order."""
        return layer_results(self)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Schema, versions, digests of configuration and workload, engine."""
        from lspsim import __version__
        from lspsim.simulate.provenance import workload_digest

        return {
            "schema": SCHEMA,
            "lspsim_version": __version__,
            "engine": self.engine,
            "hardware": self.hardware.name,
            "hardware_digest": self.hardware.digest,
            "workload_digest": workload_digest(self.workload),
            "seed": self.workload.seed,
        }

    def layer_frame(self) -> pd.DataFrame:
        """Return one row per operator; every column carries its unit in its name.

        Columns are the plain fields of `LayerResult`, then `core_cycles_<bucket>`,
        `energy_<component>_pj`, `energy_pj`, and one column per action count.
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for layer in self.layers:
            row: dict[str, Any] = {name: getattr(layer, name) for name in PLAIN}
            row |= {f"core_cycles_{name}": value for name, value in layer.cycles.items()}
            row |= {f"energy_{name}_pj": value for name, value in layer.energy_pj.items()}
            row["energy_pj"] = sum(layer.energy_pj.values())
            row |= layer.counts
            rows.append(row)
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `--format json` prints."""
        return {
            "schema": SCHEMA,
            "model": self.workload.model,
            "batch": self.workload.batch,
            "hardware": self.hardware.name,
            "engine": self.engine,
            "lower_bound": self.lower_bound,
            "totals": self.totals._asdict(),
            "layers": [layer._asdict() for layer in self.layers],
            "provenance": self.provenance,
        }


def layer_results(result: SimulationResult) -> LayerResults:
    """Build the `LayerResult` list from the arrays of `result`."""
    from lspsim.workload import Gemm

    table, workload = result.table, result.workload
    names, energy = result.energy
    cells = result.hardware.array.rows * result.hardware.array.cols * result.hardware.cores
    cycles = table.cycles_total.tolist()
    arrays = table.cycles_array.tolist()
    buckets = table.buckets.tolist()
    counts = table.counts.tolist()
    energies = energy.tolist()
    live, total, folds = table.tiles_live.tolist(), table.tiles_total.tolist(), table.folds.tolist()
    fused = table.fused_into.tolist()
    executed_at = COUNTS.index("macs_executed")
    read_at, write_at = COUNTS.index("dram_read_bytes"), COUNTS.index("dram_write_bytes")
    macs, densities = _shape_columns(workload)
    start = 0
    out = LayerResults()
    # positional: 161 operators of DeiT-B cost a third less than by keyword
    for i, op in enumerate(workload.ops):
        if isinstance(op, Gemm):
            kind, m, k, n, batch = "gemm", op.m, op.k, op.n, op.batch
        else:
            kind, m, k, n, batch = op.kind, op.rows, 0, op.cols, 1
        row, count, spent = buckets[i], counts[i], cycles[i]
        server = fused[i]
        executed = count[executed_at]
        idle = "fused" if server >= 0 else "none"
        out.append(
            LayerResult(
                op.name,
                kind,
                m,
                k,
                n,
                batch,
                densities[i],
                live[i],
                total[i],
                folds[i],
                arrays[i],
                spent,
                start,
                dict(zip(BUCKETS, row, strict=True)),
                dict(zip(names, energies[i], strict=True)),
                dict(zip(COUNTS, count, strict=True)),
                macs[i],
                executed,
                count[read_at],
                count[write_at],
                executed / (cells * spent) if spent else 0.0,
                BUCKETS[row.index(max(row))] if spent else idle,
                workload.ops[server].name if server >= 0 else None,
            )
        )
        start += spent
    return out


def _shape_columns(workload: Workload) -> tuple[list[int], list[float]]:
    """Dense MACs and densities of every operator, kept with the workload."""
    from lspsim.workload import Gemm

    cached = workload.cache.get("shape_columns")
    if isinstance(cached, tuple):
        return cached
    macs = [op.macs_dense if isinstance(op, Gemm) else 0 for op in workload.ops]
    densities = [
        op.mask.density if isinstance(op, Gemm) and op.mask is not None else 1.0
        for op in workload.ops
    ]
    workload.cache["shape_columns"] = (macs, densities)
    return macs, densities

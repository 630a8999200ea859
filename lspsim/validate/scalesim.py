"""The simulator against SCALE-Sim 3.0.0, GEMM by GEMM (docs/validation.md).

With `fold_overlap: none` and ideal memory the simulator executes folds as SCALE-Sim does,
and its `cycles_array` must be the closed form, `F P + 2`, where SCALE-Sim prints
`F P - 1` plus stalls.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

from lspsim.hardware import Hardware, load_hardware
from lspsim.simulate.columns import COUNTS
from lspsim.validate.closed_forms import ARRAY_OFFSET, REPORTED_OFFSET, Dataflow, scalesim_counts
from lspsim.validate.golden import GoldenRow, golden_rows
from lspsim.workload import Gemm, Workload

if TYPE_CHECKING:
    from lspsim.simulate.simulate import EngineName

DATAFLOWS: dict[Dataflow, str] = {
    "ws": "weight-stationary",
    "os": "output-stationary",
    "is": "input-stationary",
}

BUFFER = "64 MiB"

SCALESIM = "SCALE-Sim 3.0.0"


@dataclass(frozen=True, slots=True)
class ScaleSimRow:
    """One layer on one dataflow."""

    layer: str
    m: int
    n: int
    k: int
    dataflow: Dataflow
    folds: int
    cycles_per_fold: int
    scalesim_cycles: int
    """As SCALE-Sim printed it."""
    closed_form_cycles: int
    """As SCALE-Sim would print it, by the closed form."""
    lspsim_cycles: int
    """`cycles_array` of our run."""
    difference: int
    """lspsim - SCALE-Sim; 3 by convention."""
    scalesim_sram_reads: int
    """Words of both operands that SCALE-Sim reads."""
    lspsim_sram_reads: int
    scalesim_sram_writes: int
    """Words of partial sums that SCALE-Sim writes."""
    lspsim_sram_writes: int
    agrees: bool
    """Cycles and SRAM words are the same but for the conventions in the notes."""


@dataclass(frozen=True, slots=True)
class ScaleSimReport:
    """SCALE-Sim's figures, the closed forms, and ours."""

    entries: tuple[ScaleSimRow, ...]
    engine: str
    notes: tuple[str, ...]

    title = "SCALE-Sim 3.0.0, DeiT-B layers on 32x32, serial folds, ideal memory"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(field.name for field in fields(ScaleSimRow))

    @property
    def agrees(self) -> bool:
        """Whether every row does."""
        return all(entry.agrees for entry in self.entries)

    def rows(self) -> list[tuple[str | int | bool, ...]]:
        """Return the table, a tuple per row in the order of `columns`."""
        return [astuple(entry) for entry in self.entries]


def serial_hardware(rows: int, cols: int, dataflow: Dataflow, streamed: int) -> Hardware:
    """Return a chip that does what SCALE-Sim assumes.

    One dense core, folds one after the other, everything always ready. SCALE-Sim never
    splits a layer, so accumulators are deep enough for `streamed` rows at once, and
    buffers for any operand of the golden table.
    """
    return load_hardware("edge_32x32").with_values(
        {
            "array.rows": rows,
            "array.cols": cols,
            "array.dataflow": DATAFLOWS[dataflow],
            "array.fold_overlap": "none",
            "array.packing": "none",
            "array.sparsity": "none",
            "array.accumulator_rows": max(streamed, rows),
            "buffers.weight": BUFFER,
            "buffers.activation": BUFFER,
            "memory.ideal": True,
        }
    )


def validate_scalesim(engine: EngineName = "event") -> ScaleSimReport:
    """Run every row of the golden table and compare.

    Parameters
    ----------
    engine
        Engine to run.

    Returns
    -------
    ScaleSimReport
        `report.agrees` says whether all rows match.
    """
    entries = tuple(_compare(row, engine) for row in golden_rows())
    return ScaleSimReport(entries, engine, _notes(entries))


def _compare(row: GoldenRow, engine: EngineName) -> ScaleSimRow:
    from lspsim.simulate import simulate

    hardware = serial_hardware(row.rows, row.cols, row.dataflow, max(row.m, row.n))
    expected = scalesim_counts(row.m, row.n, row.k, row.rows, row.cols, row.dataflow)
    workload = Workload([Gemm(row.layer, m=row.m, n=row.n, k=row.k)])
    table = simulate(workload, hardware, engine).table
    counts = dict(zip(COUNTS, table.counts[0].tolist(), strict=True))
    cycles = int(table.cycles_array[0])
    reads = counts["activation_buffer_read_bytes"] + counts["weight_buffer_read_bytes"]
    writes = counts["accumulator_writes"]
    printed_reads = row.published_ifmap_reads + row.published_filter_reads
    return ScaleSimRow(
        layer=row.layer,
        m=row.m,
        n=row.n,
        k=row.k,
        dataflow=row.dataflow,
        folds=expected.folds,
        cycles_per_fold=expected.cycles_per_fold,
        scalesim_cycles=row.published_total_cycles,
        closed_form_cycles=expected.reported_cycles,
        lspsim_cycles=cycles,
        difference=cycles - row.published_total_cycles,
        scalesim_sram_reads=printed_reads,
        lspsim_sram_reads=reads,
        scalesim_sram_writes=row.published_ofmap_writes,
        lspsim_sram_writes=writes,
        agrees=(
            cycles == expected.cycles_array
            and row.published_total_cycles - row.published_stall_cycles == expected.reported_cycles
            and reads == printed_reads == expected.ifmap_reads + expected.filter_reads
            and writes + expected.surplus_writes
            == row.published_ofmap_writes
            == expected.ofmap_writes
        ),
    )


def _notes(entries: tuple[ScaleSimRow, ...]) -> tuple[str, ...]:
    agreeing = sum(entry.agrees for entry in entries)
    gap = ARRAY_OFFSET - REPORTED_OFFSET
    return (
        f"{agreeing} of {len(entries)} rows agree.",
        f"By convention lspsim is {gap} cycles above {SCALESIM}: F folds of P cycles end with "
        f"F P + {ARRAY_OFFSET} here (from the edge that samples the first operand to the last "
        f"accumulator write), where {SCALESIM} prints F P {REPORTED_OFFSET} (the index of the "
        "last cycle), plus stalls.",
        "SRAM words are the same, but that SCALE-Sim writes R + C words too many per fold on an "
        "output-stationary array.",
        "Serial folds are SCALE-Sim's assumption, not hardware's: double-buffered weights, the "
        "default here, hide them.",
    )

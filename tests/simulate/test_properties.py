"""What holds for every workload and chip (docs/model.md, "What holds")."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lspsim.errors import ScheduleError
from lspsim.hardware import Hardware
from lspsim.schedule.build import build_program
from lspsim.simulate.columns import BUCKETS, COUNTS
from lspsim.simulate.energy import NOMINAL, energy_constants
from lspsim.simulate.result import OpTable
from lspsim.simulate.simulate import simulate
from lspsim.workload import BlockMask, Gemm, VectorOp, Workload
from tests.simulate.workload_cases import random_hardware, random_mask, random_workload

Case = tuple[Workload, Hardware]

ONE_CORE_SEPARATE: dict[str, object] = {
    "cores": 1,
    "memory.ideal": False,
    "memory.channels": "separate",
    "memory.shares": {"weights": 0.5, "activations": 0.25, "writeback": 0.25},
}

draws = st.randoms(use_true_random=True)  # from hypothesis' seed, but evenly spread
often = settings(max_examples=150, deadline=None)


def draw(rng: random.Random, **fixed: object) -> Case:
    """Draw a case that can be scheduled."""
    while True:
        hardware = random_hardware(rng, **fixed)
        workload = random_workload(rng, hardware)
        try:
            simulate(workload, hardware, engine="analytic")
        except ScheduleError:
            continue
        return workload, hardware


def same(a: OpTable, b: OpTable) -> bool:
    names = ("cycles_total", "cycles_array", "buckets", "counts", "tiles_live", "folds")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


# ---- engines -----------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(rng=draws)
def test_analytic_is_exact_with_ideal_memory(rng: random.Random) -> None:
    workload, hardware = draw(rng, **{"memory.ideal": True})
    analytic = simulate(workload, hardware, engine="analytic")
    assert same(analytic.table, simulate(workload, hardware).table)
    assert not analytic.lower_bound


@pytest.mark.parametrize("cores", [2, 3, 4, 5])
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_ragged_columns_can_end_several_cores(cores: int, batch: int) -> None:
    """Each instance has a ragged last column; its shorter vector tail may fall on any core."""
    hardware = fixed_hardware(
        **{"cores": cores, "array.rows": 5, "array.cols": 3, "memory.ideal": True},
        **{"array.fold_overlap": "single-buffered"},
        **{"vector.lanes": 1, "vector.latency_cycles": 3, "vector.overlap": True},
    )
    gemm = Gemm("scores", m=11, k=13, n=8, batch=batch, rhs="activation")
    workload = Workload([gemm, VectorOp("relu", "relu", 11 * batch, 8)])
    analytic = simulate(workload, hardware, engine="analytic").table
    assert same(analytic, simulate(workload, hardware).table)


@often
@given(rng=draws)
def test_analytic_is_a_lower_bound_with_real_memory(rng: random.Random) -> None:
    workload, hardware = draw(rng, **{"memory.ideal": False})
    analytic = simulate(workload, hardware, engine="analytic")
    event = simulate(workload, hardware)
    assert analytic.totals.cycles_total <= event.totals.cycles_total
    assert analytic.lower_bound
    assert not event.lower_bound
    assert np.array_equal(analytic.table.cycles_array, event.table.cycles_array)
    assert np.array_equal(analytic.table.counts, event.table.counts)
    if not hardware.memory.prefetch_across_layers:  # else a layer may find its weights there
        assert (analytic.table.cycles_total <= event.table.cycles_total).all()


@settings(max_examples=40, deadline=None)
@given(rng=draws)
def test_simulate_reference_equals_event(rng: random.Random) -> None:
    workload, hardware = draw(rng)
    reference = simulate(workload, hardware, engine="reference")
    assert same(reference.table, simulate(workload, hardware).table)


# ---- sums and bounds ---------------------------------------------------------------------


@often
@given(rng=draws, engine=st.sampled_from(["event", "analytic"]))
def test_parts_sum_to_totals(rng: random.Random, engine: str) -> None:
    workload, hardware = draw(rng)
    result = simulate(workload, hardware, engine=engine)  # type: ignore[arg-type]
    table, totals, layers = result.table, result.totals, result.layers
    assert (table.buckets >= 0).all()
    assert np.array_equal(table.buckets.sum(axis=1), hardware.cores * table.cycles_total)
    assert totals.cycles_total == sum(layer.cycles_total for layer in layers)
    assert totals.macs_dense == workload.macs_dense
    assert totals.macs_executed == sum(layer.macs_executed for layer in layers)
    assert totals.dram_read_bytes == sum(layer.dram_read_bytes for layer in layers)
    assert totals.dram_write_bytes == sum(layer.dram_write_bytes for layer in layers)
    energy = sum(sum(layer.energy_pj.values()) for layer in layers)
    assert totals.energy_j == pytest.approx(energy * 1e-12, rel=1e-9)
    assert totals.energy_low_j <= totals.energy_j <= totals.energy_high_j
    assert all(list(layer.cycles) == list(BUCKETS) for layer in layers)
    starts = np.cumsum([0, *table.cycles_total[:-1]]).tolist()
    assert [layer.start_cycle for layer in layers] == starts


@often
@given(rng=draws)
def test_no_faster_than_its_arithmetic_and_its_channel(rng: random.Random) -> None:
    """The roofline: executed MACs, and moved bytes at the full bandwidth."""
    workload, hardware = draw(rng)
    result = simulate(workload, hardware)
    totals, dram = result.totals, hardware.memory.dram
    assert 0 <= totals.utilization <= 1
    assert all(0 <= layer.utilization <= 1 for layer in result.layers)
    assert totals.cycles_total * hardware.macs_per_cycle >= totals.macs_executed
    if not hardware.memory.ideal:
        moved = totals.dram_read_bytes + totals.dram_write_bytes
        per_cycle = Fraction(dram.bandwidth_bytes_per_s) * dram.efficiency / hardware.clock_hz
        assert totals.cycles_total * per_cycle >= moved


# ---- masks -------------------------------------------------------------------------------


@often
@given(rng=draws)
def test_a_full_mask_is_no_mask(rng: random.Random) -> None:
    prunable = rng.choice(["weight-stationary", "output-stationary"])
    overlap = rng.choice(["none", "double-buffered"])
    fixed = {"array.dataflow": prunable, "array.fold_overlap": overlap, "buffers.weight": "4 KiB"}
    fixed["array.accumulator_rows"] = 8
    workload, hardware = draw(rng, **fixed)
    weights = {op.name: op for op in workload.gemms if op.rhs == "weight"}
    full: dict[str, BlockMask | None] = {}
    for name, op in weights.items():
        out, inner = rng.randint(1, 9), rng.randint(1, 9)
        shape = (-(-op.n // out), -(-op.k // inner))
        full[name] = BlockMask(np.ones(shape, np.bool_), out, inner, (op.n, op.k))
    masked = simulate(workload.with_masks(full), hardware)
    bare = simulate(workload.with_masks(dict.fromkeys(weights)), hardware)
    assert same(masked.table, bare.table)
    assert masked.totals == bare.totals


@dataclass(frozen=True)
class Removal:
    """A workload, and the same with one block of one GEMM less."""

    more: Workload
    less: Workload
    hardware: Hardware
    op: Gemm
    """The GEMM as it is in `more`."""
    mask: BlockMask
    """Its mask there."""
    keep: NDArray[np.bool_]
    """What `less` keeps of it."""

    def changes_the_index_unit(self) -> bool:
        """A full mask is indexed by tiles, a pruned one by sub-blocks where they are gathered."""
        array = self.hardware.array
        gathers = array.packing == "k-compact" or array.dataflow == "output-stationary"
        return gathers and bool(self.mask.keep.all())

    def empties_a_column(self) -> bool:
        """An empty column's header goes through the write-back channel."""
        before = empty_columns(self.mask.keep, self.mask, self.hardware)
        return empty_columns(self.keep, self.mask, self.hardware) > before

    def delays_a_gathered_row(self) -> bool:
        """A gathered tile of a streamed X may get a row that arrives with a later piece."""
        array = self.hardware.array
        if array.packing == "none" or array.dataflow != "weight-stationary":
            return False
        return is_streamed(self.op, self.more, self.hardware)

    def is_orderly(self) -> bool:
        """Whether nothing gets larger or later by the removal."""
        return not (
            self.changes_the_index_unit() or self.empties_a_column() or self.delays_a_gathered_row()
        )


def draw_removal(rng: random.Random, accept: Callable[[Removal], bool], **fixed: object) -> Removal:
    while True:
        workload, hardware = draw(rng, **fixed)
        masked = [op for op in workload.gemms if op.mask is not None and op.mask.keep.any()]
        if not masked:
            continue
        op = rng.choice(masked)
        mask = op.mask
        assert mask is not None
        keep = mask.keep.copy()
        rows, columns = np.nonzero(keep)
        at = rng.randrange(rows.size)
        keep[rows[at], columns[at]] = False
        pruned = BlockMask(keep, mask.block_out, mask.block_in, mask.shape)
        removal = Removal(
            workload, workload.with_masks({op.name: pruned}), hardware, op, mask, keep
        )
        if accept(removal):
            return removal


def any_removal(_: Removal) -> bool:
    return True


def is_streamed(op: Gemm, workload: Workload, hardware: Hardware) -> bool:
    program = build_program(workload, hardware)
    segment = program.segment_op.tolist().index(workload.ops.index(op))
    return bool((program.act_segment == segment).any())


def empty_columns(keep: NDArray[np.bool_], mask: BlockMask, hardware: Hardware) -> int:
    n, cols = mask.shape[0], hardware.array.cols
    ends = [min(at + cols, n) - 1 for at in range(0, n, cols)]
    spans = [(at * cols // mask.block_out, end // mask.block_out) for at, end in enumerate(ends)]
    return sum(not keep[first : last + 1].any() for first, last in spans)


def dynamic_energy(workload: Workload, hardware: Hardware) -> float:
    counts = simulate(workload, hardware, engine="analytic").table.counts
    return float(counts.sum(axis=0) @ energy_constants(hardware).per_count_pj[NOMINAL])


ANY_SPARSE = st.sampled_from(
    [
        {"array.dataflow": flow, "array.fold_overlap": overlap, "array.accumulator_rows": 8}
        for flow in ("weight-stationary", "output-stationary")
        for overlap in ("none", "double-buffered")
    ]
)


@often
@given(rng=draws, fixed=ANY_SPARSE)
def test_removing_a_block_never_adds_work(rng: random.Random, fixed: dict[str, object]) -> None:
    case = draw_removal(rng, any_removal, **fixed)
    a, b = (simulate(w, case.hardware, engine="analytic").table for w in (case.more, case.less))
    for name in ("macs_executed", "macs_effectual", "weight_register_shifts"):
        column = COUNTS.index(name)
        assert (b.counts[:, column] <= a.counts[:, column]).all()
    assert (b.folds <= a.folds).all()


@often
@given(rng=draws, fixed=ANY_SPARSE)
def test_removing_a_block_never_adds_dynamic_energy(
    rng: random.Random, fixed: dict[str, object]
) -> None:
    case = draw_removal(
        rng,
        lambda removal: not removal.changes_the_index_unit(),
        **fixed,
        **{"array.assignment": "round-robin"},
    )
    before, after = (dynamic_energy(w, case.hardware) for w in (case.more, case.less))
    assert after <= before * (1 + 1e-12)


@settings(max_examples=300, deadline=None)
@given(rng=draws, fixed=ANY_SPARSE)
def test_removing_a_block_never_adds_cycles(rng: random.Random, fixed: dict[str, object]) -> None:
    case = draw_removal(rng, Removal.is_orderly, **fixed, **ONE_CORE_SEPARATE)
    assert total(case.less, case.hardware) <= total(case.more, case.hardware)


@often
@given(rng=draws, fixed=ANY_SPARSE)
def test_removing_a_block_never_adds_array_cycles(
    rng: random.Random, fixed: dict[str, object]
) -> None:
    case = draw_removal(rng, any_removal, **fixed, **{"cores": 1})
    a, b = (simulate(w, case.hardware, engine="analytic").table for w in (case.more, case.less))
    assert (b.cycles_array <= a.cycles_array).all()


def total(workload: Workload, hardware: Hardware) -> int:
    return simulate(workload, hardware).totals.cycles_total


def fixed_hardware(**fixed: object) -> Hardware:
    values: dict[str, object] = {
        **ONE_CORE_SEPARATE,
        "array.rows": 8,
        "array.cols": 8,
        "array.dataflow": "weight-stationary",
        "array.fold_overlap": "double-buffered",
        "array.accumulator_rows": 64,
        "array.packing": "none",
        "array.sparsity": "block",
        "array.index": "bitmap",
        "buffers.weight": "1 KiB",
        "buffers.activation": "4 KiB",
        "memory.dram.bandwidth": "3 GB/s",
        "memory.dram.efficiency": 1.0,
        "memory.dram.latency": "0 ns",
        "memory.dram.burst": "8 B",
        **fixed,
    }
    return random_hardware(random.Random(0), **values)


def test_emptying_a_column_can_add_cycles() -> None:
    """Why the property above excludes it: the header moves to a slower channel."""
    shares = {"weights": 0.45, "activations": 0.45, "writeback": 0.1}
    hardware = fixed_hardware(**{"memory.shares": shares, "memory.dram.burst": "64 B"})
    keep = np.array([[True], [False]])
    one = Workload([Gemm("g", m=1, k=8, n=16, mask=BlockMask(keep, 8, 8))])
    none = one.with_masks({"g": BlockMask(np.zeros_like(keep), 8, 8)})
    assert total(none, hardware) > total(one, hardware)


def test_the_first_removal_can_add_index_bytes() -> None:
    """Why the properties above exclude it: gathered sub-blocks need a finer index than tiles."""
    hardware = fixed_hardware(**{"array.packing": "k-compact", "array.index": "bsr"})
    keep = np.ones((2, 16), np.bool_)
    full = Workload([Gemm("g", m=1, k=16, n=16, mask=BlockMask(keep, 8, 1))])
    keep = keep.copy()
    keep[0, 0] = False
    less = full.with_masks({"g": BlockMask(keep, 8, 1)})
    column = COUNTS.index("index_bytes")
    more_index, less_index = (
        int(simulate(w, hardware).table.counts[0, column]) for w in (full, less)
    )
    assert more_index == 2 * (4 + 2 * 2)
    assert less_index == 2 * 4 + 2 * (15 + 16)
    assert dynamic_energy(less, hardware) > dynamic_energy(full, hardware)


# ---- hardware ----------------------------------------------------------------------------


def faster(hardware: Hardware) -> Hardware:
    rate = hardware.memory.dram.bandwidth_bytes_per_s
    return hardware.with_values({"memory.dram.bandwidth": f"{rate * 3} B/s"})


def nearer(hardware: Hardware) -> Hardware:
    half = hardware.memory.dram.latency_s * 10**9 // 2
    return hardware.with_values({"memory.dram.latency": f"{half} ns"})


def deeper(hardware: Hardware) -> Hardware:
    tile = hardware.array.rows * hardware.array.cols
    size = hardware.buffers.weight_bytes
    return hardware.with_values({"buffers.weight": f"{size + 2 * tile} B"})


@pytest.mark.parametrize("better", [faster, nearer, deeper])
@often
@given(rng=draws)
def test_better_memory_never_lengthens(
    better: Callable[[Hardware], Hardware], rng: random.Random
) -> None:
    """One core, separate channels; a deeper FIFO only where a column is one chunk (q = 1)."""
    fixed = dict(ONE_CORE_SEPARATE)
    if better is deeper:
        fixed |= {"array.dataflow": "weight-stationary", "array.accumulator_rows": 256}
        fixed |= {"buffers.activation": "60000 B"}
    workload, hardware = draw(rng, **fixed)
    assert total(workload, better(hardware)) <= total(workload, hardware)


@often
@given(rng=draws)
def test_whole_columns_can_be_permuted(rng: random.Random) -> None:
    """Ideal memory, one core, no ragged edge, equal chunks: the order of tile columns is free."""
    side = rng.randint(1, 6)
    fixed: dict[str, object] = {
        "cores": 1,
        "array.rows": side,
        "array.cols": rng.randint(1, 6),
        "array.dataflow": "weight-stationary",
        "array.sparsity": "block",
        "array.accumulator_rows": 16,
        "buffers.weight": "1 KiB",
        "buffers.activation": "60000 B",
        "memory.ideal": True,
    }
    hardware = random_hardware(rng, **fixed)
    cols, blocks = hardware.array.cols, rng.randint(1, 6)
    n, k = cols * blocks, side * rng.randint(1, 5)
    mask = random_mask(rng, n, k, cols, side)
    order = rng.sample(range(blocks), blocks)
    permuted = BlockMask(mask.keep[order], cols, side, (n, k))
    m = rng.choice([7, 16, 32])
    a, b = (Workload([Gemm("g", m, k, n, mask=each)]) for each in (mask, permuted))
    assert total(a, hardware) == total(b, hardware)

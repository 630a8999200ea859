"""`CostModel`: what a pruned network costs, and what each of its blocks costs.

Pruning and exploration see hardware through this protocol only, so that a GPU
model, or a user's own, can take the simulator's place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

from lspsim.arrays import FloatArray, IntArray
from lspsim.errors import WorkloadError
from lspsim.kernels import layout as at
from lspsim.kernels.assign import assign_units
from lspsim.kernels.transfers import gather_cycles
from lspsim.schedule.lower import OpTables, chip_of, lower_workload
from lspsim.simulate.columns import BUCKETS, COUNTS
from lspsim.simulate.energy import NOMINAL, energy_constants
from lspsim.simulate.result import OpTable
from lspsim.simulate.simulate import EngineName, simulate
from lspsim.workload import BlockMask, Gemm, Workload

if TYPE_CHECKING:
    from lspsim.hardware import Hardware


_EFFECTUAL = COUNTS.index("macs_effectual")
_MEMORY_STALLS = [
    BUCKETS.index(name) for name in ("stall_weights", "stall_activations", "stall_writeback")
]
_PROBED = 16
"""A probe removes one live tile in this many of each tile column: few enough to stay in
the present regime, enough to see past the slack of a few tiles between two bounds."""

_MEMORY_BOUND = 0.05
"""Stalled part of a layer's core-cycles from which it counts as waiting for memory; below
lie the first tile's way and single late transfers, which hit compute-bound layers too."""


class Cost(NamedTuple):
    """What one inference costs."""

    cycles: float
    energy_pj: float
    latency_s: float
    macs: float
    """Multiply-accumulates with kept weights, attention's included ("FLOPs left")."""


class Marginal(NamedTuple):
    """What the kept blocks of one layer cost; 0 where a block is already removed."""

    cycles: FloatArray
    """`[block rows, block columns]`."""
    energy_pj: FloatArray
    """`[block rows, block columns]`, static energy of the saved cycles included."""


@runtime_checkable
class CostModel(Protocol):
    """What pruning needs to know of hardware."""

    def cost(self, workload: Workload) -> Cost:
        """Return the cost of one inference with the workload's masks."""
        ...

    def marginal(self, workload: Workload) -> dict[str, Marginal]:
        """Return what each kept block costs, for every layer that carries a mask.

        Give a layer a full mask to learn the costs of its dense blocks.
        """
        ...


class SimulatorCost:
    """The simulator as a cost model.

    Parameters
    ----------
    hardware
        The accelerator.
    engine
        `analytic`: the loop's engine, a lower bound on cycles unless memory is
        ideal; `event`: exact.
    """

    def __init__(self, hardware: Hardware, engine: EngineName = "analytic") -> None:
        self.hardware = hardware
        self.engine: EngineName = engine

    def cost(self, workload: Workload) -> Cost:
        """Return the cost of one inference.

        Raises
        ------
        ScheduleError
            When the hardware cannot run the workload.
        """
        return self._simulated(workload)[0]

    def cost_with(self, workload: Workload, name: str, mask: BlockMask) -> Cost:
        """Return `cost(workload.with_masks({name: mask}))`, in a third of the time.

        Only the changed operator is lowered anew; the rest of the tables is shared.
        """
        return self.cost(_changed(workload, name, mask))

    def marginal(self, workload: Workload) -> dict[str, Marginal]:
        """Return what each kept block costs.

        A tile costs what its counts cost (MACs, register moves, buffer accesses,
        its transfer), plus cycles. These are measured: a probe removes a sixteenth
        of the layer's live tiles, and the cycles the whole network saves are shared
        out. Where the layer waits for memory every tile gets the same share (none,
        if another channel is the one it waits for: such a block saves energy but no
        cycle); elsewhere only tiles of the slowest cores count. A tile's cost is
        split over the kept blocks it meets, by area, so that the layer's blocks add
        up to the layer. Not included, because they do not hang on one tile: headers,
        activation transfers and results.

        Raises
        ------
        ScheduleError
            When the hardware cannot run the workload.
        """
        cost, table = self._simulated(workload)
        constants = energy_constants(self.hardware)
        per_count = constants.per_count_pj[NOMINAL]
        static_pj = float(constants.static_pj_per_cycle[NOMINAL].sum())
        out: dict[str, Marginal] = {}
        for i, op in enumerate(workload.ops):
            if not isinstance(op, Gemm) or op.mask is None:
                continue
            units = _Units(op, op.mask, self.hardware)
            cycles = np.zeros(units.live.shape)
            energy = np.zeros(units.live.shape)
            if units.skipped and units.live.any():
                credit = units.credit(slowest_only=not self._waits(op, table, i))
                probe = units.probe()
                after = _Units(op, probe, self.hardware).live
                given = float(credit[units.live & ~after].sum())
                if given > 0:
                    saved = cost.cycles - self.cost_with(workload, op.name, probe).cycles
                    cycles = credit * (max(saved, 0) / given)
                energy = units.dynamic_pj(table.counts[i], per_count) + static_pj * cycles
            own = op.m * per_count[_EFFECTUAL] * units.block_areas
            out[op.name] = Marginal(
                units.per_block(cycles), units.per_block(energy) + own * op.mask.keep
            )
        return out

    def _waits(self, op: Gemm, table: OpTable, i: int) -> bool:
        """Whether the layer's pace is set by memory rather than by its slowest core.

        The all-gather of its result, which is booked as a write-back stall, is no wait.
        """
        cores = self.hardware.cores
        bits = op.activation_bits or self.hardware.precision.activation_bits
        gather = gather_cycles(-(-op.m * op.n * bits // 8), chip_of(self.hardware))
        stalls = int(table.buckets[i, _MEMORY_STALLS].sum()) - (cores * gather if cores > 1 else 0)
        return stalls > _MEMORY_BOUND * cores * int(table.cycles_total[i])

    def _simulated(self, workload: Workload) -> tuple[Cost, OpTable]:
        result = simulate(workload, self.hardware, self.engine)
        totals, table = result.totals, result.table
        macs = int(table.counts[:, _EFFECTUAL].sum())
        return (
            Cost(totals.cycles_total, totals.energy_j * 1e12, totals.latency_s, macs),
            table,
        )


class ProportionalCost:
    """The proxy of LPViT: every cost falls with the count of kept blocks.

    LPViT's power term counts kept blocks times input rows per array row
    (Xu et al., ECCV 2024, arXiv 2407.02068): up to a factor, the MACs of the kept
    weights. It knows nothing of memory, cores or tiles; the simulator is measured
    against it.

    Parameters
    ----------
    dense
        Cost of the dense network, which the proxy scales.
    """

    def __init__(self, dense: Cost) -> None:
        self.dense = dense

    def cost(self, workload: Workload) -> Cost:
        """Return the dense cost times the fraction of MACs that are kept."""
        return self._of(workload.macs_kept, workload)

    def cost_with(self, workload: Workload, name: str, mask: BlockMask) -> Cost:
        """Return `cost(workload.with_masks({name: mask}))` without making that workload."""
        gemm = next(gemm for gemm in workload.gemms if gemm.name == name)
        change = gemm.m * mask.kept_weights - gemm.macs_kept
        return self._of(workload.macs_kept + change, workload)

    def _of(self, kept: int, workload: Workload) -> Cost:
        fraction = kept / workload.macs_dense
        cycles, energy, latency, _ = (fraction * value for value in self.dense)
        return Cost(cycles, energy, latency, kept)

    def marginal(self, workload: Workload) -> dict[str, Marginal]:
        """Return each kept block's share by its MACs."""
        out = {}
        for gemm in workload.gemms:
            if gemm.mask is not None:
                share = gemm.m * _areas(gemm.mask) * gemm.mask.keep / workload.macs_dense
                out[gemm.name] = Marginal(share * self.dense.cycles, share * self.dense.energy_pj)
        return out


def cost_variants(
    model: CostModel, workload: Workload, name: str, masks: Mapping[int, BlockMask]
) -> dict[int, Cost]:
    """Return the costs of `workload` with each of `masks` in turn on layer `name`."""
    if isinstance(model, SimulatorCost | ProportionalCost):
        return {key: model.cost_with(workload, name, mask) for key, mask in masks.items()}
    return {key: model.cost(workload.with_masks({name: mask})) for key, mask in masks.items()}


def _areas(mask: BlockMask) -> FloatArray:
    """Real weights of every block, `[block rows, block columns]`."""
    rows = _overlaps(mask.shape[0], mask.block_out, mask.shape[0])
    cols = _overlaps(mask.shape[1], mask.block_in, mask.shape[1])
    return np.asarray(rows @ cols.T, dtype=np.float64)


def _overlaps(length: int, first: int, second: int) -> FloatArray:
    """Overlap of pieces of size `first` with pieces of size `second` of a line.

    Returns
    -------
    ndarray
        `[ceil(length / first), ceil(length / second)]`, in elements.
    """
    a = np.arange(0, length, first)[:, None]
    b = np.arange(0, length, second)[None, :]
    end = np.minimum(np.minimum(a + first, b + second), length)
    overlap: IntArray = np.maximum(end - np.maximum(a, b), 0)
    return overlap.astype(np.float64)


class _Units:
    """The tiles of a masked weight (where sub-blocks are gathered: those), and who pays them.

    Arrays are `[tile columns, units along K]`.
    """

    def __init__(self, op: Gemm, mask: BlockMask, hardware: Hardware) -> None:
        array = hardware.array
        self.hardware, self.op, self.mask = hardware, op, mask
        self.output_stationary = array.dataflow == "output-stationary"
        self.gathered = self.output_stationary or array.packing == "k-compact"
        self.skipped = array.sparsity == "block" and array.dataflow != "input-stationary"
        height = mask.block_in if self.gathered else array.rows
        self.over_n = _overlaps(op.n, mask.block_out, array.cols)
        self.over_k = _overlaps(op.k, mask.block_in, height)
        self.area = self.over_n.T @ mask.keep @ self.over_k
        """Kept weights in each unit."""
        self.live = self.area > 0
        self.height = np.broadcast_to(self.over_k.sum(axis=0), self.live.shape) * self.live
        self.width = self.over_n.sum(axis=0)[:, None] * self.live

    @property
    def block_areas(self) -> FloatArray:
        """Real weights of every block, `[block rows, block columns]`."""
        return _areas(self.mask)

    @property
    def tiles(self) -> FloatArray:
        """Tiles of a unit: 1, or its part of a gathered column's."""
        if not self.gathered:
            return self.live.astype(np.float64)
        column = self.height.sum(axis=1, keepdims=True)
        folds = np.ceil(column / self.hardware.array.rows)
        return np.asarray(self.height * folds / np.maximum(column, 1))

    def credit(self, slowest_only: bool) -> FloatArray:
        """Share of each unit in the layer's cycles, up to a factor."""
        load = self.height if self.output_stationary else self.tiles
        if not slowest_only or self.hardware.cores == 1:
            return load
        columns = load.sum(axis=1)
        core_of = np.zeros(columns.size, np.int64)
        folds = self.live.any(axis=1) if self.output_stationary else np.rint(columns)
        chip = chip_of(self.hardware)
        cores = self.hardware.cores
        assign_units(folds.astype(np.int64), 1, cores, int(chip[at.ASSIGNMENT]), core_of)
        busy = np.bincount(core_of, weights=columns, minlength=cores)
        slowest = busy >= busy.max() * (1 - 1e-12)
        return np.asarray(load * slowest[core_of][:, None] / slowest.sum())

    def probe(self) -> BlockMask:
        """Return the mask without a sixteenth of each column's live units, at least one each."""
        gone = np.zeros_like(self.live)
        for j, row in enumerate(self.live):
            present = np.flatnonzero(row)
            step = max(1, min(_PROBED, present.size))
            gone[j, present[j % step :: step]] = True  # staggered: no row of K loses all
        hit = (self.over_n > 0).astype(np.float64) @ gone @ (self.over_k > 0).T.astype(np.float64)
        return BlockMask(
            self.mask.keep & (hit == 0), self.mask.block_out, self.mask.block_in, self.mask.shape
        )

    def dynamic_pj(self, counts: IntArray, per_count: FloatArray) -> FloatArray:
        """Dynamic energy of every unit: the layer's counts, shared out by what drives them.

        The drivers are those of docs/model.md, "Counts": MACs go with height x
        width, shifts and transfers with tiles, hops with height, sums with width.
        """
        h, w, t = self.height, self.width, self.tiles
        moved_sums = h * w if self.output_stationary else w * t
        column = t.sum(axis=1, keepdims=True)
        again = np.maximum(1 - 1 / np.maximum(column, 1), 0)  # a column's first fold reads nothing
        drivers: dict[str, FloatArray] = {
            "macs_executed": h * w,
            "weight_register_shifts": h * w if self.output_stationary else t,
            "activation_hops": h,
            "partial_sum_hops": moved_sums,
            "activation_buffer_read_bytes": h,
            "weight_buffer_read_bytes": h * w,
            "weight_buffer_write_bytes": t,
            "accumulator_reads": w * t * again,
            "accumulator_writes": w * t,
            "gather_mux_words": h,
        }
        out = np.zeros(self.live.shape)
        for name, driver in drivers.items():
            i = COUNTS.index(name)
            total = driver.sum()
            if total > 0:
                out += driver * (counts[i] * per_count[i] / total)
        array, burst = self.hardware.array, self.hardware.memory.dram.burst_bytes
        bits = self.op.weight_bits or self.hardware.precision.weight_bits
        tile_bytes = -(-array.rows * array.cols * bits // 8)
        fetched = counts[COUNTS.index("weight_buffer_write_bytes")] / tile_bytes
        read = fetched * (-(-tile_bytes // burst) * burst)
        out += t * (read * per_count[COUNTS.index("dram_read_bytes")] / t.sum())
        return out

    def per_block(self, unit: FloatArray) -> FloatArray:
        """Split every unit's value over the kept blocks it meets, by area."""
        density = np.divide(unit, self.area, out=np.zeros_like(unit), where=self.live)
        return np.asarray((self.over_n @ density @ self.over_k.T) * self.mask.keep)


def _changed(workload: Workload, name: str, mask: BlockMask) -> Workload:
    """Return `workload.with_masks({name: mask})` with its tables patched, not rebuilt."""
    changed = workload.with_masks({name: mask})
    tables = lower_workload(workload)
    i = next(i for i, op in enumerate(workload.ops) if op.name == name)
    old = workload.ops[i]
    if not isinstance(old, Gemm):
        raise WorkloadError(f"{name!r} is no weight GEMM; only those have masks")
    same_blocks = old.mask is not None and (old.mask.block_out, old.mask.block_in) == (
        mask.block_out,
        mask.block_in,
    )
    if not same_blocks or not tables.ops[i, at.MASKED] or mask.keep.all():
        return changed  # another shape: its tables differ in more than the blocks
    ops = tables.ops.copy()
    ops[i, at.WORD_START] = tables.words.size
    ops[i, at.KEPT] = mask.kept_weights
    words = np.concatenate([tables.words, mask.words.ravel()])
    changed.cache["op_tables"] = OpTables(ops, words, tables.macs_dense, tables.shape_digest)
    return changed


__all__ = [
    "Cost",
    "CostModel",
    "Marginal",
    "ProportionalCost",
    "SimulatorCost",
    "cost_variants",
]

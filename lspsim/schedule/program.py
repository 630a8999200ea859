"""`Program`: what a schedule hands to an engine, as a struct of arrays.

The words (segment, visit, fold, transfer, header, hold) and the timing rules
are defined in docs/model.md, section "Programs". Arrays are int64, read-only.
"""

from __future__ import annotations

from dataclasses import dataclass

from lspsim.arrays import IntArray

WEIGHTS, ACTIVATIONS, WRITEBACK = 0, 1, 2
"""Request classes, in the order that breaks ties."""

DOUBLE, SINGLE, SERIAL = 0, 1, 2
"""Fold overlap."""


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A whole workload, scheduled on P cores.

    Visits of core p are rows `visit_start[p]:visit_start[p + 1]`, in execution
    order; transfers likewise by `act_start`. "Visit index" and "transfer index"
    below count from the start of the core's own rows.
    """

    # the chip
    cores: int
    rows: int
    cols: int
    output_stationary: bool
    overlap: int
    """DOUBLE, SINGLE or SERIAL."""
    ideal: bool
    """Everything always ready: no transfer, no drain, no bank is waited for."""
    shared_channel: bool
    """One server for all classes; otherwise one server per class."""
    prefetch: bool
    """Weights of later segments may be requested before their segment starts."""
    fifo_slots: int
    latency_cycles: int
    read_behind_cycles: int
    """From the end of a stream to the last read of its rows: R - 1 where a core gathers."""

    # one row per segment (a GEMM with the vector operators fused to it, or a vector operator)
    segment_op: IntArray
    """Workload index of the segment's first operator."""
    segment_tile_cycles: IntArray
    """Channel cycles of one stationary-tile transfer; 0 = tiles come from SRAM."""
    segment_prefetchable: IntArray
    """1: tiles are stored weights and may be requested before the segment starts."""
    segment_gather_cycles: IntArray
    """All-gather after the last write-back of the segment."""

    # one row per visit
    visit_start: IntArray
    """`[cores + 1]`."""
    visit_segment: IntArray
    visit_folds: IntArray
    visit_length: IntArray
    """Rows (WS, IS) or reduction length (OS) that each fold streams."""
    visit_acquire: IntArray
    """Tile transfers that this visit requests (0 = held from an earlier visit, or SRAM)."""
    visit_held: IntArray
    """Tiles that the visit uses: transfers `[base, base + held)`, base = the column's first.
    0 = tiles come from SRAM."""
    visit_release: IntArray
    """1: the visit's tiles leave the FIFO as they are used; 0: they stay for the next visit."""
    visit_header_cycles: IntArray
    """Index and bias: added to the visit's first tile transfer, else to its write-back."""
    visit_vector_cycles: IntArray
    """Vector-unit cycles between the visit's completion and its write-back; 0 = none."""
    visit_is_vector: IntArray
    """1: a visit of a vector operator (no folds)."""
    visit_writeback_cycles: IntArray
    """Channel cycles of the write-back; 0 = the result stays on chip."""
    visit_drain_cycles: IntArray
    """Cycles that the result's rows, one per cycle, take beyond `visit_writeback_cycles`."""
    visit_fold_start: IntArray
    """Offset into `fold_needs`, or -1 where the visit waits for no activation transfer."""

    # one row per fold (or per vector visit) that waits for a streamed activation
    fold_needs: IntArray
    """Index of the last activation transfer that must have arrived."""

    # one row per activation transfer
    act_start: IntArray
    """`[cores + 1]`."""
    act_segment: IntArray
    act_cycles: IntArray
    act_after_visit: IntArray
    """Visit whose consumption frees the buffer half for this transfer; -1 = none."""


@dataclass(frozen=True, slots=True, eq=False)
class Timing:
    """What an engine returns: int64 arrays over segments and cores."""

    end: IntArray
    """`[segments]`: cycle at which each segment, gather included, is over."""
    core_end: IntArray
    """`[segments, cores]`: when each core was done, gather excluded; segment start if idle."""
    array_cycles: IntArray
    """`[segments, cores]`: `cycles_array` of the core's own folds, everything ready."""
    compute: IntArray
    """`[segments, cores]`: sum of streamed lengths."""
    stall_weights: IntArray
    stall_activations: IntArray
    stall_writeback: IntArray
    """`[segments, cores]`, tail after the array's end included, gather excluded."""
    index: IntArray
    vector: IntArray
    """`[segments, cores]`: vector visits, and the vector tail after the array's end."""

"""Names and order of the per-operator columns that every engine fills."""

from __future__ import annotations

BUCKETS: tuple[str, ...] = (
    "compute",
    "fill_drain",
    "stall_weights",
    "stall_activations",
    "stall_writeback",
    "index",
    "vector",
    "imbalance",
)
"""Exclusive attribution of core-cycles; their sum is `cores * cycles_total`."""

COUNTS: tuple[str, ...] = (
    "macs_executed",
    "macs_effectual",
    "weight_register_shifts",
    "activation_hops",
    "partial_sum_hops",
    "activation_buffer_read_bytes",
    "activation_buffer_write_bytes",
    "weight_buffer_read_bytes",
    "weight_buffer_write_bytes",
    "accumulator_reads",
    "accumulator_writes",
    "gather_mux_words",
    "vector_lane_ops",
    "index_bytes",
    "dram_read_bytes",
    "dram_write_bytes",
    "noc_bytes",
)
"""Exact action counts per operator, summed over cores (docs/model.md, "Counts").

`macs_effectual` are the multiplies left when zero weights gate the multiplier:
rows streamed x kept weights. `*_hops`, `*_shifts`, `accumulator_*` and
`gather_mux_words` count words of the operand's own width. `noc_bytes` are bytes
received by the other P - 1 cores.
"""

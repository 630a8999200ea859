"""A chip at full utilisation: action counts of weight-stationary folds without end.

Published chips are quoted at their peak, where every processing element multiplies in
every cycle; so no schedule is needed, only the counts of one fold (docs/model.md,
"Counts") per core.
"""

from __future__ import annotations

import numpy as np

from lspsim.arrays import FloatArray
from lspsim.hardware import Hardware
from lspsim.hardware.technology import Band
from lspsim.simulate.columns import COUNTS
from lspsim.simulate.energy import COMPONENTS, energy_bounds_pj

TOKENS = 197
"""Tokens of one 224 x 224 image of DeiT or ViT."""

REDUCTION = 768
"""K of the layer: DeiT-B's width; `REDUCTION / rows` folds make one result."""


def steady_power_w(hardware: Hardware) -> FloatArray:
    """Power of a fully used chip by component, without DRAM.

    Parameters
    ----------
    hardware
        The chip; weight-stationary with double-buffered weights, so that every
        cycle streams a row.

    Returns
    -------
    ndarray
        Watts, `[3, len(COMPONENTS)]`: low, nominal, high.
    """
    rows = streamed_rows(hardware)
    cycles = max(rows, hardware.array.rows)
    energy = energy_bounds_pj(_fold_counts(hardware, rows), np.array([cycles]), hardware)[:, 0]
    return np.asarray(energy * (1e-12 * hardware.clock_hz / cycles), dtype=np.float64)


def streamed_rows(hardware: Hardware) -> int:
    """Rows that a fold streams: the longest of the equal chunks that fit a bank.

    M is the tokens of as many images as keep the array busy while the next tile's
    weights are shifted in, which takes `array.rows` cycles.
    """
    m = TOKENS * -(-hardware.array.rows // TOKENS)
    chunks = -(-m // hardware.array.accumulator_rows)
    return -(-m // chunks)


def component(power_w: FloatArray, name: str) -> Band:
    """One component of what `steady_power_w` returns."""
    return Band(*power_w[:, COMPONENTS.index(name)].tolist())


def _fold_counts(hardware: Hardware, streamed: int) -> FloatArray:
    """Actions of one fold on every core, `[1, len(COUNTS)]`.

    Every element is taken as kept. Of the `REDUCTION / rows` folds of a result, all but
    the first read the accumulator, and the last writes the result to the buffer.
    """
    rows, cols, p = hardware.array.rows, hardware.array.cols, hardware.precision
    folds = max(1.0, REDUCTION / rows)
    results = streamed * cols
    fold = dict.fromkeys(COUNTS, 0.0) | {
        "macs_executed": streamed * rows * cols,
        "macs_effectual": streamed * rows * cols,
        "weight_register_shifts": cols * rows * (rows + 1) / 2,
        "activation_hops": streamed * rows * cols,
        "partial_sum_hops": streamed * rows * cols,
        "activation_buffer_read_bytes": streamed * rows * p.activation_bits / 8,
        "activation_buffer_write_bytes": results * p.activation_bits / 8 / folds,
        "weight_buffer_read_bytes": rows * cols * p.weight_bits / 8,
        "weight_buffer_write_bytes": rows * cols * p.weight_bits / 8,
        "accumulator_writes": results,
        "accumulator_reads": results * (1 - 1 / folds),
    }
    return np.array([[fold[name] for name in COUNTS]]) * hardware.cores

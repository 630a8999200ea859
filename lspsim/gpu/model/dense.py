"""Dense GEMM on a GPU: the fastest of several tile shapes and splits of the reduction.

`t_cta = max(2 tm tn k / f, b (tm + tn) k / g) + b tm tn / g + t_p` for a thread block that
computes a `tm x tn` tile over `k = K / s` of the reduction (f operations and g bytes per
second and SM, b bytes per value); `waves = ceil(ceil(M/tm) ceil(N/tn) s / SMs)`;
`t = t0 + min over tiles [max(c, d) + a min(c, d) + t_split]`, c = waves t_cta the compute
and d the memory time, a the part that does not overlap. Wave quantisation is that of
NVIDIA's "Matrix Multiplication Background User's Guide"; the form as a whole is this
project's, and docs/gpu.md shows how far it carries.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lspsim.arrays import FloatArray
from lspsim.gpu.config.schema import BYTES, Dtype, Gpu, Parameters

TILES: tuple[tuple[int, int], ...] = (
    (64, 32),
    (64, 64),
    (64, 128),
    (64, 256),
    (128, 32),
    (128, 64),
    (128, 128),
    (128, 192),
    (128, 256),
    (192, 128),
    (256, 64),
    (256, 128),
    (256, 256),
)
"""Thread-block tiles that cuBLAS and CUTLASS offer on Ampere to Hopper, rows of M x of N."""
SPLITS = (1, 2, 4, 8)
"""Parts of the reduction on thread blocks of their own."""
STEP = 32
"""Reduction length is padded to this, one step of a kernel's main loop."""
ACCUMULATOR_BYTES = 4
"""Partial sums of a split reduction are written and read as fp32."""

_TM = np.repeat([float(tm) for tm, _ in TILES], len(SPLITS))
_TN = np.repeat([float(tn) for _, tn in TILES], len(SPLITS))
_S = np.tile([float(s) for s in SPLITS], len(TILES))


class Chip(NamedTuple):
    """A data sheet as plain numbers, for one number format."""

    sms: float
    peak_flop_per_s: float
    """At the highest clock."""
    clock_hz: float
    """The highest."""
    dram_bytes_per_s: float
    l2_bytes: float
    l2_bytes_per_s: float
    value_bytes: float


class DenseRates(NamedTuple):
    """`DenseParameters` as plain numbers."""

    compute_efficiency: float
    dram_efficiency: float
    l2_efficiency: float
    l2_share: float
    feed: float
    overlap_loss: float
    block_s: float
    launch_s: float
    split_s: float


class DenseTimes(NamedTuple):
    """Times of GEMMs, `[gemms]`, in seconds; and bytes."""

    latency_s: FloatArray
    compute_s: FloatArray
    memory_s: FloatArray
    bytes: FloatArray
    dram_bytes: FloatArray


def chip_of(gpu: Gpu, dtype: Dtype) -> Chip:
    """Return the data sheet as plain numbers."""
    memory = gpu.memory
    return Chip(
        float(gpu.sms.value),
        gpu.peak_flop_per_s(dtype) * float(gpu.max_clock.value / gpu.clock.value),
        float(gpu.max_clock.value),
        float(memory.bandwidth.value),
        float(memory.l2.value),
        float(memory.l2_bandwidth.value),
        float(BYTES[dtype]),
    )


def dense_rates(parameters: Parameters) -> DenseRates:
    """Return the fitted parameters as plain numbers."""
    dense = parameters.dense
    return DenseRates(
        float(dense.compute_efficiency),
        float(dense.dram_efficiency),
        float(dense.l2_efficiency),
        float(dense.l2_share),
        float(dense.feed),
        float(dense.overlap_loss),
        float(dense.block),
        float(dense.launch),
        float(dense.split),
    )


def feed_bytes_per_s(chip: Chip, rates: DenseRates) -> float:
    """Return what one SM takes in, bytes per second."""
    return rates.feed / 100 * chip.peak_flop_per_s / chip.sms


def memory_seconds(
    chip: Chip, rates: DenseRates, moved_bytes: FloatArray, cold_bytes: FloatArray | float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Return the time to move bytes through L2 and, what L2 does not hold, DRAM.

    Parameters
    ----------
    chip, rates
        The GPU.
    moved_bytes
        Operands and results of a kernel, each counted once, > 0.
    cold_bytes
        Part of them that pass DRAM in any case.

    Returns
    -------
    tuple
        Seconds, and bytes that pass through DRAM.
    """
    missed = np.maximum(moved_bytes - rates.l2_share * chip.l2_bytes, cold_bytes)
    seconds = missed / (rates.dram_efficiency * chip.dram_bytes_per_s) + moved_bytes / (
        rates.l2_efficiency * chip.l2_bytes_per_s
    )
    return seconds, missed


def streamed_seconds(
    chip: Chip,
    rates: DenseRates,
    moved_bytes: float,
    dram_efficiency: float,
    cold_bytes: float = 0.0,
) -> tuple[float, float]:
    """Return seconds and DRAM bytes of a kernel that reads and writes everything once, in order.

    Unlike the tiles of a dense GEMM, such a stream passes L2 while DRAM delivers the rest.

    Parameters
    ----------
    chip, rates
        The GPU.
    moved_bytes
        Operands and results.
    dram_efficiency
        Part of the DRAM bandwidth that this kind of kernel reaches.
    cold_bytes
        Part of the bytes that pass DRAM in any case.
    """
    missed = max(moved_bytes - rates.l2_share * chip.l2_bytes, cold_bytes)
    dram_s = missed / (dram_efficiency * chip.dram_bytes_per_s)
    return max(dram_s, moved_bytes / (rates.l2_efficiency * chip.l2_bytes_per_s)), missed


def dense_times(
    chip: Chip,
    rates: DenseRates,
    m: FloatArray,
    n: FloatArray,
    k: FloatArray,
    batch: float = 1.0,
    cold_bytes: float = 0.0,
) -> DenseTimes:
    """Predict GEMMs `Y[M, N] = X[M, K] @ W[N, K]^T`.

    Parameters
    ----------
    chip, rates
        The GPU.
    m, n, k
        Sizes, `[gemms]`, each >= 1.
    batch
        Independent products of these sizes in one kernel.
    cold_bytes
        Part of each GEMM's operands that L2 does not hold from before. Tables of GEMMs
        repeat the same few operands: none.
    """
    value = chip.value_bytes
    rate = rates.compute_efficiency * chip.peak_flop_per_s / chip.sms
    feed = feed_bytes_per_s(chip, rates)
    rows, columns, depth = m[:, None], n[:, None], k[:, None]
    part = np.ceil(depth / _S / STEP) * STEP
    block = (
        np.maximum(2 * _TM * _TN * part / rate, value * (_TM + _TN) * part / feed)
        + value * _TM * _TN / feed
        + rates.block_s
    )
    waves = np.ceil(np.ceil(rows / _TM) * np.ceil(columns / _TN) * _S * batch / chip.sms)
    moved = batch * value * (m * k + n * k + m * n)
    memory, missed = memory_seconds(chip, rates, moved, cold_bytes)
    compute = waves * block
    shuffled = 2 * ACCUMULATOR_BYTES * rows * columns * _S * batch
    split = np.where(
        _S > 1, shuffled / (rates.l2_efficiency * chip.l2_bytes_per_s) + rates.split_s, 0.0
    )
    wait = memory[:, None]
    times = np.maximum(compute, wait) + rates.overlap_loss * np.minimum(compute, wait) + split
    best = times.argmin(axis=1)
    every = np.arange(m.size)
    return DenseTimes(
        rates.launch_s + times[every, best],
        compute[every, best] + split[every, best],
        memory,
        moved,
        missed,
    )

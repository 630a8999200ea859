"""Block-sparse GEMM: torch's Triton kernel over BSR weights, and its padding.

`torch.sparse._triton_ops.bsr_dense_addmm` starts one thread block per block-row of W and
tile of tokens, which loops over the kept blocks of its row:
`t_cta(r) = nnz_r max(2 bo bi T / f, b (bo bi + bi T) / g) + b bo T / g + t_p / 4`,
f = efficiency(block) x peak / SMs. Rows differ, so the thread blocks do: they are laid out
on the SMs longest first, in waves, and each wave lasts as long as its longest.
"""

from __future__ import annotations

import numpy as np

from lspsim.arrays import FloatArray
from lspsim.errors import WorkloadError
from lspsim.gpu.config.schema import SparseParameters
from lspsim.gpu.model.dense import Chip, DenseRates, feed_bytes_per_s, streamed_seconds
from lspsim.gpu.model.kernel_time import KernelTime, bound_by
from lspsim.workload import BlockMask

TOKEN_TILES = (16, 32, 64, 128)
"""Tokens per thread block that the tuner may pick: powers of two."""
RESIDENT = 4
"""Thread blocks that share an SM, hiding each other's start and end: torch's kernel takes 4
warps and, for tiles up to 64 x 128 in two stages, some 48 KiB of the 164 to 228 KiB there."""
INDEX_BYTES = 4
"""Column index of one kept block."""
SMALLEST_BLOCK = 16
"""Triton's `tl.dot` needs 16 in every direction."""


def supported(block_out: int, block_in: int) -> bool:
    """Whether the kernel takes this block: powers of two from 16 up."""
    return all(side >= SMALLEST_BLOCK and side & (side - 1) == 0 for side in (block_out, block_in))


def check_block(mask: BlockMask) -> None:
    """Refuse masks that the kernel cannot run.

    Raises
    ------
    WorkloadError
        When a block's side is no power of two >= 16.
    """
    if not supported(mask.block_out, mask.block_in):
        raise WorkloadError(
            f"the block-sparse GPU kernel takes blocks whose sides are powers of two from "
            f"{SMALLEST_BLOCK} up, not {mask.block_out}x{mask.block_in}; take e.g. 32x32"
        )


def efficiency(parameters: SparseParameters, block_out: int, block_in: int) -> float:
    """Return the part of the peak that blocks of this size reach.

    Fitted per side; the geometric mean of a rectangle's sides decides, and between the
    fitted sides the value is interpolated over log2.
    """
    sides = np.log2([16, 32, 64, 128])
    fitted = [
        float(value)
        for value in (
            parameters.efficiency_16,
            parameters.efficiency_32,
            parameters.efficiency_64,
            parameters.efficiency_128,
        )
    ]
    return float(np.interp(np.log2(block_out * block_in) / 2, sides, fitted))


def makespan(row_s: FloatArray, copies: int, sms: int) -> float:
    """Return how long `copies` thread blocks of each row take on `sms` SMs.

    Longest first in waves of `sms`: exact for equal rows; never below the average load,
    above it by less than the longest thread block; never longer when a row gets shorter.

    Parameters
    ----------
    row_s
        Seconds of one thread block of each block-row.
    copies
        Thread blocks per row.
    sms
        Thread blocks at a time.
    """
    longest_first = np.sort(row_s)[::-1]
    leaders = np.arange(0, row_s.size * copies, sms) // copies
    return float(longest_first[leaders].sum())


def sparse_kernels(
    chip: Chip,
    rates: DenseRates,
    parameters: SparseParameters,
    mask: BlockMask,
    m: int,
    warm: bool = False,
) -> dict[int, KernelTime]:
    """Predict the block-sparse kernel alone, bias included, for every tile of tokens.

    Parameters
    ----------
    chip, rates, parameters
        The GPU.
    mask
        Kept blocks of `W[N, K]`; ragged edges are padded up.
    m
        Tokens x images.
    warm
        Whether L2 may hold the kept blocks from their last use.

    Returns
    -------
    dict
        By tokens after padding to whole tiles, the fastest kernel on so many.

    Raises
    ------
    WorkloadError
        When the kernel does not take the mask's blocks.
    """
    check_block(mask)
    out, inner, value = mask.block_out, mask.block_in, chip.value_bytes
    n, k = mask.keep.shape[0] * out, mask.keep.shape[1] * inner
    kept = mask.keep.sum(axis=1).astype(np.float64)
    rate = efficiency(parameters, out, inner) * chip.peak_flop_per_s / chip.sms
    feed = feed_bytes_per_s(chip, rates)
    weights = float(kept.sum()) * (out * inner * value + INDEX_BYTES)
    found: dict[int, KernelTime] = {}
    for tile in TOKEN_TILES:
        per_block = max(2 * out * inner * tile / rate, value * inner * (out + tile) / feed)
        row_s = kept * per_block + value * out * tile / feed + rates.block_s / RESIDENT
        tiles = -(-m // tile)
        compute_s = makespan(row_s, tiles, int(chip.sms))
        moved = weights + value * tiles * tile * (k + n)
        memory_s, missed = streamed_seconds(
            chip, rates, moved, rates.dram_efficiency, 0.0 if warm else weights
        )
        longer, shorter = max(compute_s, memory_s), min(compute_s, memory_s)
        time = KernelTime(
            rates.launch_s + longer + rates.overlap_loss * shorter,
            bound_by(compute_s, memory_s, rates.launch_s),
            2.0 * m * mask.kept_weights,
            moved,
            missed,
        )
        tokens = tiles * tile
        if tokens not in found or time.latency_s < found[tokens].latency_s:
            found[tokens] = time
    return found

"""`GpuModel`: latency of single layers on one GPU."""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np

from lspsim.errors import ConfigError, WorkloadError
from lspsim.gpu.config.load import load_parameters
from lspsim.gpu.config.schema import BYTES, Dtype, Gpu, Parameters
from lspsim.gpu.model.dense import chip_of, dense_rates, dense_times, streamed_seconds
from lspsim.gpu.model.kernel_time import KernelTime, bound_by
from lspsim.gpu.model.sparse import sparse_kernels
from lspsim.workload import BlockMask

EXPONENTIALS_PER_CLOCK = 16
"""Of one SM's special function units (CUDA C++ Programming Guide, arithmetic throughput)."""


class GpuModel:
    """Predicts GEMMs, attention and elementwise kernels.

    Parameters
    ----------
    gpu
        The data sheet.
    dtype
        Number format of operands; sums are kept in fp32.
    parameters
        Fitted parameters; default: those that the GPU names.

    Raises
    ------
    ConfigError
        For a number format that is not modelled.
    """

    def __init__(
        self, gpu: Gpu, dtype: Dtype = "bf16", parameters: Parameters | None = None
    ) -> None:
        if dtype not in BYTES:
            raise ConfigError(f"number format {dtype!r} is not modelled; take {', '.join(BYTES)}")
        self.gpu = gpu
        self.dtype: Dtype = dtype
        self.parameters = parameters or load_parameters(gpu)
        self.chip = chip_of(gpu, dtype)
        self.rates = dense_rates(self.parameters)
        self._dense = lru_cache(maxsize=4096)(self._dense_uncached)
        self._sparse = lru_cache(maxsize=65536)(self._sparse_uncached)

    def dense_latency(
        self, m: int, n: int, k: int, batch: int = 1, *, warm: bool = False
    ) -> KernelTime:
        """Predict a dense GEMM `Y[m, n] = X[m, k] @ W[n, k]^T`, bias in its epilogue.

        Parameters
        ----------
        m, n, k
            Rows of X (tokens x images), rows of W, reduction length.
        batch
            Independent products in one kernel (heads x images, unfused attention).
        warm
            Whether L2 may hold W from its last use. By default W comes from DRAM: as in a
            network whose weights together exceed L2, and as `lspsim gpu measure` times it.

        Raises
        ------
        WorkloadError
            When a size is below 1.
        """
        return self._dense(m, n, k, batch, warm)

    def sparse_latency(self, mask: BlockMask, m: int, *, warm: bool = False) -> KernelTime:
        """Predict a block-sparse layer: the kernel, and copies where something is padded.

        The kernel reads and writes through strides and adds the bias itself (see
        `lspsim.gpu.kernels.adapter`), so nothing is transposed.

        Parameters
        ----------
        mask
            Kept blocks of `W[N, K]`.
        m
            Tokens x images.
        warm
            As in `dense_latency`.

        Raises
        ------
        WorkloadError
            When the kernel does not take the mask's blocks, or `m` is below 1.
        """
        return self._sparse(mask, m, warm)

    def elementwise(self, read_bytes: float, written_bytes: float) -> KernelTime:
        """Predict a kernel that only moves data past the SMs' vector units.

        Raises
        ------
        WorkloadError
            When nothing is moved.
        """
        moved = read_bytes + written_bytes
        if moved <= 0:
            raise WorkloadError("an elementwise kernel must move at least one byte")
        vector = self.parameters.vector
        memory_s, missed = streamed_seconds(
            self.chip, self.rates, moved, float(vector.dram_efficiency)
        )
        launch_s = float(vector.launch)
        return KernelTime(
            launch_s + memory_s, bound_by(0.0, memory_s, launch_s), 0.0, moved, missed
        )

    def flash_attention(
        self, sequences: int, tokens: int, head_dim: int, *, split: bool = True
    ) -> KernelTime:
        """Predict attention in one kernel: scores never leave the SM.

        Work is padded to tiles of 64 queries by 64 keys (the smallest of FlashAttention-2,
        arXiv 2307.08691); one thread block takes 128 queries, or a whole sequence as in the
        first FlashAttention (section 3.2 there), which few sequences do not fill a GPU with.
        Exponentials follow the products at 16 per clock and SM: on H100 the 3.9 T/s that
        FlashAttention-3 (arXiv 2407.08608, section 3.1) names as what short heads wait for.

        Parameters
        ----------
        sequences
            Images x heads (x windows).
        tokens, head_dim
            Length of a sequence, values per head.
        split
            Whether a sequence is shared out over thread blocks.
        """
        if min(sequences, tokens, head_dim) < 1:
            raise WorkloadError("attention needs at least one sequence, token and value per head")
        queries, keys = -(-tokens // 64) * 64, -(-tokens // 64) * 64
        flops = 4.0 * sequences * tokens * tokens * head_dim
        parts = -(-tokens // 128) if split else 1
        waves = -(-sequences * parts // int(self.chip.sms))
        scores = queries * keys / parts
        products_s = 4.0 * scores * head_dim * self.chip.sms / self.chip.peak_flop_per_s
        exponentials_s = scores / (EXPONENTIALS_PER_CLOCK * self.chip.clock_hz)
        reached = float(self.parameters.vector.attention_efficiency)
        compute_s = waves * (products_s + exponentials_s) / reached
        moved = 4.0 * sequences * tokens * head_dim * self.chip.value_bytes
        memory_s, missed = streamed_seconds(
            self.chip, self.rates, moved, self.rates.dram_efficiency
        )
        longer, shorter = max(compute_s, memory_s), min(compute_s, memory_s)
        launch_s = self.rates.launch_s
        return KernelTime(
            launch_s + longer + self.rates.overlap_loss * shorter,
            bound_by(compute_s, memory_s, launch_s),
            flops,
            moved,
            missed,
        )

    def check_memory(self, what: str, needed_bytes: float) -> None:
        """Refuse what cannot run because it does not lie in DRAM.

        Raises
        ------
        WorkloadError
            Names `what`, what it needs and what is there.
        """
        capacity = float(self.gpu.memory.capacity.value)
        if needed_bytes > capacity:
            raise WorkloadError(
                f"{what} needs at least {needed_bytes / 1e9:,.0f} GB, {self.gpu.name} has "
                f"{capacity / 1e9:,.0f} GB; take fewer images or another GPU"
            )

    def energy_j(self, time: KernelTime) -> float:
        """Return idle power over the time, plus dynamic energy per operation and DRAM byte."""
        return (
            self.idle_w * time.latency_s
            + self._flop_j * time.flops
            + self._byte_j * time.dram_bytes
        )

    def under_load(self, latency_s: float, energy_j: float) -> tuple[float, float]:
        """Return seconds and joules of work that is repeated for long.

        A card that would draw more than its power limit lowers its clocks until it does not
        (NVML calls it the power cap): work then takes as long as the limit, less idle power,
        needs for its energy. That lower clocks also save energy per operation is left out.

        Parameters
        ----------
        latency_s, energy_j
            Of one burst, at the highest clocks.
        """
        idle_w, limit_w = self.idle_w, self.power_limit_w
        dynamic_j = energy_j - idle_w * latency_s
        sustained_s = max(latency_s, dynamic_j / (limit_w - idle_w))
        return sustained_s, dynamic_j + idle_w * sustained_s

    @cached_property
    def idle_w(self) -> float:
        """Board power without a running kernel, W."""
        return float(self.gpu.power.idle.value)

    @cached_property
    def power_limit_w(self) -> float:
        """What the board may draw, W."""
        return float(self.gpu.power.limit.value)

    @cached_property
    def _byte_j(self) -> float:
        return float(self.gpu.power.byte.value)

    @cached_property
    def _flop_j(self) -> float:
        """J per operation; wider formats cost as much more as their peak is lower."""
        slower = self.gpu.peak_flop_per_s("bf16") / self.gpu.peak_flop_per_s(self.dtype)
        return float(self.gpu.power.flop.value) * slower

    def _dense_uncached(self, m: int, n: int, k: int, batch: int, warm: bool) -> KernelTime:
        if min(m, n, k, batch) < 1:
            raise WorkloadError(
                f"a GEMM's sizes are at least 1, got m={m}, n={n}, k={k}, batch={batch}"
            )
        rows, columns, depth = (np.array([float(x)]) for x in (m, n, k))
        cold = 0.0 if warm else float(batch * n * k * self.chip.value_bytes)
        found = dense_times(self.chip, self.rates, rows, columns, depth, float(batch), cold)
        latency, compute, memory, moved, missed = (float(x[0]) for x in found)
        return KernelTime(
            latency,
            bound_by(compute, memory, self.rates.launch_s),
            2.0 * m * n * k * batch,
            moved,
            missed,
        )

    def _sparse_uncached(self, mask: BlockMask, m: int, warm: bool) -> KernelTime:
        if m < 1:
            raise WorkloadError(f"a layer needs at least one token, got m={m}")
        found = sparse_kernels(self.chip, self.rates, self.parameters.sparse, mask, m, warm)
        whole = [self._with_copies(time, tokens, mask, m) for tokens, time in found.items()]
        return min(whole, key=lambda time: time.latency_s)

    def _with_copies(self, time: KernelTime, tokens: int, mask: BlockMask, m: int) -> KernelTime:
        """Add the copies that padding tokens, or the weight's ragged edges, takes."""
        n, k = mask.shape
        rows, columns = mask.keep.shape
        wide_n, wide_k, value = rows * mask.block_out, columns * mask.block_in, BYTES[self.dtype]
        if (tokens, wide_k) != (m, k):
            time = time.plus(self.elementwise(value * m * k, value * tokens * wide_k))
        if wide_n != n:
            time = time.plus(self.elementwise(value * m * n, value * m * n))
        return time

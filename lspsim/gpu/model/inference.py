"""Latency and energy of a whole network on a GPU, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from lspsim.gpu.config.load import load_framework
from lspsim.gpu.config.schema import Framework
from lspsim.gpu.model.gpu_model import GpuModel
from lspsim.gpu.model.kernel_time import KernelTime
from lspsim.gpu.model.lower import AttentionKernel, ElementwiseKernel, Kernel, lower
from lspsim.gpu.model.roofline import derated_roofline_s, roofline_s
from lspsim.gpu.model.sparse import supported
from lspsim.workload import Workload

SCHEMA = "lspsim/gpu-prediction/v1"

Choice = Literal["best", "sparse", "dense"]
"""Which kernel masked layers take: the faster of both, always the block-sparse one, or never."""

DenseBecause = Literal["slower", "block", "asked"]
"""Why a masked layer runs dense: the block-sparse kernel is not faster, does not take the
mask's blocks, or was not wanted."""


@dataclass(frozen=True, slots=True)
class GpuLayer:
    """One kernel of the network, or one masked layer with its helper kernels."""

    name: str
    kind: str
    """`gemm`, `sparse`, `attention`, or the elementwise operator's kind."""
    time: KernelTime
    """Host and framework overhead included."""
    energy_j: float
    roofline_s: float
    derated_roofline_s: float
    dense_latency_s: float | None = None
    """Of a masked layer, had it been dense."""
    dense_because: DenseBecause | None = None
    """Of a masked layer that runs dense."""


@dataclass(frozen=True)
class GpuPrediction:
    """Latency and energy of one inference.

    Attributes
    ----------
    model, gpu, dtype, framework, batch
        What runs, on what, in which number format, under which framework, in images.
    layers
        In execution order.
    parameters
        Source of the fitted parameters.
    energy_basis
        Which constants behind the energies are assumed.
    power_limit_w
        Of the board.
    sustained_s
        Latency when repeated for long: the power limit may lower the clocks.
    sustained_j
        Energy of one inference when repeated for long; the same where the limit is not met.
    """

    model: str
    gpu: str
    dtype: str
    framework: str
    batch: int
    layers: tuple[GpuLayer, ...]
    parameters: str
    energy_basis: str
    power_limit_w: float
    sustained_s: float
    sustained_j: float

    def __repr__(self) -> str:
        return (
            f"GpuPrediction(model={self.model!r}, batch={self.batch}, gpu={self.gpu!r}, "
            f"dtype={self.dtype!r}, framework={self.framework!r}, "
            f"latency_s={self.latency_s:.4g}, energy_j={self.energy_j:.4g}, "
            f"layers={len(self.layers)})"
        )

    @cached_property
    def latency_s(self) -> float:
        """Of one inference of the whole batch."""
        return sum(layer.time.latency_s for layer in self.layers)

    @cached_property
    def energy_j(self) -> float:
        """Of one inference of the whole batch."""
        return sum(layer.energy_j for layer in self.layers)

    @property
    def power_w(self) -> float:
        """Average power when repeated for long, at most the card's limit."""
        return self.sustained_j / self.sustained_s

    @property
    def power_limited(self) -> bool:
        """Whether the power limit lowers the clocks when repeated for long."""
        return self.sustained_s > self.latency_s

    @cached_property
    def roofline_s(self) -> float:
        """Sum of the layers' raw rooflines."""
        return sum(layer.roofline_s for layer in self.layers)

    @cached_property
    def derated_roofline_s(self) -> float:
        """Sum of the layers' rooflines at 0.8 of the peaks, with 3 us per kernel."""
        return sum(layer.derated_roofline_s for layer in self.layers)

    @cached_property
    def kept_dense(self) -> tuple[str, ...]:
        """Masked layers that run dense."""
        return tuple(layer.name for layer in self.layers if layer.dense_because is not None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: totals, and a dict per layer."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "gpu": self.gpu,
            "dtype": self.dtype,
            "framework": self.framework,
            "batch": self.batch,
            "parameters": self.parameters,
            "energy_basis": self.energy_basis,
            "totals": {
                "latency_s": self.latency_s,
                "images_per_s": self.batch / self.latency_s,
                "energy_j": self.energy_j,
                "power_w": self.power_w,
                "power_limit_w": self.power_limit_w,
                "sustained_latency_s": self.sustained_s,
                "sustained_energy_j": self.sustained_j,
                "kernels": sum(layer.time.kernels for layer in self.layers),
                "roofline_s": self.roofline_s,
                "derated_roofline_s": self.derated_roofline_s,
            },
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "latency_s": layer.time.latency_s,
                    "bound_by": layer.time.bound_by,
                    "energy_j": layer.energy_j,
                    "flops": layer.time.flops,
                    "bytes": layer.time.bytes,
                    "dram_bytes": layer.time.dram_bytes,
                    "kernels": layer.time.kernels,
                    "roofline_s": layer.roofline_s,
                    "derated_roofline_s": layer.derated_roofline_s,
                    "dense_latency_s": layer.dense_latency_s,
                    "dense_because": layer.dense_because,
                }
                for layer in self.layers
            ],
        }


def predict(
    workload: Workload,
    model: GpuModel,
    framework: Framework | None = None,
    kernels: Choice = "best",
) -> GpuPrediction:
    """Predict one inference.

    Parameters
    ----------
    workload
        Operators, with the masks of pruned layers.
    model
        The GPU and its parameters.
    framework
        What runs the network; default: eager kernels replayed as a CUDA graph.
    kernels
        Which kernel masked layers take.

    Raises
    ------
    WorkloadError
        With `kernels="sparse"`, for blocks that the kernel does not take; and when the
        network does not fit into the GPU's memory.
    """
    chosen = framework or load_framework()
    warm = weights_stay(workload, model)
    lowered = lower(workload, chosen, model.dtype)
    _check_memory(workload, model, lowered)
    layers = tuple(_layer(kernel, model, chosen, kernels, warm) for kernel in lowered)
    loaded = model.under_load(
        sum(layer.time.latency_s for layer in layers), sum(layer.energy_j for layer in layers)
    )
    return GpuPrediction(
        workload.model,
        model.gpu.name,
        model.dtype,
        chosen.name,
        workload.batch,
        layers,
        model.parameters.name,
        model.gpu.power.basis,
        model.power_limit_w,
        *loaded,
    )


def weights_stay(workload: Workload, model: GpuModel) -> bool:
    """Whether all weights together stay in L2 from one inference to the next."""
    held = model.rates.l2_share * model.chip.l2_bytes
    return _weights(workload) * model.chip.value_bytes <= held


def _weights(workload: Workload) -> int:
    return sum(gemm.n * gemm.k for gemm in workload.gemms if gemm.rhs == "weight")


def _check_memory(workload: Workload, model: GpuModel, kernels: Sequence[Kernel]) -> None:
    """Refuse what cannot run: all weights and one kernel's activations must lie in DRAM."""
    value = model.chip.value_bytes
    largest = max(_activation_bytes(kernel, value) for kernel in kernels)
    what = f"{workload.model} at batch {workload.batch}"
    model.check_memory(what, _weights(workload) * value + largest)


def _activation_bytes(kernel: Kernel, value: float) -> float:
    """Return what a kernel reads and writes besides weights."""
    if isinstance(kernel, ElementwiseKernel):
        return kernel.read_bytes + kernel.written_bytes
    if isinstance(kernel, AttentionKernel):
        return 4 * value * kernel.sequences * kernel.tokens * kernel.head_dim
    second = 0 if kernel.weight else kernel.n * kernel.k
    return value * kernel.batch * (kernel.m * kernel.k + kernel.m * kernel.n + second)


def _layer(
    kernel: Kernel, model: GpuModel, framework: Framework, choice: Choice, warm: bool
) -> GpuLayer:
    kind, time, dense_s, because = _time(kernel, model, choice, warm)
    time = _slowed(time, framework, kind)
    return GpuLayer(
        kernel.name,
        kind,
        time,
        model.energy_j(time),
        roofline_s(model.gpu, model.dtype, time),
        derated_roofline_s(model.gpu, model.dtype, time),
        dense_s,
        because,
    )


def _time(
    kernel: Kernel, model: GpuModel, choice: Choice, warm: bool
) -> tuple[str, KernelTime, float | None, DenseBecause | None]:
    """Return kind, time, and for a masked layer its dense latency and why it runs dense."""
    if isinstance(kernel, ElementwiseKernel):
        return kernel.kind, model.elementwise(kernel.read_bytes, kernel.written_bytes), None, None
    if isinstance(kernel, AttentionKernel):
        time = model.flash_attention(
            kernel.sequences, kernel.tokens, kernel.head_dim, split=kernel.split
        )
        return "attention", time, None, None
    dense = model.dense_latency(
        kernel.m, kernel.n, kernel.k, kernel.batch, warm=warm or not kernel.weight
    )
    if kernel.mask is None or kernel.mask.keep.all():
        return "gemm", dense, None, None
    if choice == "dense":
        return "gemm", dense, dense.latency_s, "asked"
    if choice == "best" and not supported(kernel.mask.block_out, kernel.mask.block_in):
        return "gemm", dense, dense.latency_s, "block"
    sparse = model.sparse_latency(kernel.mask, kernel.m, warm=warm)
    if choice == "best" and sparse.latency_s >= dense.latency_s:
        return "gemm", dense, dense.latency_s, "slower"
    return "sparse", sparse, dense.latency_s, None


def _slowed(time: KernelTime, framework: Framework, kind: str) -> KernelTime:
    """Add what the framework costs: its products' overhead, and the host's pace."""
    factor = float(framework.overhead) if kind in ("gemm", "sparse") else 1.0
    latency_s = time.latency_s * factor
    host_s = float(framework.host) * time.kernels
    bound = time.bound_by
    if host_s > latency_s:
        latency_s, bound = host_s, "launch"
    return KernelTime(latency_s, bound, time.flops, time.bytes, time.dram_bytes, time.kernels)

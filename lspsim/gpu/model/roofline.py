"""The two rooflines that every prediction is shown beside."""

from __future__ import annotations

from lspsim.gpu.config.schema import Dtype, Gpu
from lspsim.gpu.model.kernel_time import KernelTime

EFFICIENCY = 0.8
"""Part of both peaks that the second roofline grants."""
LAUNCH_S = 3e-6
"""What the second roofline adds per kernel, s."""


def roofline_s(gpu: Gpu, dtype: Dtype, time: KernelTime) -> float:
    """Return the longer of operations at the data sheet's peak and bytes at its bandwidth, s.

    Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009.
    """
    return max(
        time.flops / gpu.peak_flop_per_s(dtype),
        time.bytes / float(gpu.memory.bandwidth.value),
    )


def derated_roofline_s(gpu: Gpu, dtype: Dtype, time: KernelTime) -> float:
    """Return the same at 0.8 of both peaks, plus 3 us per kernel, s."""
    return roofline_s(gpu, dtype, time) / EFFICIENCY + LAUNCH_S * time.kernels

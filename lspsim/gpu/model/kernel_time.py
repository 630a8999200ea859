"""`KernelTime`: what one kernel, or the few kernels of one layer, cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Bound = Literal["compute", "memory", "launch"]
"""What sets the pace: the SMs, DRAM or L2, or starting and ending the kernels."""


@dataclass(frozen=True, slots=True)
class KernelTime:
    """Prediction for one layer."""

    latency_s: float
    bound_by: Bound
    flops: float
    """Operations executed, padding of tiles not counted; a multiply-accumulate is two."""
    bytes: float
    """Operands read and results written, each once; with helper kernels, theirs too."""
    dram_bytes: float
    """Part of `bytes` that passes through DRAM, L2 holding the rest."""
    kernels: int = 1
    """Kernels launched."""

    def plus(self, other: KernelTime) -> KernelTime:
        """Return both one after the other, bound as the longer is."""
        longer = self if self.latency_s >= other.latency_s else other
        return KernelTime(
            self.latency_s + other.latency_s,
            longer.bound_by,
            self.flops + other.flops,
            self.bytes + other.bytes,
            self.dram_bytes + other.dram_bytes,
            self.kernels + other.kernels,
        )


def bound_by(compute_s: float, memory_s: float, launch_s: float) -> Bound:
    """Return which of three times is the longest."""
    if launch_s >= max(compute_s, memory_s):
        return "launch"
    return "compute" if compute_s >= memory_s else "memory"

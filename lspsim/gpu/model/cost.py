"""`GpuCost`: the GPU model behind the `CostModel` protocol, so that pruning can aim at a GPU."""

from __future__ import annotations

import numpy as np

from lspsim.gpu.config.load import load_framework
from lspsim.gpu.config.schema import Framework
from lspsim.gpu.model.gpu_model import GpuModel
from lspsim.gpu.model.inference import Choice, GpuPrediction, predict, weights_stay
from lspsim.simulate.cost import Cost, Marginal
from lspsim.workload import BlockMask, Gemm, Workload


class GpuCost:
    """A GPU as a cost model: whole networks, attention and elementwise work included.

    Parameters
    ----------
    model
        The GPU and its parameters.
    framework
        What runs the network; default: eager kernels replayed as a CUDA graph.
    kernels
        `best`: a masked layer runs whichever kernel is faster, so that removing blocks
        changes nothing until the block-sparse one is; `sparse`: always that.
    """

    def __init__(
        self, model: GpuModel, framework: Framework | None = None, kernels: Choice = "best"
    ) -> None:
        self.model = model
        self.framework = framework or load_framework()
        self.kernels: Choice = kernels

    def cost(self, workload: Workload) -> Cost:
        """Return the cost of one inference.

        Cycles are those of the SMs at the highest clock, energy is idle power over the time
        plus what operations and DRAM bytes take, and MACs are those of kept weights,
        attention's included, whichever kernel runs.

        Raises
        ------
        WorkloadError
            With `kernels="sparse"`, for blocks that the kernel does not take.
        """
        found = self.predict(workload)
        return Cost(
            found.latency_s * self.model.chip.clock_hz,
            found.energy_j * 1e12,
            found.latency_s,
            float(workload.macs_kept),
        )

    def predict(self, workload: Workload) -> GpuPrediction:
        """Return the prediction behind `cost`, layer by layer."""
        return predict(workload, self.model, self.framework, self.kernels)

    def marginal(self, workload: Workload) -> dict[str, Marginal]:
        """Return what each kept block costs.

        A layer that runs dense saves nothing when one of its blocks is removed. In a layer that
        runs block-sparse, the time above that of an empty mask is shared out: what is
        memory time over all kept blocks alike, what is compute time over the block-rows by
        the waves that they lead (see `makespan`), so that only long rows cost time. The
        blocks of a layer add up to what removing all of them saves.

        Raises
        ------
        WorkloadError
            As `cost`.
        """
        layers = {layer.name: layer for layer in self.predict(workload).layers}
        warm = weights_stay(workload, self.model)
        out: dict[str, Marginal] = {}
        for gemm in workload.gemms:
            if gemm.mask is None:
                continue
            nothing = np.zeros(gemm.mask.keep.shape)
            if layers[gemm.name].kind != "sparse" or not gemm.mask.keep.any():
                out[gemm.name] = Marginal(nothing, nothing)
                continue
            out[gemm.name] = self._marginal(gemm, gemm.mask, warm)
        return out

    def _marginal(self, gemm: Gemm, mask: BlockMask, warm: bool) -> Marginal:
        """Share out what a block-sparse layer takes more than an empty one."""
        empty = BlockMask(np.zeros_like(mask.keep), mask.block_out, mask.block_in, mask.shape)
        here = self.model.sparse_latency(mask, gemm.m, warm=warm)
        least = self.model.sparse_latency(empty, gemm.m, warm=warm)
        kept = mask.keep.sum(axis=1).astype(np.float64)
        share = np.full(kept.size, 1 / kept.sum())
        if here.bound_by == "compute":
            leads = kept * wave_shares(kept, int(self.model.chip.sms), gemm.m)
            share = np.divide(leads / leads.sum(), kept, out=np.zeros_like(kept), where=kept > 0)
        seconds = (here.latency_s - least.latency_s) * share[:, None] * mask.keep
        work = self.model.energy_j(here) - self.model.energy_j(least)
        idle = self.model.idle_w * (here.latency_s - least.latency_s)
        dynamic = (work - idle) / kept.sum() * mask.keep
        joules = dynamic + self.model.idle_w * seconds
        return Marginal(seconds * self.model.chip.clock_hz, joules * 1e12)


def wave_shares(kept: np.ndarray, sms: int, m: int) -> np.ndarray:
    """Return which part of the waves each block-row leads, equal rows alike; adds up to 1.

    Parameters
    ----------
    kept
        Kept blocks of every block-row.
    sms
        Thread blocks at a time.
    m
        Tokens, taken 64 at a time.
    """
    copies = -(-m // 64)
    order = np.argsort(-kept, kind="stable")
    leaders = order[np.arange(0, kept.size * copies, sms) // copies]
    counts = np.bincount(leaders, minlength=kept.size).astype(np.float64)
    _, groups, sizes = np.unique(kept, return_inverse=True, return_counts=True)
    return np.asarray((np.bincount(groups, weights=counts) / sizes)[groups] / counts.sum())

"""From which sparsity on a block-sparse layer is faster than the dense one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lspsim.errors import WorkloadError
from lspsim.gpu.model.gpu_model import GpuModel
from lspsim.workload import Gemm, Workload
from lspsim.workload.generate import prunable_names, random_masks

Block = tuple[int, int]

PROBES = (0.5, 0.7, 0.8, 0.9)
"""Sparsities whose speedup is shown beside the break-even."""


@dataclass(frozen=True, slots=True)
class BreakEven:
    """One layer, or all prunable layers of a network together."""

    layer: str
    m: int
    n: int
    k: int
    """0 where it is of several shapes."""
    batch: int
    block: Block
    sparsity: float | None
    """Least share of removed blocks at which block-sparse is not slower; None: at no sparsity."""
    speedups: tuple[float, ...]
    """At `PROBES`, of these layers alone; below 1: slower than dense."""


def layer_break_even(
    model: GpuModel, gemms: Sequence[Gemm], block: Block, batch: int, label: str, seed: int = 0
) -> BreakEven:
    """Find the break-even of one or several layers with random masks of one sparsity.

    With one seed a sparser mask is part of a denser one, and no kept block makes the
    model's kernel faster, so bisection finds it.

    Parameters
    ----------
    model
        The GPU.
    gemms
        Weight GEMMs.
    block
        Rows of N by columns of K.
    batch
        Images, for the record.
    label
        What to call them.
    seed
        Of the masks.

    Raises
    ------
    WorkloadError
        When the kernel does not take the block, a layer does not fit into the GPU's
        memory, or there is no layer.
    """
    if not gemms:
        raise WorkloadError("a break-even needs at least one layer")
    for g in gemms:
        bytes_ = model.dense_latency(g.m, g.n, g.k).bytes
        model.check_memory(f"{label} ({g.n}x{g.k}) at batch {batch}", bytes_)
    workload = Workload([Gemm(g.name, g.m, g.k, g.n) for g in gemms])
    names = [gemm.name for gemm in gemms]
    dense_s = sum(model.dense_latency(g.m, g.n, g.k).latency_s for g in gemms)
    most = max(-(-g.n // block[0]) * -(-g.k // block[1]) for g in gemms)

    def sparse_s(sparsity: float) -> float:
        masks = random_masks(
            workload,
            sparsity=sparsity,
            block_out=block[0],
            block_in=block[1],
            seed=seed,
            names=names,
        )
        return sum(model.sparse_latency(masks[g.name], g.m).latency_s for g in gemms)

    found = _least(sparse_s, dense_s, most)
    shape = (gemms[0].m, gemms[0].n, gemms[0].k)
    if len({(g.m, g.n, g.k) for g in gemms}) > 1:
        shape = (0, 0, 0)
    speedups = tuple(dense_s / sparse_s(sparsity) for sparsity in PROBES)
    return BreakEven(label, *shape, batch, block, found, speedups)


def shape_break_even(
    model: GpuModel, m: int, n: int, k: int, block: Block, batch: int = 1, seed: int = 0
) -> BreakEven:
    """Find the break-even of one layer of `m` tokens x images.

    Raises
    ------
    WorkloadError
        When a size is below 1 or the kernel does not take the block.
    """
    return layer_break_even(model, [Gemm("layer", m, k, n)], block, batch, "layer", seed)


def network_break_evens(
    model: GpuModel, workload: Workload, block: Block, seed: int = 0
) -> list[BreakEven]:
    """Find the break-even of each shape of prunable layer, and of all of them together.

    Raises
    ------
    WorkloadError
        When the network has no prunable layer.
    """
    prunable = set(prunable_names(workload))
    gemms = [gemm for gemm in workload.gemms if gemm.name in prunable]
    if not gemms:
        raise WorkloadError(f"{workload.model} has no linear layer in its blocks to prune")
    by_shape: dict[tuple[str, int, int], list[Gemm]] = {}
    for gemm in gemms:
        role = ".".join(gemm.name.split(".")[-2:])
        by_shape.setdefault((role, gemm.n, gemm.k), []).append(gemm)
    rows = [
        layer_break_even(model, members[:1], block, workload.batch, role, seed)
        for (role, _, _), members in by_shape.items()
    ]
    return [*rows, layer_break_even(model, gemms, block, workload.batch, "all prunable", seed)]


def _least(sparse_s: Callable[[float], float], dense_s: float, steps: int) -> float | None:
    """Return the least sparsity of `steps` equal ones at which `sparse_s` is at most `dense_s`."""
    if sparse_s(1.0) > dense_s:
        return None
    low, high = -1, steps
    while high - low > 1:
        middle = (low + high) // 2
        if sparse_s(middle / steps) <= dense_s:
            high = middle
        else:
            low = middle
    return high / steps

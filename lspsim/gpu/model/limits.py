"""What block sparsity can reach on a GPU at best, and how to say that it is not enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from lspsim.errors import LspsimError
from lspsim.gpu.model.sparse import SMALLEST_BLOCK, supported
from lspsim.simulate.cost import Cost, CostModel
from lspsim.workload import BlockMask, Gemm, Workload
from lspsim.workload.generate import prunable_names

Sizes = Callable[[str, tuple[int, int]], Sequence[tuple[int, int]]]
"""Block sizes, rows of N by columns of K, that a layer of a name and a shape may take."""


def least_cost(model: CostModel, workload: Workload, sizes: Sizes) -> Cost:
    """Return the cost with every block of every prunable layer removed.

    Parameters
    ----------
    model
        The GPU.
    workload
        The network.
    sizes
        Block sizes of a layer; each layer takes the one with which it is fastest.
    """
    prunable = set(prunable_names(workload))
    empty = {
        gemm.name: _fastest_empty(model, gemm, sizes(gemm.name, (gemm.n, gemm.k)))
        for gemm in workload.gemms
        if gemm.name in prunable
    }
    return model.cost(workload.with_masks(empty))


def _fastest_empty(model: CostModel, gemm: Gemm, sizes: Sequence[tuple[int, int]]) -> BlockMask:
    """Return a mask without a kept block, of the size with which the layer is fastest."""
    masks = []
    for out, inner in sizes:
        keep = np.zeros((-(-gemm.n // out), -(-gemm.k // inner)), dtype=bool)
        masks.append(BlockMask(keep, out, inner, (gemm.n, gemm.k)))

    def latency_s(mask: BlockMask) -> float:
        return model.cost(Workload([replace(gemm, mask=mask, inputs=None)])).latency_s

    return min(masks, key=latency_s)


def nothing_to_gain(
    gpu: str, workload: Workload, budget: str, share: float, block: str, sizes: Sizes
) -> LspsimError:
    """Return the error for a budget that no mask meets on a GPU.

    Parameters
    ----------
    gpu, workload, budget, block
        What was asked for.
    share
        Least cost over the dense network's.
    sizes
        Block sizes of a layer, as in `least_cost`.
    """
    prunable = set(prunable_names(workload))
    shapes = {gemm.name: (gemm.n, gemm.k) for gemm in workload.gemms if gemm.name in prunable}
    if not any(supported(*size) for name in shapes for size in sizes(name, shapes[name])):
        return LspsimError(
            f"budget {budget} cannot be met on {gpu}: its block-sparse kernel takes only blocks "
            f"whose sides are powers of two from {SMALLEST_BLOCK} up, and with --block {block} "
            "every layer would run dense; take e.g. --block 32x32"
        )
    return LspsimError(
        f"budget {budget} cannot be met on {gpu}: with every {block} block of the "
        f"prunable layers removed, {share:.1%} of the dense network's cost are left at batch "
        f"{workload.batch}. What remains are kernel launches, activations' traffic and attention, "
        "which no removed block shortens, and layers whose block-sparse kernel would be slower "
        "than the dense one run dense. Ask for more, take a larger network or --batch, or see "
        "from where on blocks pay: lspsim gpu breakeven"
    )

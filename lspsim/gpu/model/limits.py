"""What block sparsity can reach on a GPU at best, and how to say that it is not enough."""

from __future__ import annotations

import numpy as np

from lspsim.errors import LspsimError
from lspsim.simulate.cost import Cost, CostModel
from lspsim.workload import BlockMask, Workload
from lspsim.workload.generate import prunable_names


def least_cost(model: CostModel, workload: Workload, block: tuple[int, int]) -> Cost:
    """Return the cost with every block of every prunable layer removed.

    Parameters
    ----------
    model
        The GPU.
    workload
        The network.
    block
        Rows of N by columns of K.
    """
    prunable = set(prunable_names(workload))
    empty = {
        gemm.name: BlockMask(
            np.zeros((-(-gemm.n // block[0]), -(-gemm.k // block[1])), dtype=bool),
            *block,
            (gemm.n, gemm.k),
        )
        for gemm in workload.gemms
        if gemm.name in prunable
    }
    return model.cost(workload.with_masks(empty))


def nothing_to_gain(
    gpu: str, workload: Workload, budget: str, share: float, block: tuple[int, int]
) -> LspsimError:
    """Return the error for a budget that no mask meets on a GPU.

    Parameters
    ----------
    gpu, workload, budget, block
        What was asked for.
    share
        Least cost over the dense network's.
    """
    return LspsimError(
        f"budget {budget} cannot be met on {gpu}: with every {block[0]}x{block[1]} block of the "
        f"prunable layers removed, {share:.1%} of the dense network's cost are left at batch "
        f"{workload.batch}. What remains are kernel launches, activations' traffic and attention, "
        "which no removed block shortens, and layers whose block-sparse kernel would be slower "
        "than the dense one run dense. Ask for more, take a larger network or --batch, or see "
        "from where on blocks pay: lspsim gpu breakeven"
    )

"""Which layer gets which rank, so that a budget of multiply-accumulates is met."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lspsim.allocate import Allocation, knapsack
from lspsim.allocate.budgets import sparsity_budget
from lspsim.allocate.menus import Choice, LayerMenu, Menus
from lspsim.arrays import FloatArray
from lspsim.workload import Gemm, Workload


def rank_macs(gemm: Gemm, rank: int) -> int:
    """Return the MACs of a layer of that rank: a product of two, or the dense one where cheaper."""
    return gemm.m * min(rank * (gemm.n + gemm.k), gemm.n * gemm.k)


def factored_ranks(gemm: Gemm) -> int:
    """Return how many ranks, from 0 on, cost less as a product than the dense weight."""
    return -(-gemm.n * gemm.k // (gemm.n + gemm.k))


def share_ranks(
    losses: Mapping[str, FloatArray], workload: Workload, sparsity_percent: float
) -> Allocation:
    """Choose every layer's rank by a multiple-choice knapsack.

    A layer's losses are convex in its rank and its costs linear, but staying
    dense is a bargain aside: all of the loss is gone for the MACs of an
    incomplete rank. So one slope for all layers would not do.

    Parameters
    ----------
    losses
        Of each layer: `Spectrum.loss`.
    workload
        Operators of one inference; names the layers' shapes and rows.
    sparsity_percent
        Share of these layers' dense MACs to remove, above 0 and below 100.

    Returns
    -------
    `choice[name].removed` is how many ranks below min(N, K) a layer ends; 0 is
    dense. `costs["macs"]` is exact, of the whole inference.

    Raises
    ------
    LspsimError
        When the sparsity is out of range.
    """
    budget = sparsity_budget(workload, sparsity_percent)
    gemms = [gemm for gemm in workload.gemms if gemm.name in losses]
    layers = []
    for gemm in gemms:
        full = min(gemm.n, gemm.k)
        ranks = [*range(factored_ranks(gemm)), full]
        layers.append(
            LayerMenu(
                gemm.name,
                tuple(Choice(0, full - rank) for rank in ranks),
                losses[gemm.name][ranks],
                np.array([[rank_macs(gemm, rank)] for rank in ranks], np.float64),
            )
        )
    shared = sum(gemm.macs_dense for gemm in gemms)
    return knapsack(
        Menus(
            tuple(layers),
            (budget,),
            np.array([workload.macs_dense - shared], np.float64),
            np.array([float(budget.limit)], np.float64),
        )
    )

"""Random layers with correlated inputs, and slow oracles, for the compensation tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def layer(seed: int, outputs: int, inputs: int, rank: int | None = None) -> tuple[FloatArray, ...]:
    """Weight `[N, K]`, its inputs `[rows, K]` (centred) and their Gram."""
    rng = np.random.default_rng(seed)
    rank = rank or inputs
    mix = rng.standard_normal((rank, inputs)) * np.linspace(2, 0.1, rank)[:, None]
    x = rng.standard_normal((5 * inputs, rank)) @ mix + 0.05 * rng.standard_normal(
        (5 * inputs, inputs)
    )
    x -= x.mean(0)
    return rng.standard_normal((outputs, inputs)), x, x.T @ x / len(x)


def ridge_of(gram: FloatArray, damping: float) -> float:
    return damping * float(np.trace(gram)) / len(gram)


def solve_row(
    weight: FloatArray, hessian: FloatArray, kept: NDArray[np.bool_]
) -> tuple[FloatArray, float]:
    """Best weights `[rows, K]` that are zero outside `kept` `[K]`, and their error, from scratch.

    By least squares on a square root of the damped Gram: numpy's lstsq, no
    inverse and no update.
    """
    values, vectors = np.linalg.eigh(hessian)
    root = vectors * np.sqrt(values) @ vectors.T
    result = np.zeros_like(weight)
    if kept.any():
        result[:, kept] = np.linalg.lstsq(root[:, kept], root @ weight.T, rcond=None)[0].T
    change = result - weight
    return result, float(np.trace(change @ hessian @ change.T))


def greedy_row(
    weight: FloatArray, hessian: FloatArray, width: int
) -> tuple[list[int], list[float], list[FloatArray]]:
    """Remove block-columns greedily, trying each one by solving from scratch."""
    inputs = weight.shape[1]
    cols = -(-inputs // width)
    block_of = np.arange(inputs) // width
    gone: list[int] = []
    errors, weights = [0.0], [weight]
    while len(gone) < cols:
        trials = []
        for block in sorted(set(range(cols)) - set(gone)):
            kept = ~np.isin(block_of, [*gone, block])
            solved, error = solve_row(weight, hessian, kept)
            trials.append((error, block, solved))
        error, block, solved = min(trials, key=lambda trial: trial[0])
        gone.append(block)
        errors.append(error)
        weights.append(solved)
    return gone, errors, weights

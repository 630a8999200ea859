"""One removal order for a layer from the independent sequences of its block-rows."""

from __future__ import annotations

import numpy as np

from lspsim.arrays import FloatArray, IntArray


def hull_slopes(steps: FloatArray) -> FloatArray:
    """Return the slopes of the lower convex hull under the running sum of `steps`.

    Pooling adjacent violators: a step that is cheaper than its predecessor is
    averaged with it. The result never falls and has the same total.

    Parameters
    ----------
    steps
        float64 `[n]`: cost of each step of one sequence, in order.
    """
    totals: list[float] = []
    counts: list[int] = []
    for step in steps.tolist():
        totals.append(step)
        counts.append(1)
        while len(totals) > 1 and totals[-2] * counts[-1] >= totals[-1] * counts[-2]:
            total, count = totals.pop(), counts.pop()
            totals[-1] += total
            counts[-1] += count
    means = np.array(totals, np.float64) / np.array(counts, np.float64)
    return np.maximum.accumulate(np.repeat(means, np.array(counts, np.int64)))


def merge_rows(order: IntArray, steps: FloatArray) -> tuple[IntArray, FloatArray]:
    """Interleave per-row removal sequences, cheapest first.

    The rows do not interact, so the best set of a given size takes a prefix of
    each row. Following the slopes of each row's lower hull gives the best
    prefixes at every size where a hull corner is reached; a plain "smallest
    next step" would stop in front of a dear step behind which cheap ones wait.

    Parameters
    ----------
    order
        int64 `[rows, cols]`: block-columns of each row in the order of removal.
    steps
        float64 `[rows, cols]`: cost of each removal.

    Returns
    -------
    Flat block numbers (row-major, int64 `[rows * cols]`) in the merged order,
    and the cost of each removal in that order (float64, same length).
    """
    rows, cols = order.shape
    slopes = np.stack([hull_slopes(row) for row in steps]) if rows else steps
    sequence = np.argsort(slopes.ravel(), kind="stable")
    flat = (np.arange(rows)[:, None] * cols + order).ravel()
    return flat[sequence], steps.ravel()[sequence]

"""Multiple-choice knapsack by dynamic programming over whole bins of one cost."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def knapsack(start, cost, loss, bins, choice):
    """Pick one point per layer: least summed loss with summed cost at most `bins`.

    `best[b]` is the least loss of the layers so far within b bins; each layer is a
    min-plus convolution with its menu. Time: points x bins.

    Parameters
    ----------
    start
        int64 `[layers + 1]`: layer l owns the points `start[l]` to `start[l + 1] - 1`.
    cost
        int64 `[points]`: bins that a point takes, not negative.
    loss
        float64 `[points]`.
    bins
        Capacity.
    choice
        int64 `[layers]`, overwritten: number of the point within its layer.

    Returns
    -------
    Summed loss, or infinity where nothing fits (`choice` is then meaningless).
    """
    layers = start.size - 1
    best = np.zeros(bins + 1)
    fresh = np.empty(bins + 1)
    picked = np.empty((layers, bins + 1), np.int32)
    pick = np.empty(bins + 1, np.int64)
    for layer in range(layers):
        fresh[:] = np.inf
        pick[:] = 0
        for p in range(start[layer], start[layer + 1]):
            c = cost[p]
            value = loss[p]
            number = p - start[layer]
            for b in range(bins + 1 - c):
                total = best[b] + value
                better = total < fresh[b + c]
                fresh[b + c] = total if better else fresh[b + c]
                pick[b + c] = number if better else pick[b + c]
        picked[layer] = pick
        best, fresh = fresh, best
    left = bins
    for back in range(layers):
        layer = layers - 1 - back
        choice[layer] = picked[layer, left]
        left -= cost[start[layer] + choice[layer]]
    return best[bins]

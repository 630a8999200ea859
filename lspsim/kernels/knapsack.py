"""Multiple-choice knapsack by dynamic programming over whole bins of one cost."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def knapsack(start, cost, loss, bins, real, room, choice):
    """Pick one point per layer: least summed loss with summed cost within the room.

    `best[b]` is the least loss of the layers so far within b bins; each layer is a
    min-plus convolution with its menu. Time: points x bins. Costs rounded up to bins
    overstate a sum by up to a bin per layer, so selections of up to that many bins
    more are looked at, from the largest on: the first whose real cost fits is taken.

    Parameters
    ----------
    start
        int64 `[layers + 1]`: layer l owns the points `start[l]` to `start[l + 1] - 1`.
    cost
        int64 `[points]`: bins that a point takes, not negative.
    loss
        float64 `[points]`.
    bins
        Capacity: selections within it surely fit.
    real, room
        float64 `[points]` costs before rounding, and what their sum may be.
    choice
        int64 `[layers]`, overwritten: number of the point within its layer.

    Returns
    -------
    Summed loss, or infinity where nothing fits (`choice` is then meaningless).
    """
    layers = start.size - 1
    most = bins + layers
    best = np.zeros(most + 1)
    fresh = np.empty(most + 1)
    picked = np.empty((layers, most + 1), np.int32)
    pick = np.empty(most + 1, np.int64)
    for layer in range(layers):
        fresh[:] = np.inf
        pick[:] = 0
        for p in range(start[layer], start[layer + 1]):
            c = cost[p]
            value = loss[p]
            number = p - start[layer]
            for b in range(most + 1 - c):
                total = best[b] + value
                better = total < fresh[b + c]
                fresh[b + c] = total if better else fresh[b + c]
                pick[b + c] = number if better else pick[b + c]
        picked[layer] = pick
        best, fresh = fresh, best
    for capacity in range(most, bins - 1, -1):
        if best[capacity] == np.inf:
            break
        left = capacity
        spent = 0.0
        for back in range(layers):
            layer = layers - 1 - back
            choice[layer] = picked[layer, left]
            left -= cost[start[layer] + choice[layer]]
            spent += real[start[layer] + choice[layer]]
        if spent <= room or capacity == bins:
            return best[capacity]
    return np.inf

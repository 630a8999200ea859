"""Work units to cores (docs/model.md, "Cores")."""

from __future__ import annotations

import numpy as np
from numba import njit

from lspsim.kernels.layout import ROUND_ROBIN


@njit(cache=True, nogil=True)
def assign_units(loads, instances, cores, assignment, core_of):
    """Choose a core for every (instance, column).

    Parameters
    ----------
    loads
        int64 `[columns]`: folds of each column of one instance.
    instances, cores, assignment
        Repetitions of the columns, number of cores, ROUND_ROBIN or LONGEST_FIRST.
    core_of
        int64 `[instances * columns]`, overwritten.
    """
    columns = loads.size
    total = instances * columns
    if cores == 1 or assignment == ROUND_ROBIN:
        for u in range(total):
            core_of[u] = u % cores
        return
    # descending folds, ties to the lower number: a counting sort over the load
    heaviest = 0
    for j in range(columns):
        heaviest = max(heaviest, loads[j])
    starts = np.zeros(heaviest + 2, np.int64)
    for j in range(columns):
        starts[heaviest - loads[j] + 1] += instances
    for b in range(heaviest + 1):
        starts[b + 1] += starts[b]
    order = np.empty(total, np.int64)
    for u in range(total):
        b = heaviest - loads[u % columns]
        order[starts[b]] = u
        starts[b] += 1
    busy = np.zeros(cores, np.int64)
    for r in range(total):
        u = order[r]
        best = 0
        for p in range(1, cores):
            if busy[p] < busy[best]:
                best = p
        core_of[u] = best
        busy[best] += loads[u % columns]

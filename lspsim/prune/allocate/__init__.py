"""Allocation: which layer loses how many blocks, so that every budget holds."""

from lspsim.prune.allocate.bound import Bound, lagrangian_bound
from lspsim.prune.allocate.dynamic import knapsack
from lspsim.prune.allocate.greedy import greedy
from lspsim.prune.allocate.lagrangian import lagrangian
from lspsim.prune.allocate.repair import Repaired, repair
from lspsim.prune.allocate.result import Allocation
from lspsim.prune.allocate.search import Method, Outcome, search
from lspsim.prune.allocate.uniform import uniform

__all__ = [
    "Allocation",
    "Bound",
    "Method",
    "Outcome",
    "Repaired",
    "greedy",
    "knapsack",
    "lagrangian",
    "lagrangian_bound",
    "repair",
    "search",
    "uniform",
]

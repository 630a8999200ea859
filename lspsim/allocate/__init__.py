"""Allocation: which layer loses how many blocks, so that every budget holds."""

from lspsim.allocate.allocators.allocation import Allocation
from lspsim.allocate.allocators.bound import Bound, lagrangian_bound
from lspsim.allocate.allocators.greedy import greedy
from lspsim.allocate.allocators.knapsack import knapsack
from lspsim.allocate.allocators.lagrangian import lagrangian
from lspsim.allocate.allocators.uniform import uniform
from lspsim.allocate.reach import Reach, least_reachable
from lspsim.allocate.repair import Repaired, repair
from lspsim.allocate.search import Method, Outcome, search

__all__ = [
    "Allocation",
    "Bound",
    "Method",
    "Outcome",
    "Reach",
    "Repaired",
    "greedy",
    "knapsack",
    "lagrangian",
    "lagrangian_bound",
    "least_reachable",
    "repair",
    "search",
    "uniform",
]

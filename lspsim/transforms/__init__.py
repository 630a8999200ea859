"""Changes of a model that keep its function and make its blocks cheaper to remove."""

from lspsim.transforms.balance import balance_channels
from lspsim.transforms.dead_units import (
    dead_units,
    free_blocks,
    uncoupled,
)
from lspsim.transforms.permute import (
    Permutations,
    find_permutations,
    permute,
    removal_order,
)
from lspsim.transforms.rebase import Heads, rebase
from lspsim.transforms.residual import residual_obstacle, rotate_residual
from lspsim.transforms.rotate import rotate_heads

__all__ = [
    "Heads",
    "Permutations",
    "balance_channels",
    "dead_units",
    "find_permutations",
    "free_blocks",
    "permute",
    "rebase",
    "removal_order",
    "residual_obstacle",
    "rotate_heads",
    "rotate_residual",
    "uncoupled",
]

"""Changes of a model that keep its function and make its blocks cheaper to remove."""

from lspsim.prune.transforms.balance import balance_channels
from lspsim.prune.transforms.dead_coupling import (
    couple_curves,
    dead_units,
    free_blocks,
    uncoupled,
)
from lspsim.prune.transforms.permute import (
    Permutations,
    find_permutations,
    permute,
    removal_order,
)
from lspsim.prune.transforms.rebase import Heads, rebase
from lspsim.prune.transforms.residual import residual_obstacle, rotate_residual
from lspsim.prune.transforms.rotate import rotate_heads

__all__ = [
    "Heads",
    "Permutations",
    "balance_channels",
    "couple_curves",
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

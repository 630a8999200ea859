"""Changes of a model that keep its function and make its blocks cheaper to remove.

Start with `rebase`, which applies them all. `units` says which rows and columns belong
together, `stream` who reads and writes the residual stream. Then one change per
file: `permute` sorts hidden units and head channels, `rotate` rotates head channels,
`residual` rotates the stream once `fold` has emptied its norms, `balance` evens
out scales at the end. `dead_units` finds blocks that are free because of removed ones.
"""

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
from lspsim.transforms.rebase import Changes, Heads, rebase
from lspsim.transforms.residual import rotate_residual
from lspsim.transforms.rotate import rotate_heads
from lspsim.transforms.stream import residual_obstacle

__all__ = [
    "Changes",
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

"""All changes of basis at once, from one set of statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from torch import nn

from lspsim.errors import LspsimError
from lspsim.transforms.permute import (
    InputStatistics,
    Permutations,
    find_permutations,
    permute,
)
from lspsim.transforms.residual import rotate_residual
from lspsim.transforms.rotate import rotate_heads

Heads = Literal["keep", "permute", "rotate"]


def rebase(
    model: nn.Module,
    statistics: Mapping[str, InputStatistics],
    heads: Heads = "rotate",
    residual: bool = True,
    damping: float = 0.01,
) -> tuple[nn.Module, Permutations]:
    """Return a copy of `model` in bases whose blocks are cheap to remove; same function.

    Hidden units are always permuted. The changes are independent: each is
    chosen from the statistics of the model as it is given, and none moves what
    another one looks at. Statistics for scores have to be collected anew.

    Parameters
    ----------
    model
        timm ViT or (without `residual`) Swin.
    statistics
        Of all its prunable layers.
    heads
        What to do with value and query/key channels.
    residual
        Whether to rotate the residual stream (see `residual_obstacle`).
    damping
        Of the removal orders.

    Returns
    -------
    The model, and the permutations that were applied.

    Raises
    ------
    LspsimError
        When statistics are missing, or `heads` is none of the known.
    ModelError
        When the residual stream of this model cannot be rotated.
    """
    if heads not in get_args(Heads):
        raise LspsimError(f"heads {heads!r} is not known; choose one of {get_args(Heads)}")
    orders = find_permutations(model, statistics, damping)
    if heads != "permute":
        orders = Permutations(orders.hidden, {}, {})
    result = rotate_heads(model, statistics) if heads == "rotate" else model
    if residual:
        result = rotate_residual(result, statistics)
    return permute(result, orders), orders

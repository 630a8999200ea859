"""All changes of basis at once, from one set of statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
from lspsim.transforms.stream import residual_obstacle
from lspsim.transforms.units import attentions, mlps

Heads = Literal["keep", "permute", "rotate"]

_VERBS: dict[Heads, str] = {"keep": "kept", "permute": "sorted", "rotate": "rotated"}


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """What `rebase` did to a model.

    Parameters
    ----------
    permutations
        That were applied.
    applied
        By part of the network ("residual stream", "values", ...): "rotated", "sorted" or
        "kept"; with the reason where something else was asked for.
    """

    permutations: Permutations
    applied: Mapping[str, str]

    @property
    def kept(self) -> dict[str, str]:
        """Of `applied`, what was kept for a reason, wholly or in part."""
        return {part: what for part, what in self.applied.items() if ": " in what}


def rebase(
    model: nn.Module,
    statistics: Mapping[str, InputStatistics],
    heads: Heads = "rotate",
    residual: bool = True,
    damping: float = 0.01,
) -> tuple[nn.Module, Changes]:
    """Return a copy of `model` in bases whose blocks are cheap to remove; same function.

    Hidden units are always permuted. The changes are independent: each is
    chosen from the statistics of the model as it is given, and none moves what
    another one looks at. Statistics for scores have to be collected anew. What a
    model does not allow is left as it is, and `Changes` says so.

    Parameters
    ----------
    model
        timm ViT or Swin.
    statistics
        Of all its prunable layers.
    heads
        What to do with value and query/key channels.
    residual
        Whether to rotate the residual stream, unless there is a `residual_obstacle`.
    damping
        Of the removal orders.

    Returns
    -------
    The model, and what was done to it.

    Raises
    ------
    LspsimError
        When statistics are missing, or `heads` is none of the known.
    """
    if heads not in get_args(Heads):
        raise LspsimError(f"heads {heads!r} is not known; choose one of {get_args(Heads)}")
    orders = find_permutations(model, statistics, damping)
    if heads != "permute":
        orders = Permutations(orders.hidden, {}, {})
    result = rotate_heads(model, statistics) if heads == "rotate" else model
    stream = "kept"
    if residual:
        obstacle = residual_obstacle(model)
        stream = f"kept: {obstacle}" if obstacle else "rotated"
        result = result if obstacle else rotate_residual(result, statistics)
    parts, verb = attentions(model), _VERBS[heads]
    plain = [path in orders.hidden for path in mlps(model, mixed=True)]
    values = [not part.value_norm for part in parts]
    pairs = [not part.qk_norm for part in parts]
    applied = {
        "residual stream": stream,
        "values": _applied(verb, values, "a norm or a gate reads them before proj"),
        "queries and keys": _applied(verb, pairs, "a norm reads them"),
        "hidden units": _applied("sorted", plain, "a norm or a gate reads them before fc2"),
    }
    return permute(result, orders), Changes(orders, applied)


def _applied(verb: str, free: list[bool], reason: str) -> str:
    """Return what was done to units of which those that are not free had to be kept."""
    if verb == "kept" or all(free):
        return verb
    if not any(free):
        return f"kept: {reason}"
    return f"{verb} in {sum(free)} of {len(free)} blocks, kept in the others: {reason}"

"""Which rows and columns of a block's four layers belong to one hidden unit.

Inside a transformer block three kinds of units are private to it: the MLP's
hidden units (a row of fc1, a column of fc2), a head's value channels (a V row
of qkv, a column of proj), and its query/key channels (a Q row and a K row of
qkv). They may be renamed, and they die, together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from lspsim.errors import ModelError


@dataclass(frozen=True, slots=True)
class Attention:
    """Geometry of one attention.

    Parameters
    ----------
    path
        Module path ("blocks.0.attn").
    heads, head_dim
        Number of heads and channels per head.
    qk_norm
        Whether queries and keys are normalised over the head's channels.
    value_norm
        Whether something other than proj reads the head outputs (a norm, a gate).
    """

    path: str
    heads: int
    head_dim: int
    qk_norm: bool
    value_norm: bool

    @property
    def width(self) -> int:
        """Channels over all heads; qkv has three times as many rows: Q, K, V."""
        return self.heads * self.head_dim


def attentions(model: nn.Module) -> list[Attention]:
    """Return the attentions of timm's ViT and Swin blocks, in module order.

    Raises
    ------
    ModelError
        When a qkv has not three rows per column of its proj.
    """
    found = []
    for path, module in model.named_modules():
        qkv, proj = getattr(module, "qkv", None), getattr(module, "proj", None)
        if not isinstance(qkv, nn.Linear) or not isinstance(proj, nn.Linear):
            continue
        part: Any = module
        width = proj.in_features
        if qkv.out_features != 3 * width:
            raise ModelError(
                f"{path}: qkv has {qkv.out_features} outputs, proj reads {width}; "
                "expected three times as many"
            )
        found.append(
            Attention(
                path,
                part.num_heads,
                width // part.num_heads,
                not (_is_identity(module, "q_norm") and _is_identity(module, "k_norm")),
                not _is_identity(module, "norm") or getattr(module, "gate", None) is not None,
            )
        )
    return found


def mlps(model: nn.Module, mixed: bool = False) -> list[str]:
    """Return the paths of MLPs: fc1, activation, fc2.

    Those with something between that mixes hidden units are left out unless `mixed`.
    """
    return [
        path
        for path, module in model.named_modules()
        if isinstance(getattr(module, "fc1", None), nn.Linear)
        and isinstance(getattr(module, "fc2", None), nn.Linear)
        and (mixed or module.fc1.out_features == module.fc2.in_features)
        and (mixed or _is_identity(module, "norm"))
    ]


def _is_identity(module: nn.Module, name: str) -> bool:
    child = getattr(module, name, None)
    return child is None or isinstance(child, nn.Identity)

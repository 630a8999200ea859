"""`compact`: dead heads and neurons cut out of a pruned network.

A pruned network is a normal timm model with zeroed blocks. Where all blocks of a head or
a neuron are removed, its matrices can shrink, and the outputs stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lspsim.errors import LspsimError, ModelError
from lspsim.models.load import fill
from lspsim.transforms.units import Attention, attentions, mlps


@dataclass(frozen=True, slots=True)
class Removed:
    """What `compact` cut out: numbers of heads and neurons by module path."""

    heads: Mapping[str, tuple[int, ...]]
    """By attention ("blocks.0.attn"); attentions that stay whole are left out."""
    neurons: Mapping[str, tuple[int, ...]]
    """By MLP ("blocks.0.mlp")."""


def compact(model: nn.Module, group: int = 1) -> Removed:
    """Cut dead heads and neurons out of a pruned `model`, in place; outputs do not change.

    A neuron is dead when nothing reads it (its fc2 column is zero) or when it is
    constant (its fc1 row is zero: the activation of its bias). A head is dead when
    proj reads none of its channels, or all its V rows are zero: softmax weights sum
    to one, so that its output is V's bias. Constants go into the bias of the layer
    that read them. Units stay where something mixes them in between (a norm, a gate),
    or where a constant would need a bias that the layer lacks. Each attention keeps
    at least one head, each MLP one group.

    Parameters
    ----------
    model
        A ViT or Swin of timm with zeroed blocks.
    group
        Neurons go in aligned groups of this many. With the masks' block size, what
        is left has the blocks it had.

    Raises
    ------
    LspsimError
        When `group` is below 1.
    """
    if group < 1:
        raise LspsimError(f"compact: group must be at least 1 neuron, got {group}")
    heads = {}
    neurons = {}
    with torch.no_grad():
        for attention in attentions(model):
            module: Any = model.get_submodule(attention.path)
            if not attention.value_norm and (gone := _dead_heads(module, attention)):
                _cut_heads(module, attention, gone)
                heads[attention.path] = tuple(gone)
        for path in mlps(model):
            module = model.get_submodule(path)
            if gone := _dead_neurons(module, group):
                _cut_neurons(module, gone)
                neurons[path] = tuple(gone)
    return Removed(heads, neurons)


def load_compact(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Give `model` the widths of a compacted one and its weights, in place; return it.

    Parameters
    ----------
    model
        The architecture before `compact`.
    state
        State dict after it.

    Raises
    ------
    ModelError
        When `state` is of another architecture.
    """
    for attention in attentions(model):
        rows = _rows(state, f"{attention.path}.qkv")
        heads = rows // (3 * attention.head_dim)
        if heads * 3 * attention.head_dim != rows or not 0 < heads <= attention.heads:
            raise ModelError(
                f"{attention.path}: {rows} rows of qkv are not 1 to {attention.heads} heads of "
                f"{attention.head_dim} channels; name the architecture that was compacted"
            )
        if heads < attention.heads:
            gone = list(range(heads, attention.heads))
            _cut_heads(model.get_submodule(attention.path), attention, gone)
    for path in mlps(model):
        module: Any = model.get_submodule(path)
        width = _rows(state, f"{path}.fc1")
        if width < module.fc1.out_features:
            _cut_neurons(module, list(range(width, module.fc1.out_features)))
    fill(model, dict(state), "compact model")
    return model


def _rows(state: Mapping[str, Tensor], layer: str) -> int:
    weight = state.get(f"{layer}.weight")
    if weight is None or weight.ndim != 2 or weight.shape[0] < 1:
        raise ModelError(
            f"the state dict has no matrix {layer}.weight; name the architecture that was compacted"
        )
    return int(weight.shape[0])


def _dead_heads(module: Any, attention: Attention) -> list[int]:
    """Return the heads that can go, after moving their constants into proj's bias."""
    width, dim = attention.width, attention.head_dim
    value = module.qkv.weight[2 * width :]
    bias = value.new_zeros(width) if module.qkv.bias is None else module.qkv.bias[2 * width :]
    per_head = (attention.heads, dim)
    unread = (module.proj.weight == 0).all(dim=0).view(per_head).all(dim=1)
    constant = (value == 0).all(dim=1).view(per_head).all(dim=1)
    return _settle(module.proj, unread, constant, bias, dim, 1)


def _dead_neurons(module: Any, group: int) -> list[int]:
    """Return the neurons that can go, after moving their constants into fc2's bias."""
    weight = module.fc1.weight
    bias = weight.new_zeros(weight.shape[0]) if module.fc1.bias is None else module.fc1.bias
    unread = (module.fc2.weight == 0).all(dim=0)
    constant = (weight == 0).all(dim=1)
    return _settle(module.fc2, unread, constant, module.act(bias), 1, group)


def _settle(
    reader: Any, unread: Tensor, constant: Tensor, value: Tensor, size: int, group: int
) -> list[int]:
    """Choose which units go, and fold those that are constant into the reader's bias.

    Parameters
    ----------
    reader
        The layer whose columns they are, `size` per unit.
    unread, constant
        bool `[units]`.
    value
        `[units * size]`: what a constant unit's channels hold.
    size
        Channels per unit.
    group
        Aligned groups of this many units go together.
    """
    if reader.bias is None:  # then only what is constant at zero can go
        constant = constant & (value.view(-1, size) == 0).all(dim=1)
    gone = unread | constant
    units = gone.numel()
    groups = [range(a, min(a + group, units)) for a in range(0, units, group)]
    dead = [units for units in groups if bool(gone[list(units)].all())]
    if len(dead) == len(groups):
        dead = dead[1:]
    chosen = [unit for units in dead for unit in units]
    columns = _channels([unit for unit in chosen if not unread[unit]], size)
    if columns and reader.bias is not None:
        reader.bias += reader.weight[:, columns] @ value[columns]
    return chosen


def _channels(units: list[int], size: int) -> list[int]:
    return [unit * size + channel for unit in units for channel in range(size)]


def _cut_heads(module: Any, attention: Attention, gone: list[int]) -> None:
    """Shrink timm's `Attention` or `WindowAttention` to the other heads."""
    kept = [head for head in range(attention.heads) if head not in set(gone)]
    columns = _channels(kept, attention.head_dim)
    rows = [part * attention.width + column for part in range(3) for column in columns]
    _keep(module.qkv, rows=rows)
    _keep(module.proj, columns=columns)
    module.num_heads = len(kept)
    if hasattr(module, "attn_dim"):
        module.attn_dim = len(columns)
    table = getattr(module, "relative_position_bias_table", None)
    if table is not None:
        module.relative_position_bias_table = _parameter(table, table[:, kept])


def _cut_neurons(module: Any, gone: list[int]) -> None:
    dead = set(gone)
    kept = [unit for unit in range(module.fc1.out_features) if unit not in dead]
    _keep(module.fc1, rows=kept)
    _keep(module.fc2, columns=kept)


def _keep(
    layer: nn.Linear, rows: list[int] | None = None, columns: list[int] | None = None
) -> None:
    """Shrink a linear layer to the given outputs, inputs, or both, in place."""
    if rows is not None:
        layer.weight = _parameter(layer.weight, layer.weight[rows])
        layer.out_features = len(rows)
        if layer.bias is not None:
            layer.bias = _parameter(layer.bias, layer.bias[rows])
    if columns is not None:
        layer.weight = _parameter(layer.weight, layer.weight[:, columns])
        layer.in_features = len(columns)


def _parameter(old: Tensor, values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(), requires_grad=old.requires_grad)

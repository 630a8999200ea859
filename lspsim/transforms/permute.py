"""Permutation before blocking: put units that go together into one block.

Hidden units, value channels and query/key channels carry no order. Sorting
them by when single-column OBS would remove them gathers dispensable units in
the same blocks, so that whole blocks become cheap. The network's function
stays what it was.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lspsim.arrays import FloatArray, IntArray
from lspsim.calibrate.damped_gram import ArrayLike, damped, escalate, float64
from lspsim.errors import LspsimError
from lspsim.transforms.units import Attention, attentions, mlps

STEPS = 256
"""Most steps of one removal order; wider layers lose several columns per step."""


class InputStatistics(Protocol):
    """What a transform needs to know of a layer (float64)."""

    @property
    def weight(self) -> FloatArray:
        """`[N, K]`."""

    @property
    def gram(self) -> FloatArray:
        """`[K, K]`, per row: centred where the layer has a bias, else about zero."""

    @property
    def covariance(self) -> FloatArray:
        """`[K, K]`, centred, per row."""

    @property
    def input_mean(self) -> FloatArray:
        """`[K]`."""

    @property
    def row_gain(self) -> FloatArray:
        """`[N]`: mean over images of the sum over tokens of the squared gradient."""


@dataclass(frozen=True, slots=True, eq=False)
class Permutations:
    """New orders of the private units of every block.

    Entry i of an order is the old number of the unit that is new unit i.

    Parameters
    ----------
    hidden
        By MLP path: int64 `[F]`.
    value, query_key
        By attention path: int64 `[A]`, heads stay where they are.
    """

    hidden: dict[str, IntArray]
    value: dict[str, IntArray]
    query_key: dict[str, IntArray]

    def arrays(self) -> dict[str, IntArray]:
        """Return every order under one name, e.g. `blocks.0.mlp.hidden`."""
        kinds = {"hidden": self.hidden, "value": self.value, "query_key": self.query_key}
        return {
            f"{path}.{kind}": order
            for kind, found in kinds.items()
            for path, order in found.items()
        }

    def layer_orders(self) -> dict[str, tuple[IntArray | None, IntArray | None]]:
        """Return by layer the order of its rows and of its columns (None: as they were).

        With these, statistics of the old model become those of the permuted one.
        """
        result: dict[str, tuple[IntArray | None, IntArray | None]] = {}
        for path, order in self.hidden.items():
            result[f"{path}.fc1"] = (order, None)
            result[f"{path}.fc2"] = (None, order)
        for path in {**self.value, **self.query_key}:
            some = self.value.get(path, self.query_key.get(path))
            assert some is not None
            same = np.arange(len(some))
            pairs, value = self.query_key.get(path, same), self.value.get(path, same)
            size = len(same)
            rows = np.concatenate([pairs, size + pairs, 2 * size + value])
            result[f"{path}.qkv"] = (rows, None)
            result[f"{path}.proj"] = (None, value)
        return result


def removal_order(
    weight: ArrayLike,
    gram: ArrayLike,
    row_scale: ArrayLike | None = None,
    damping: float = 0.01,
    steps: int = STEPS,
) -> IntArray:
    """Return the columns of a layer in the order single-column OBS removes them.

    All rows lose a column together: score `|W_j|^2 / (H^-1)_jj` with the rows
    scaled (Hassibi & Stork 1993, summed over rows). Layers wider than `steps`
    lose the cheapest few columns per step, jointly compensated.

    Parameters
    ----------
    weight, gram, row_scale, damping
        As in `block_obs`.
    steps
        Most steps.

    Returns
    -------
    int64 `[K]`, first removed first.
    """
    w, h = float64(weight), float64(gram)
    if row_scale is not None:
        w = w * float64(row_scale)[:, None]
    while True:
        system = damped(h, damping, "removal order")
        order = _remove_columns(w, torch.cholesky_inverse(system.factor), steps)
        if order is not None:
            return order
        damping = escalate(system.damping)


def _remove_columns(weight: torch.Tensor, inverse: torch.Tensor, steps: int) -> IntArray | None:
    """Remove all columns; None when a pivot is not positive definite."""
    size = len(inverse)
    group = -(-size // steps)
    names = torch.arange(size)
    order = []
    while len(names):
        scores = weight.square().sum(0) / inverse.diagonal()
        sequence = torch.argsort(scores, stable=True)
        gone, kept = sequence[:group], sequence[group:].sort().values
        order.append(names[gone])
        triangle, info = torch.linalg.cholesky_ex(inverse[gone][:, gone])
        if int(info):
            return None
        root = torch.linalg.solve_triangular(
            triangle, torch.eye(len(gone), dtype=inverse.dtype), upper=False
        ).mT
        panel = inverse[kept][:, gone] @ root
        weight = weight[:, kept] - (weight[:, gone] @ root) @ panel.mT
        inverse = inverse[kept][:, kept] - panel @ panel.mT
        names = names[kept]
    return torch.cat(order).numpy()


def find_permutations(
    model: nn.Module, statistics: Mapping[str, InputStatistics], damping: float = 0.01
) -> Permutations:
    """Choose the order of every private unit from calibration statistics.

    fc1/fc2 units by the removal order on fc2; value channels within each head
    by that on proj; query/key channels within each head by
    `E[q_d^2] Var[k_d]`, what the channel contributes to the scores' spread
    over keys. Left alone are units that a norm mixes.

    Raises
    ------
    LspsimError
        When statistics of a layer are missing.
    """
    hidden = {}
    for path in mlps(model):
        found = _of(statistics, f"{path}.fc2")
        hidden[path] = removal_order(found.weight, found.gram, np.sqrt(found.row_gain), damping)
    value, query_key = {}, {}
    for part in attentions(model):
        if not part.value_norm:
            found = _of(statistics, f"{part.path}.proj")
            order = removal_order(found.weight, found.gram, np.sqrt(found.row_gain), damping)
            value[part.path] = _within_heads(order, part)
        if not part.qk_norm:
            found = _of(statistics, f"{part.path}.qkv")
            bias = getattr(model.get_submodule(f"{part.path}.qkv"), "bias", None)
            products = score_spread(found, bias, part.width)
            order = np.argsort(products, kind="stable")
            query_key[part.path] = _within_heads(order, part)
    return Permutations(hidden, value, query_key)


def score_spread(found: InputStatistics, bias: torch.Tensor | None, width: int) -> FloatArray:
    """Return `E[q_d^2] Var[k_d]` of every query/key channel, float64 `[width]`."""
    weight = np.asarray(found.weight)
    rows = weight[: 2 * width]
    variance = np.einsum("nk,kl,nl->n", rows, found.covariance, rows)
    mean = weight[:width] @ found.input_mean
    if bias is not None:
        mean = mean + float64(bias).numpy()[:width]
    result: FloatArray = (variance[:width] + mean**2) * variance[width:]
    return result


def _within_heads(order: IntArray, part: Attention) -> IntArray:
    """Sort each head's channels by where they stand in `order`."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    heads = rank.reshape(part.heads, part.head_dim)
    local = np.argsort(heads, axis=1, kind="stable")
    return (local + part.head_dim * np.arange(part.heads)[:, None]).ravel()


def _of(statistics: Mapping[str, InputStatistics], name: str) -> InputStatistics:
    if name not in statistics:
        raise LspsimError(f"permutation: no calibration statistics of {name!r} were collected")
    return statistics[name]


def permute(model: nn.Module, permutations: Permutations) -> nn.Module:
    """Return a copy of `model` with its units in the new orders; same function.

    Raises
    ------
    LspsimError
        When an order is no permutation of its layer's units.
    """
    result = copy.deepcopy(model)
    modules: dict[str, Any] = dict(result.named_modules())
    for name, (rows, columns) in permutations.layer_orders().items():
        layer = modules[name]
        for order, size in ((rows, layer.out_features), (columns, layer.in_features)):
            if order is not None and not np.array_equal(np.sort(order), np.arange(size)):
                raise LspsimError(f"{name}: the order is no permutation of {size} units")
        with torch.no_grad():
            if rows is not None:
                layer.weight.copy_(layer.weight[_index(rows)])
                if layer.bias is not None:
                    layer.bias.copy_(layer.bias[_index(rows)])
            if columns is not None:
                layer.weight.copy_(layer.weight[:, _index(columns)])
    return result


def _index(order: NDArray[np.int64]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(order))

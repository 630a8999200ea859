"""Dead coupling: blocks that cost nothing because of blocks that are removed already.

- A hidden unit whose fc2 column is all removed is read by nobody: its fc1 row
  is free. A unit whose fc1 row is all removed is constant: its fc2 column only
  adds to a bias, and is free once that is folded in.
- The same between V rows and proj columns: softmax weights sum to one, so a
  constant value channel leaves attention constant.
- A key channel whose row is removed is constant. It adds one number per query
  to all scores, which softmax does not see: the query channel is free. (Not
  conversely: a constant query channel still distinguishes keys by its bias. And
  not under QK normalisation, which mixes the channels of a head.)

A constant needs a bias to be folded into, unless it is zero: it is where the layer
that writes it has no bias either.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from lspsim.arrays import BoolArray
from lspsim.calibrate.blocked import element_keep
from lspsim.errors import LspsimError
from lspsim.transforms.units import attentions, mlps
from lspsim.workload.mask import BlockMask


@dataclass(frozen=True, slots=True, eq=False)
class DeadUnits:
    """Rows of a layer that nobody reads, and columns that never vary.

    Parameters
    ----------
    rows
        bool `[N]`.
    columns
        bool `[K]`.
    """

    rows: BoolArray
    columns: BoolArray


def dead_units(
    masks: Mapping[str, BlockMask], qk_norm: Collection[str] = (), mixed: Collection[str] = ()
) -> dict[str, DeadUnits]:
    """Return the dead rows and columns of every masked layer.

    Parameters
    ----------
    masks
        By module path; a layer without a mask counts as whole.
    qk_norm
        Paths of attentions that normalise queries and keys.
    mixed
        Paths of attentions and MLPs whose hidden units meet before the next
        layer (a norm or a gate between), or that lack the bias to fold a constant
        into: nothing is coupled across them.

    Raises
    ------
    LspsimError
        When the masks of a pair do not fit each other.
    """
    elements = {
        name: element_keep(mask.keep, mask.shape, mask.block_out, mask.block_in)
        for name, mask in masks.items()
    }
    dead = {
        name: DeadUnits(np.zeros(keep.shape[0], np.bool_), np.zeros(keep.shape[1], np.bool_))
        for name, keep in elements.items()
    }
    for name, keep in elements.items():
        path, _, leaf = name.rpartition(".")
        if leaf == "fc1" and path not in mixed and (reader := f"{path}.fc2") in elements:
            _couple(name, keep, reader, elements[reader], dead, 0)
        if leaf == "qkv":
            width = keep.shape[0] // 3
            if path not in mixed and (reader := f"{path}.proj") in elements:
                _couple(name, keep, reader, elements[reader], dead, 2 * width)
            if path not in qk_norm:
                dead[name].rows[:width] |= ~keep[width : 2 * width].any(1)
    return dead


def _couple(
    writer: str,
    writes: BoolArray,
    reader: str,
    reads: BoolArray,
    dead: dict[str, DeadUnits],
    first: int,
) -> None:
    """Couple rows `first:` of `writer` with the columns of `reader`."""
    rows = writes[first:]
    if len(rows) != reads.shape[1]:
        raise LspsimError(
            f"masks: {writer} has {len(rows)} units for {reader}, which reads {reads.shape[1]}"
        )
    dead[writer].rows[first:] |= ~reads.any(0)
    dead[reader].columns[:] |= ~rows.any(1)


def free_blocks(
    masks: Mapping[str, BlockMask], qk_norm: Collection[str] = (), mixed: Collection[str] = ()
) -> dict[str, BoolArray]:
    """Return, per layer, which kept blocks are free to remove: bool `[rows, cols]`.

    A block is free when all its rows or all its columns are dead. Removing
    free blocks can free others (where block sizes differ between layers);
    those are in the answer too. Arguments as in `dead_units`.
    """
    current = dict(masks)
    free = {name: np.zeros(mask.keep.shape, np.bool_) for name, mask in masks.items()}
    while True:
        found = False
        for name, units in dead_units(current, qk_norm, mixed).items():
            mask = current[name]
            rows = _all_in_block(units.rows, mask.block_out)
            columns = _all_in_block(units.columns, mask.block_in)
            new = mask.keep & (rows[:, None] | columns[None, :])
            if new.any():
                found = True
                free[name] |= new
                current[name] = BlockMask(
                    mask.keep & ~new, mask.block_out, mask.block_in, mask.shape
                )
        if not found:
            return free


def _all_in_block(units: BoolArray, size: int) -> BoolArray:
    """Whether all units of each block are set; the ragged edge counts as set."""
    padded = np.ones(-(-len(units) // size) * size, np.bool_)
    padded[: len(units)] = units
    return np.asarray(padded.reshape(-1, size).all(axis=1))


def uncoupled(model: nn.Module) -> tuple[frozenset[str], frozenset[str]]:
    """Return the `qk_norm` and `mixed` paths of `model`, as `dead_units` takes them."""
    found = attentions(model)
    every = mlps(model, mixed=True)
    mixed = {a.path for a in found if a.value_norm} | (set(every) - set(mlps(model)))
    pairs = [(a.path, "qkv", "proj") for a in found] + [(path, "fc1", "fc2") for path in every]
    for path, writer, reader in pairs:
        part: Any = model.get_submodule(path)
        if getattr(part, writer).bias is not None and getattr(part, reader).bias is None:
            mixed.add(path)
    return frozenset(a.path for a in found if a.qk_norm), frozenset(mixed)

"""`couple`: let the allocation know which blocks are dead because of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import lcm

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lspsim.allocate.curves import LayerCurve
from lspsim.arrays import BoolArray
from lspsim.transforms import free_blocks, uncoupled
from lspsim.workload import BlockMask

Masks = Mapping[str, BlockMask]


@dataclass(frozen=True, slots=True)
class _Half:
    """One of the two sides of a kind of units: rows or columns of a layer, from `first` on."""

    layer: str
    columns: bool
    first: int


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Neighbouring units of one kind that are dead: as few as blocks of both sides allow."""

    halves: tuple[_Half, _Half]
    start: int
    stop: int
    price: float
    """Estimated loss per weight of the removals that killed them."""


def couple(
    model: nn.Module,
    curves: Mapping[str, tuple[LayerCurve, ...]],
    masks: Masks,
    met: Callable[[Masks], bool] | None = None,
) -> tuple[dict[str, tuple[LayerCurve, ...]], int]:
    """Return curves on which everything that belongs to a dead unit is removed first, at no loss.

    That is the blocks which are free because a unit is dead, and those whose
    removal killed it: to take one of the latter back would revive nothing. What those
    were estimated to cost is remembered as sunk.

    Parameters
    ----------
    model
        Tells where units are not coupled (QK normalisation, gates).
    curves
        By layer, one per block size.
    masks
        What an allocation chose from these curves.
    met
        Whether masks meet every budget. Units stay dead for good, so only as many are
        committed, cheapest first, as do not meet the budgets by themselves: the
        allocation shall have the last word. Default: all are committed.

    Returns
    -------
    The new curves, and how many of their blocks `masks` kept that are free.
    """
    apart = uncoupled(model)
    free = free_blocks(masks, *apart)
    gone = {
        name: BlockMask(mask.keep & ~free[name], mask.block_out, mask.block_in, mask.shape)
        for name, mask in masks.items()
    }
    groups = sorted(_dead_groups(curves, masks, gone, *apart), key=lambda group: group.price)
    count = len(groups)
    if met is not None and met(_only(masks, groups)):
        low, high = 0, count  # `high` meets the budgets, `low` does not
        while high - low > 1:
            middle = (low + high) // 2
            if met(_only(masks, groups[:middle])):
                high = middle
            else:
                low = middle
        count = low
    coupled = dict(curves)
    freed = 0
    for name, (rows, columns) in _units(masks, groups[:count]).items():
        sunk = 0.0
        options = []
        for curve in curves[name]:
            committed = _blocks_of(rows, columns, curve.block_out, curve.block_in)
            if _same_size(curve, masks[name]):
                freed += int((committed & masks[name].keep).sum())
                killing = (committed & ~masks[name].keep).ravel()[curve.order]
                sunk = curve.sunk + float(np.diff(curve.loss)[killing].sum())
            options.append(couple_curves({name: curve}, {name: committed})[name])
        coupled[name] = tuple(replace(curve, sunk=sunk) for curve in options)
    return coupled, freed


def _pairs(
    masks: Masks, qk_norm: frozenset[str], mixed: frozenset[str]
) -> Iterator[tuple[_Half, _Half, int]]:
    """Yield the two sides of every kind of units, and how many units there are."""
    for name, mask in masks.items():
        path, _, kind = name.rpartition(".")
        rows = mask.shape[0]
        if kind == "fc1" and path not in mixed and f"{path}.fc2" in masks:
            yield _Half(name, False, 0), _Half(f"{path}.fc2", True, 0), rows
        if kind == "qkv":
            width = rows // 3
            if path not in mixed and f"{path}.proj" in masks:
                yield _Half(name, False, 2 * width), _Half(f"{path}.proj", True, 0), width
            if path not in qk_norm:
                yield _Half(name, False, width), _Half(name, False, 0), width


def _dead_groups(
    curves: Mapping[str, tuple[LayerCurve, ...]],
    masks: Masks,
    gone: Masks,
    qk_norm: frozenset[str],
    mixed: frozenset[str],
) -> Iterator[_Group]:
    """Yield the groups of units of which both sides are all removed in `gone`."""
    prices = {name: _steps(options, masks[name]) for name, options in curves.items()}
    for one, other, units in _pairs(masks, qk_norm, mixed):
        step = lcm(*(_block_side(masks, half) for half in (one, other)))
        for start in range(0, units, step):
            stop = min(start + step, units)
            parts = [(half.layer, _blocks(masks, half, start, stop)) for half in (one, other)]
            if any(gone[layer].keep[part].any() for layer, part in parts):
                continue
            price = sum(float(prices[layer][part].sum()) for layer, part in parts)
            lengths = sum(masks[half.layer].shape[not half.columns] for half in (one, other))
            yield _Group((one, other), start, stop, price / ((stop - start) * lengths))


def _steps(options: tuple[LayerCurve, ...], mask: BlockMask) -> NDArray[np.float64]:
    """Return what the curve says that each removed block costs, `[rows, columns]` of blocks."""
    curve = next(curve for curve in options if _same_size(curve, mask))
    steps = np.zeros(curve.blocks)
    steps[curve.order] = np.diff(curve.loss)
    return np.where(mask.keep, 0.0, steps.reshape(curve.grid))


def _only(masks: Masks, groups: list[_Group]) -> dict[str, BlockMask]:
    """Return masks that remove what belongs to these groups, and nothing else."""
    dead = _units(masks, groups)
    return {
        name: BlockMask(
            ~_blocks_of(*dead[name], mask.block_out, mask.block_in),
            mask.block_out,
            mask.block_in,
            mask.shape,
        )
        for name, mask in masks.items()
    }


def _units(masks: Masks, groups: list[_Group]) -> dict[str, tuple[BoolArray, BoolArray]]:
    """Return, by layer, the rows `[N]` and the columns `[K]` that belong to these groups."""
    dead = {
        name: (np.zeros(mask.shape[0], np.bool_), np.zeros(mask.shape[1], np.bool_))
        for name, mask in masks.items()
    }
    for group in groups:
        for half in group.halves:
            units = dead[half.layer][half.columns]
            units[half.first + group.start : half.first + group.stop] = True
    return dead


def _blocks(masks: Masks, half: _Half, start: int, stop: int) -> tuple[slice, slice]:
    """Return which blocks the units from `start` to `stop` touch."""
    side = _block_side(masks, half)
    touched = slice((half.first + start) // side, -(-(half.first + stop) // side))
    return (slice(None), touched) if half.columns else (touched, slice(None))


def _block_side(masks: Masks, half: _Half) -> int:
    mask = masks[half.layer]
    return mask.block_in if half.columns else mask.block_out


def _same_size(curve: LayerCurve, mask: BlockMask) -> bool:
    return (curve.block_out, curve.block_in) == (mask.block_out, mask.block_in)


def _blocks_of(rows: BoolArray, columns: BoolArray, block_out: int, block_in: int) -> BoolArray:
    """Return the blocks of which all rows or all columns are set, bool `[rows, columns]`."""
    return np.asarray(_whole(rows, block_out)[:, None] | _whole(columns, block_in)[None, :])


def _whole(units: BoolArray, size: int) -> BoolArray:
    """Whether all units of each block are set; a ragged edge counts as set."""
    return np.asarray(np.logical_and.reduceat(units, np.arange(0, units.size, size)))


def couple_curves(
    curves: Mapping[str, LayerCurve], free: Mapping[str, BoolArray]
) -> dict[str, LayerCurve]:
    """Return curves in which the free blocks go first, cost nothing and count as dead.

    The other blocks keep their order and their own costs. An allocation that
    is run again on these takes the free blocks before any other.
    """
    result = dict(curves)
    for name, grid in free.items():
        curve = curves[name]
        first = grid.ravel()[curve.order]
        sequence = np.argsort(~first, kind="stable")
        steps = np.where(first, 0.0, np.diff(curve.loss))[sequence]
        result[name] = LayerCurve(
            curve.name,
            curve.shape,
            curve.block_out,
            curve.block_in,
            curve.order[sequence],
            np.concatenate([[0.0], np.cumsum(steps)]),
            curve.unit,
            int(first.sum()),
        )
    return result

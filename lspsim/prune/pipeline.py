"""`prepare` and `prune`: from a model and a recipe to a pruned, compensated model.

`prepare` does what does not depend on the budget (basis, statistics,
curves), so that a front of several budgets pays for it once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from torch import nn

from lspsim.allocate import Outcome, search
from lspsim.allocate.budgets import Budget
from lspsim.allocate.correction import AT, corrected
from lspsim.allocate.coupling import couple
from lspsim.allocate.curves import LayerCurve
from lspsim.arrays import FloatArray
from lspsim.calibrate.block_grid import block_grids
from lspsim.calibrate.statistics import LayerStatistics, collect
from lspsim.errors import LspsimError
from lspsim.models.data import ImageSet
from lspsim.prune.compensate.obs import BlockObs, block_obs
from lspsim.prune.compensate.refit import least_squares_refit
from lspsim.prune.compensate.refit_curve import refit_curve
from lspsim.prune.compensate.sequential import Compensated, LayerReport, compensate
from lspsim.prune.recipe import BLOCK_OBS, Basis, PruneRecipe
from lspsim.prune.scores import score
from lspsim.simulate.cost import CostModel
from lspsim.transforms.balance import balance_channels
from lspsim.transforms.rebase import Changes, rebase
from lspsim.workload import BlockMask, Workload
from lspsim.workload.generate import prunable_names

CORRECTION_IMAGES = 32
"""Images on which curves are corrected by measured KL."""

REFIT_AT = (*AT, 0.95)
"""Removed fractions at which refitted curves are, whose ends are steep. Block-OBS, whose curves
are exact for a layer alone, gained nothing by a third one."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What pruning needs before it knows the budget."""

    recipe: PruneRecipe
    model: nn.Module
    """The dense model, in another basis where the recipe asks for it: its function is the same."""
    images: ImageSet
    layers: tuple[str, ...]
    curves: Mapping[str, tuple[LayerCurve, ...]]
    """By layer, one per block size that it may take."""
    alone: Mapping[str, LayerStatistics | BlockObs]
    """By layer: what it takes to refit it by itself. Empty where nothing asked for its Gram."""
    changes: Changes | None
    """What the change of basis did; None in the model's own basis."""
    held_out_kl: Mapping[Basis, float] = field(default_factory=dict)
    """By basis, where it was chosen: KL in nats on calibration images held out."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the recipe asks for and this model does not allow, one line each."""
        kept = self.changes.kept if self.changes else {}
        notes = [f"{part} {what}" for part, what in kept.items()]
        bare = [name for name in self.layers if self.model.get_submodule(name).bias is None]
        if bare and self.recipe.compensate != "none":
            notes.append(
                f"mean outputs: no bias restores those of {len(bare)} of {len(self.layers)} "
                f"layers ({bare[0]}, ...); their weights are fitted to them"
            )
        return tuple(notes)


@dataclass(frozen=True, slots=True, eq=False)
class Pruned:
    """A pruned model."""

    model: nn.Module
    masks: Mapping[str, BlockMask]
    outcome: Outcome
    report: tuple[LayerReport, ...]
    """What compensation did, layer by layer."""

    @property
    def coupled(self) -> int:
        """Blocks that were removed at no loss because their unit was dead."""
        return self.outcome.coupled

    @property
    def sparsity(self) -> float:
        """Removed fraction of the prunable weights."""
        kept = sum(mask.kept_weights for mask in self.masks.values())
        return 1 - kept / sum(math.prod(mask.shape) for mask in self.masks.values())


def prepare(
    model: nn.Module,
    images: ImageSet,
    workload: Workload,
    recipe: PruneRecipe,
    batch_size: int = 32,
    tell: Tell | None = None,
) -> Prepared:
    """Change the basis if asked for, and score the blocks.

    Parameters
    ----------
    model
        timm ViT, DeiT or Swin in float32; left untouched.
    images
        Calibration images.
    workload
        Operators of one inference of `model`; names the prunable layers.
    recipe
        How to prune.
    batch_size
        Images per forward and backward pass.
    tell
        Called with what is being done.

    Raises
    ------
    LspsimError
        When a block size does not fit the model, statistics are not finite, or the basis
        is still to be chosen.
    """
    if recipe.basis == "auto":
        raise LspsimError("basis 'auto' must be chosen first; see choose_basis, or Study.prepare")
    say = tell or (lambda _: None)
    layers = tuple(prunable_names(workload))
    sizes = block_sizes(model, layers, recipe)
    changes = None
    if recipe.basis != "own":
        say("finding bases in which blocks are cheap")
        found = collect(
            model, images.batches(batch_size), layers, {"gram", "row_gain"}, seed=recipe.seed
        )
        rotate = recipe.basis == "rotate"
        model, changes = rebase(
            model,
            found,
            heads="rotate" if rotate else "permute",
            residual=rotate,
            damping=recipe.damping,
        )
        del found  # a Gram of every layer, of weights that are no longer
    by_obs = recipe.score == BLOCK_OBS
    in_nats = recipe.compensate == "full" or recipe.losses == "refit"
    statistics: Mapping[str, LayerStatistics] = {}
    if by_obs or in_nats:
        say("gathering layer statistics")
        want = {"gram", "row_gain"} if in_nats else {"gram"}
        statistics = collect(model, images.batches(batch_size), layers, want, seed=recipe.seed)
    obs: dict[str, tuple[BlockObs, ...]] = {}
    if by_obs:
        for name in layers:
            say(f"block-OBS: {name}")
            obs[name] = tuple(_obs(statistics[name], size, recipe, in_nats) for size in sizes[name])
        curves = {n: tuple(one.curve(n) for one in options) for n, options in obs.items()}
    else:
        say(f"scoring blocks: {recipe.score}")
        curves = _scored(model, images, batch_size, sizes, recipe)
        if recipe.losses == "refit":
            say("refitting layers at several sparsities")
            curves = {
                name: tuple(refit_curve(c, statistics[name], recipe.damping) for c in options)
                for name, options in curves.items()
            }
    if in_nats:
        say("correcting curves by measured KL")
        kept = curves

        def weights_at(name: str, number: int, removed: int) -> FloatArray:
            layer = obs[name][number] if by_obs else statistics[name]
            return _refitted(layer, kept[name][number].mask(removed), recipe.damping)

        few = images.first(min(CORRECTION_IMAGES, len(images)))
        at = REFIT_AT if recipe.losses == "refit" else AT
        curves = corrected(model, few, weights_at, curves, statistics, at)
    alone = {name: options[0] for name, options in obs.items()} if by_obs else statistics
    return Prepared(recipe, model, images, layers, curves, alone, changes)


def block_sizes(
    model: nn.Module, layers: Sequence[str], recipe: PruneRecipe
) -> dict[str, tuple[tuple[int, int], ...]]:
    """Return the block sizes, rows of N by columns of K, that every layer may take.

    Raises
    ------
    LspsimError
        When one does not fit its layer, or would straddle heads.
    """
    found = {}
    for name in layers:
        weight = model.get_submodule(name).weight
        rows, columns = weight.shape  # type: ignore[misc]
        found[name] = recipe.sizes(name, (int(rows), int(columns)))
    for option in _options(found):
        block_grids(model, list(option), *_sides(option))
    return found


def _options(
    sizes: Mapping[str, tuple[tuple[int, int], ...]],
) -> list[dict[str, tuple[int, int]]]:
    """Return, for each number of an option, the layers that have it with their sizes."""
    most = max(map(len, sizes.values()))
    return [
        {name: options[number] for name, options in sizes.items() if number < len(options)}
        for number in range(most)
    ]


def _sides(option: Mapping[str, tuple[int, int]]) -> tuple[dict[str, int], dict[str, int]]:
    heights = {name: size[0] for name, size in option.items()}
    return heights, {name: size[1] for name, size in option.items()}


def _scored(
    model: nn.Module,
    images: ImageSet,
    batch_size: int,
    sizes: Mapping[str, tuple[tuple[int, int], ...]],
    recipe: PruneRecipe,
) -> dict[str, tuple[LayerCurve, ...]]:
    """Score every block size of every layer."""
    found: dict[str, tuple[LayerCurve, ...]] = dict.fromkeys(sizes, ())
    for option in _options(sizes):
        scored = score(
            recipe.score,
            model,
            images.batches(batch_size),
            list(option),
            *_sides(option),
            recipe.seed,
        )
        for name, curve in scored.items():
            found[name] += (curve,)
    return found


def _obs(
    layer: LayerStatistics, size: tuple[int, int], recipe: PruneRecipe, in_nats: bool
) -> BlockObs:
    scale = np.sqrt(layer.row_gain) if in_nats else None
    return block_obs(layer.weight, layer.gram, *size, scale, recipe.damping)


def _refitted(layer: LayerStatistics | BlockObs, mask: BlockMask, damping: float) -> FloatArray:
    """Return the least-squares weight of a layer alone on a mask; block-OBS knows its damping."""
    if isinstance(layer, BlockObs):
        damping = layer.damping
    return least_squares_refit(
        layer.weight, layer.gram, mask.keep, mask.block_out, mask.block_in, damping
    ).weight


def prune(
    prepared: Prepared,
    workload: Workload,
    budgets: Sequence[Budget],
    model: CostModel,
    exact: CostModel,
    batch_size: int = 32,
    tell: Tell | None = None,
) -> Pruned:
    """Remove blocks until every budget holds, and make up for them.

    Parameters
    ----------
    prepared
        From `prepare`.
    workload
        Operators of one inference of the model.
    budgets
        All must hold.
    model, exact
        Cost models: the one in the loop, and the one that decides.
    batch_size
        Images per forward pass of the compensation.
    tell
        Called with what is being done.

    Raises
    ------
    LspsimError
        When a budget cannot be met: with the least that can.
    """
    say = tell or (lambda _: None)
    recipe = prepared.recipe
    outcome = search(
        [curve for options in prepared.curves.values() for curve in options],
        workload,
        budgets,
        model,
        exact,
        recipe.allocate,
        most=recipe.most,
        couple=partial(couple, prepared.model) if recipe.couple else None,
        progress=say,
    )
    say("compensating")
    done = make_up(prepared, outcome.masks, batch_size)
    return Pruned(done.model, dict(outcome.masks), outcome, done.report)


def make_up(
    prepared: Prepared, masks: Mapping[str, BlockMask], batch_size: int = 32
) -> Compensated:
    """Zero removed blocks, and make up for them as the recipe says.

    After rotations, channels are balanced (see `balance_channels`): to compute with them
    needs no such thing, to quantise or to train them does.

    Parameters
    ----------
    prepared
        From `prepare`.
    masks
        Of all its layers.
    batch_size
        Images per forward pass.
    """
    recipe = prepared.recipe
    method = "obs" if recipe.compensate == "full" else recipe.compensate
    anchors = None
    if method == "obs":
        anchors = {
            name: _refitted(layer, masks[name], recipe.damping)
            for name, layer in prepared.alone.items()
        }
    batches = prepared.images.batches(batch_size)
    done = compensate(prepared.model, masks, batches, method, recipe.damping, anchors)
    if recipe.basis == "rotate":
        balance_channels(done.model)
    return done

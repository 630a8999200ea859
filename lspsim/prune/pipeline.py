"""`prepare` and `prune`: from a model and a recipe to a pruned, compensated model.

`prepare` does what does not depend on the budget (permutation, statistics,
curves), so that a front of several budgets pays for it once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import nn

from lspsim.errors import LspsimError
from lspsim.models.data import ImageSet
from lspsim.prune.allocate import Method as Allocator
from lspsim.prune.allocate import Outcome, search
from lspsim.prune.budgets import Budget
from lspsim.prune.calibration import LayerStatistics, collect
from lspsim.prune.compensate.obs import BlockObs, block_obs
from lspsim.prune.compensate.sequential import LayerReport, compensate
from lspsim.prune.coupling import couple
from lspsim.prune.curves import LayerCurve
from lspsim.prune.scores import SCORES, score
from lspsim.prune.scores.grid import block_grids
from lspsim.prune.scores.lpvit import CAP
from lspsim.prune.transforms.rebase import rebase
from lspsim.prune.transforms.residual import residual_obstacle
from lspsim.simulate.cost import CostModel
from lspsim.workload import BlockMask, Workload
from lspsim.workload.generate import prunable_names

Compensation = Literal["none", "bias", "least-squares", "obs", "full"]
"""`full`: block-OBS in loss units, permuted, coupled, then refitted."""

Basis = Literal["permute", "rotate"]

BLOCK_OBS = "block-obs"
SCORE_NAMES: tuple[str, ...] = (*SCORES, BLOCK_OBS)

COUPLING_ROUNDS = 5
"""Most reallocations after units have died (they settle in two or three)."""


@dataclass(frozen=True, slots=True)
class PruneRecipe:
    """How to prune.

    Parameters
    ----------
    block_out, block_in
        Block size.
    score
        Out of `SCORE_NAMES`.
    allocate
        Allocator, see `lspsim.prune.allocate.search`.
    compensate
        What makes up for removed blocks.
    seed
        Of random scores and sampled labels.
    most
        Largest fraction of a layer's blocks that may go.
    damping
        Relative to the mean diagonal of each layer's Gram.
    basis
        Of `full`: "permute" sorts the channels of MLPs and heads; "rotate" turns
        those of heads and of the residual stream as well (docs/decisions/0007).
    """

    block_out: int
    block_in: int
    score: str = BLOCK_OBS
    allocate: Allocator = "knapsack"
    compensate: Compensation = "full"
    seed: int = 0
    most: float = 1.0
    damping: float = 0.01
    basis: Basis = "rotate"

    def __post_init__(self) -> None:
        if self.score not in SCORE_NAMES:
            raise LspsimError(
                f"there is no score {self.score!r}; known are {', '.join(SCORE_NAMES)}"
            )
        if self.compensate not in get_args(Compensation):
            raise LspsimError(
                f"there is no compensation {self.compensate!r}; known are "
                f"{', '.join(get_args(Compensation))}"
            )
        if self.compensate == "full" and self.score != BLOCK_OBS:
            raise LspsimError(
                f"compensation 'full' goes with score {BLOCK_OBS!r}, not {self.score!r}; use "
                "'least-squares' with other scores"
            )

    @property
    def block(self) -> str:
        """`32x32`."""
        return f"{self.block_out}x{self.block_in}"


def lpvit_recipe(block_out: int, block_in: int, seed: int = 0) -> PruneRecipe:
    """Return LPViT as its paper describes it: one slope for all layers, at most 95 % per layer."""
    return PruneRecipe(block_out, block_in, "lpvit", "lagrangian", "none", seed, most=CAP)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What pruning needs before it knows the budget."""

    recipe: PruneRecipe
    model: nn.Module
    """The dense model, in another basis where the recipe asks for it: its function is the same."""
    images: ImageSet
    layers: tuple[str, ...]
    curves: Mapping[str, LayerCurve]
    obs: Mapping[str, BlockObs]
    """By layer; empty unless the score is block-OBS."""


@dataclass(frozen=True, slots=True, eq=False)
class Pruned:
    """A pruned model."""

    model: nn.Module
    masks: Mapping[str, BlockMask]
    outcome: Outcome
    report: tuple[LayerReport, ...]
    """What compensation did, layer by layer."""
    coupled: int
    """Blocks that went for free because their unit was dead."""

    @property
    def sparsity(self) -> float:
        """Removed fraction of the prunable weights."""
        kept = sum(mask.kept_weights for mask in self.masks.values())
        return 1 - kept / sum(math.prod(mask.shape) for mask in self.masks.values())


Tell = Callable[[str], None]


def prepare(
    model: nn.Module,
    images: ImageSet,
    workload: Workload,
    recipe: PruneRecipe,
    batch_size: int = 32,
    tell: Tell | None = None,
) -> Prepared:
    """Permute the model if asked for, and score its blocks.

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
        When a block size does not fit the model, or statistics are not finite.
    """
    say = tell or (lambda _: None)
    layers = tuple(prunable_names(workload))
    block_grids(model, layers, recipe.block_out, recipe.block_in)  # refuses a size that misfits
    if recipe.compensate == "full":
        say("finding bases in which blocks are cheap")
        found = collect(
            model, images.batches(batch_size), layers, {"gram", "row_gain"}, seed=recipe.seed
        )
        turn = recipe.basis == "rotate"
        model, _ = rebase(
            model,
            found,
            heads="rotate" if turn else "permute",
            residual=turn and not residual_obstacle(model),
            damping=recipe.damping,
        )
    if recipe.score != BLOCK_OBS:
        say(f"scoring blocks: {recipe.score}")
        curves = score(
            recipe.score,
            model,
            images.batches(batch_size),
            layers,
            recipe.block_out,
            recipe.block_in,
            recipe.seed,
        )
        return Prepared(recipe, model, images, layers, curves, {})
    say("gathering layer statistics")
    want = {"gram", "row_gain"} if recipe.compensate == "full" else {"gram"}
    statistics = collect(model, images.batches(batch_size), layers, want, seed=recipe.seed)
    obs = {}
    for name in layers:
        say(f"block-OBS: {name}")
        obs[name] = _obs(statistics[name], recipe)
    curves = {name: found.curve(name) for name, found in obs.items()}
    if recipe.compensate == "full":
        say("correcting curves by measured KL")
        curves = corrected(model, images.first(min(32, len(images))), obs, curves)
    return Prepared(recipe, model, images, layers, curves, obs)


def _obs(layer: LayerStatistics, recipe: PruneRecipe) -> BlockObs:
    scale = np.sqrt(layer.row_gain) if recipe.compensate == "full" else None
    return block_obs(
        layer.weight, layer.gram, recipe.block_out, recipe.block_in, scale, recipe.damping
    )


def corrected(
    model: nn.Module,
    images: ImageSet,
    obs: Mapping[str, BlockObs],
    curves: Mapping[str, LayerCurve],
    fractions: Sequence[float] = (0.5, 0.8),
) -> dict[str, LayerCurve]:
    """Scale every layer's curve by measured over predicted KL at two sparsities.

    The factor is interpolated in its logarithm over the removed fraction, and
    constant outside; each layer is measured alone, the others dense.
    """
    from lspsim.prune.measure import quality, reference_logits

    reference = reference_logits(model, images)
    out = {}
    for name, curve in curves.items():
        linear = model.get_submodule(name)
        weight = linear.weight
        if not isinstance(weight, torch.Tensor):
            raise LspsimError(f"layer {name!r} has no weight")
        kept = weight.detach().clone()
        logs = []
        for fraction in fractions:
            removed = round(fraction * curve.blocks)
            new = torch.from_numpy(obs[name].weights_at(removed)).to(weight)
            with torch.no_grad():
                weight.copy_(new)
            measured = max(quality(model, images, reference).kl_nats, 1e-9)
            logs.append(math.log(measured / max(float(curve.loss[removed]), 1e-12)))
        with torch.no_grad():
            weight.copy_(kept)
        at = np.arange(curve.blocks + 1) / curve.blocks
        factor = np.exp(np.interp(at, fractions, logs))
        loss = np.maximum.accumulate(curve.loss * factor)
        out[name] = LayerCurve(
            name, curve.shape, curve.block_out, curve.block_in, curve.order, loss, "nats"
        )
    return out


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
    curves = dict(prepared.curves)
    say("allocating: " + ", ".join(map(str, budgets)))
    coupled = 0

    def allocate(candidates: Mapping[str, LayerCurve]) -> Outcome:
        return search(
            candidates.values(), workload, budgets, model, exact, recipe.allocate, most=recipe.most
        )

    outcome = allocate(curves)
    if recipe.compensate == "full":
        for _ in range(COUPLING_ROUNDS):
            curves, freed = couple(prepared.model, curves, outcome.masks)
            if freed == 0:
                break
            coupled += freed
            say(f"dead units: {freed} blocks for free, allocating again")
            outcome = allocate(curves)
    masks = dict(outcome.masks)
    say("compensating")
    method = "obs" if recipe.compensate == "full" else recipe.compensate
    anchors = None
    if method == "obs":
        anchors = {
            name: _anchor(prepared.obs[name], masks[name], recipe) for name in prepared.layers
        }
    done = compensate(
        prepared.model,
        masks,
        prepared.images.batches(batch_size),
        method,
        recipe.damping,
        anchors,
    )
    return Pruned(done.model, masks, outcome, done.report, coupled)


def _anchor(obs: BlockObs, mask: BlockMask, recipe: PruneRecipe) -> np.ndarray:
    """Return the least-squares weight of a layer alone, on the mask that was chosen."""
    from lspsim.prune.compensate.refit import least_squares_refit

    return least_squares_refit(
        obs.weight, obs.gram, mask.keep, recipe.block_out, recipe.block_in, obs.damping
    ).weight

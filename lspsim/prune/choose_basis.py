"""`choose_basis`: keep rotations only where they help images that chose nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import nn

from lspsim.allocate.budgets import macs_only, sparsity_budget
from lspsim.errors import LspsimError
from lspsim.models.data import ImageSet
from lspsim.networks.quality import quality, reference_logits
from lspsim.prune.pipeline import prepare, prune
from lspsim.prune.recipe import Basis, PruneRecipe
from lspsim.workload import Workload

CANDIDATES: tuple[Basis, ...] = ("permute", "rotate")

PILOT = 70
"""Sparsity of the trial, in per cent of the prunable MACs."""

HELD_OUT = 4
"""One calibration image in so many judges; the others choose."""


def choose_basis(
    model: nn.Module,
    images: ImageSet,
    workload: Workload,
    recipe: PruneRecipe,
    tell: Callable[[str], None] | None = None,
) -> dict[Basis, float]:
    """Prune once in each basis, and measure each on calibration images held out.

    Parameters
    ----------
    model, images, workload, recipe
        As `prepare` takes them; the basis of the recipe does not matter.
    tell
        Called with what is being done.

    Returns
    -------
    KL to the dense model on the held-out images, in nats, by basis; the least is to be kept.

    Raises
    ------
    LspsimError
        When there are too few images to hold any out.
    """
    count = len(images) // HELD_OUT
    if count < HELD_OUT:
        raise LspsimError(
            f"basis 'auto' holds out one calibration image in {HELD_OUT}, and {len(images)} are "
            f"too few; take at least {HELD_OUT * HELD_OUT}, or name a basis"
        )
    known = len(images) - count
    chosen = images.first(known)
    judge = replace(
        images,
        labels=images.labels[known:],
        read=lambda numbers: images.read(np.asarray(numbers) + known),
    )
    reference = reference_logits(model, judge)
    cost = macs_only(workload)
    found: dict[Basis, float] = {}
    for basis in CANDIDATES:
        say = _prefixed(tell, f"trial of basis {basis}: ")
        prepared = prepare(model, chosen, workload, replace(recipe, basis=basis), tell=say)
        budget = sparsity_budget(workload, PILOT)
        pruned = prune(prepared, workload, (budget,), cost, cost, tell=say)
        found[basis] = quality(pruned.model, judge, reference).kl_nats
    return found


def _prefixed(tell: Callable[[str], None] | None, prefix: str) -> Callable[[str], None]:
    return lambda text: tell(prefix + text) if tell else None

"""`SCORES` and `score`: every block score by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from lspsim.allocate.curves import LayerCurve
from lspsim.calibrate.block_gradients import MEMORY_BYTES, collect_gradients
from lspsim.calibrate.block_grid import BlockSide, block_grids
from lspsim.calibrate.statistics import collect, weight_of
from lspsim.calibrate.streaming import Batches, Labels, Progress, linear_layers
from lspsim.errors import LspsimError
from lspsim.prune.scores.fisher import SHRINK, fisher_curves
from lspsim.prune.scores.l1 import l1_curves
from lspsim.prune.scores.lpvit import lpvit_curves
from lspsim.prune.scores.random import random_curves
from lspsim.prune.scores.taylor import taylor_curves
from lspsim.prune.scores.wanda import wanda_curves

MIN_IMAGES = 8
"""Fewest calibration images of a score by gradients: with less, single images decide."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a score is and needs.

    Parameters
    ----------
    description
        One line.
    needs
        "weights", "activations" (a forward pass) or "gradients" (forward and
        backward).
    labels
        Labels it takes unless told otherwise; None where it takes none.
    """

    description: str
    needs: Literal["weights", "activations", "gradients"]
    labels: Labels | None = None


SCORES: Mapping[str, Score] = {
    "random": Score("random order: the control", "weights"),
    "l1": Score("sum of absolute weights", "weights"),
    "wanda": Score("absolute weights times the norms of their inputs", "activations"),
    "taylor": Score("first order: absolute weight times mean gradient", "gradients", "given"),
    "fisher": Score(
        "second order: exact Fisher from per-image block scores, all cross terms",
        "gradients",
        "sampled",
    ),
    "lpvit": Score(
        "LPViT as its paper says: first-order order, second-order distortion curve",
        "gradients",
        "given",
    ),
}
"""Block scores by name."""


def score(
    name: str,
    model: nn.Module,
    batches: Batches,
    layers: Sequence[str],
    block_out: BlockSide,
    block_in: BlockSide,
    seed: int = 0,
    *,
    labels: Labels | None = None,
    shrink: float = SHRINK,
    memory_bytes: int = MEMORY_BYTES,
    progress: Progress | None = None,
) -> dict[str, LayerCurve]:
    """Score the blocks of the named layers.

    Parameters
    ----------
    name
        Out of `SCORES`.
    model
        A timm vision transformer in float32.
    batches
        Calibration images and labels, gone through once at most; scores of the
        weights alone leave them untouched.
    layers
        Names of the linear layers to prune (`prunable_names`).
    block_out, block_in
        Block size, one for all layers or by layer name.
    seed
        Of the random order and of sampled labels.
    labels
        Labels of the loss: "given" (task loss) or "sampled" (label-free).
        Default: the score's own.
    shrink
        Of `fisher`.
    memory_bytes
        Per-image block scores beyond this go to a temporary file.
    progress
        Told how many images have passed.

    Returns
    -------
    One curve per layer, in the order of `layers`.

    Raises
    ------
    LspsimError
        On an unknown score, labels that the score cannot take or that are out
        of range, too few images, a block size that does not fit, values that
        are not finite.
    ModelError
        On a layer that is not linear or not float32.
    """
    known = SCORES.get(name)
    if known is None:
        close = difflib.get_close_matches(name, SCORES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(SCORES)}"
        raise LspsimError(f"there is no score {name!r}; {hint}")
    if name in ("taylor", "lpvit") and labels == "sampled":
        raise LspsimError(
            f"score {name!r} ranks by the mean gradient, which at labels sampled from the model "
            "is zero but for noise; use labels='given', or the label-free score 'fisher'"
        )
    grids = block_grids(model, layers, block_out, block_in)
    if name == "random":
        return random_curves(grids, seed)
    if name == "wanda":
        statistics = collect(model, batches, layers, {"input"}, progress=progress)
        return wanda_curves(statistics, grids)
    weights = {layer: weight_of(module) for layer, module in linear_layers(model, layers).items()}
    if name == "l1":
        return l1_curves(weights, grids)
    gradients = collect_gradients(
        model,
        batches,
        grids,
        samples=name != "taylor",
        mean_gradient=name != "fisher",
        labels=labels or known.labels or "sampled",
        seed=seed,
        memory_bytes=memory_bytes,
        progress=progress,
    )
    if gradients.images < MIN_IMAGES:
        raise LspsimError(
            f"score {name!r} has {gradients.images} calibration images; it needs at least "
            f"{MIN_IMAGES}, and 64 to 256 to be of use"
        )
    if name == "taylor":
        return taylor_curves(weights, gradients.mean_gradient, grids)
    if name == "lpvit":
        return lpvit_curves(weights, gradients, grids)
    return fisher_curves(gradients.samples, grids, shrink)

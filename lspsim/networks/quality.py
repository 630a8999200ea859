"""How far a pruned model is from its dense one: top-1 accuracy, KL, and a paired test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import kl_div

from lspsim.errors import LspsimError
from lspsim.models.data import ImageSet


@dataclass(frozen=True, slots=True)
class Quality:
    """What a model does on labelled images, beside a reference model."""

    top1: float
    """Share of images classified correctly, in [0, 1]."""
    kl_nats: float
    """Mean over images of KL(reference || model) of the class distributions."""
    images: int
    lost: int
    """Images that only the reference classifies correctly."""
    won: int
    """The other way round."""

    @property
    def p_value(self) -> float:
        """Two-sided exact McNemar test that both models are equally often right.

        The test conditions on the images on which exactly one is right
        (McNemar, Psychometrika 1947): under the null hypothesis each of them is
        lost or won with probability one half.
        """
        n = self.lost + self.won
        if n == 0:
            return 1.0
        k = min(self.lost, self.won)
        # log-space sum of the binomial tail
        logs = [
            math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2)
            for i in range(k + 1)
        ]
        top = max(logs)
        return min(1.0, 2 * math.exp(top) * sum(math.exp(x - top) for x in logs))


def reference_logits(model: nn.Module, images: ImageSet, batch_size: int = 256) -> torch.Tensor:
    """Return the logits `[n, classes]` of `model` in evaluation mode, float32."""
    was_training = model.training
    device = next(model.parameters()).device
    model.eval()
    try:
        with torch.inference_mode():
            return torch.cat(
                [model(x.to(device)).float().cpu() for x, _ in images.batches(batch_size)]
            )
    finally:
        model.train(was_training)


def quality(
    model: nn.Module, images: ImageSet, reference: torch.Tensor, batch_size: int = 256
) -> Quality:
    """Compare a model with the logits of its reference on the same images.

    Parameters
    ----------
    model
        Any classifier of the images' classes.
    images
        Labelled images; each is read once.
    reference
        `[n, classes]`: `reference_logits` of the dense model.
    batch_size
        Images per forward pass.

    Raises
    ------
    LspsimError
        See `compare`.
    """
    return compare(reference_logits(model, images, batch_size), images.labels, reference)


def compare(logits: torch.Tensor, labels: torch.Tensor, reference: torch.Tensor) -> Quality:
    """Compare the logits of a model with those of its reference on the same images.

    Parameters
    ----------
    logits
        `[n, classes]` of the model: `reference_logits`.
    labels
        int64 `[n]`.
    reference
        `[n, classes]` of the dense model.

    Raises
    ------
    LspsimError
        When the three do not fit each other, or logits are not finite.
    """
    if logits.shape != reference.shape:
        raise LspsimError(
            f"the model yields logits {tuple(logits.shape)}, the reference {tuple(reference.shape)}"
        )
    if labels.shape != logits.shape[:1]:
        raise LspsimError(
            f"the model yields logits {tuple(logits.shape)} for {tuple(labels.shape)} labels; "
            "give one label per row"
        )
    for name, values in (("model", logits), ("reference", reference)):
        if not torch.isfinite(values).all():
            raise LspsimError(
                f"the {name}'s outputs are not finite; raise the damping of the compensation, or "
                "lower the learning rate of the fine-tuning"
            )
    right = logits.argmax(1) == labels
    before = reference.argmax(1) == labels
    kl = kl_div(
        logits.double().log_softmax(1),
        reference.double().log_softmax(1),
        reduction="batchmean",
        log_target=True,
    )
    return Quality(
        top1=float(right.double().mean()),
        kl_nats=float(kl),
        images=len(labels),
        lost=int((before & ~right).sum()),
        won=int((right & ~before).sum()),
    )

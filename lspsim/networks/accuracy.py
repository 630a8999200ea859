"""Share of images that a model classifies correctly."""

from __future__ import annotations

import torch
from torch import nn

from lspsim.errors import ModelError
from lspsim.models.data import ImageSet


def top1(model: nn.Module, images: ImageSet, batch_size: int = 256) -> float:
    """Return the top-1 accuracy in [0, 1], in evaluation mode; the mode is restored.

    Raises
    ------
    ModelError
        When the model has another number of classes, or its outputs are not finite.
    """
    was_training = model.training
    device = next(model.parameters()).device
    right = 0
    model.eval()
    try:
        with torch.inference_mode():
            for inputs, labels in images.batches(batch_size):
                logits = model(inputs.to(device)).float().cpu()
                if logits.shape[1] != len(images.classes):
                    raise ModelError(
                        f"the model has {logits.shape[1]} outputs and dataset {images.name!r} has "
                        f"{len(images.classes)} classes; take a model that was trained on these"
                    )
                if not torch.isfinite(logits).all():
                    raise ModelError(
                        "the model's outputs are not finite: its weights are damaged, or the "
                        "images hold values that are not finite"
                    )
                right += int((logits.argmax(1) == labels).sum())
    finally:
        model.train(was_training)
    return right / len(images)

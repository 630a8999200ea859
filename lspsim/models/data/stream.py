"""Training images of an epoch: rendered anew where they can be, varied where they cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from lspsim.models.data.augment import augment
from lspsim.models.data.glyphs import GLYPHS
from lspsim.models.data.image_set import SPLITS, centred_reader
from lspsim.models.data.load import load_dataset
from lspsim.models.data.render import render

Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class TrainingStream:
    """The training images of a run, epoch by epoch.

    Parameters
    ----------
    classes
        What the labels mean.
    steps_per_epoch
        Batches in an epoch.
    batches
        From the epoch's number and the strength of distortion in [0, 1] to its
        batches; the same arguments give the same images.
    """

    classes: tuple[str, ...]
    steps_per_epoch: int
    batches: Callable[[int, float], Batches]


def training_stream(
    name: str,
    batch_size: int,
    seed: int,
    epoch_images: int | None = None,
    image_size: int = 224,
    model: nn.Module | None = None,
) -> TrainingStream:
    """Return the training images of a dataset; other splits never show one of them.

    Parameters
    ----------
    name, image_size, model
        As in `load_dataset`: images of a folder come as `model` wants them, if it is given.
    batch_size
        Images per batch; what is left over at the end of an epoch is left out.
    seed
        Of all draws.
    epoch_images
        Images of an epoch; default: all, or 8192 where they are rendered.
    """
    if name in GLYPHS:
        return _rendered(name, batch_size, seed, epoch_images or 8192)
    images = load_dataset(name, "train", None, seed, image_size, model)
    count = min(epoch_images or len(images), len(images))
    steps = max(1, count // batch_size)

    def batches(epoch: int, strength: float) -> Batches:
        shuffle = seed * 1_000_003 + epoch
        for index, (inputs, labels) in enumerate(images.batches(batch_size, shuffle)):
            if index == steps:
                return
            yield augment(inputs, strength, shuffle * 65_537 + index), labels

    return TrainingStream(images.classes, steps, batches)


def _rendered(name: str, batch_size: int, seed: int, epoch_images: int) -> TrainingStream:
    glyphs = GLYPHS[name]
    steps = max(1, epoch_images // batch_size)

    def batches(epoch: int, strength: float) -> Batches:
        # 1 + epoch: trailing zeros do not change a seed sequence
        entropy = (glyphs.number, SPLITS.index("train"), seed, 1 + epoch)
        distortion = glyphs.distortion.scaled(strength)
        pixels, labels = render(
            glyphs.characters, glyphs.fonts["train"], steps * batch_size, entropy, distortion
        )
        read, targets = centred_reader(pixels), torch.from_numpy(labels)
        numbers = torch.arange(len(labels)).numpy()
        for start in range(0, len(labels), batch_size):
            chosen = numbers[start : start + batch_size]
            yield read(chosen), targets[chosen]

    return TrainingStream(tuple(glyphs.characters), steps, batches)

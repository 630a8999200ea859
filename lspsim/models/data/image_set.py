"""`ImageSet`: labelled images of one split, read when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from lspsim.arrays import IntArray
from lspsim.errors import ModelError

Reader = Callable[[IntArray], torch.Tensor]
"""From image numbers `[b]` to float32 `[b, C, H, W]`, normalised."""

SPLITS = ("train", "calibration", "validation", "test")
"""What each is for: fitting weights, statistics of pruning, choosing, reporting once."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """Labelled images of one split of a dataset.

    Parameters
    ----------
    name, split
        Where they come from.
    labels
        int64 `[n]`, each in `[0, len(classes))`.
    classes
        What the labels mean.
    read
        Gives the images of given numbers, normalised.

    Raises
    ------
    ModelError
        When there is no image, or a label is out of range.
    """

    name: str
    split: str
    labels: torch.Tensor
    classes: tuple[str, ...]
    read: Reader

    def __post_init__(self) -> None:
        where = f"dataset {self.name!r}, split {self.split!r}"
        if len(self.labels) == 0:
            raise ModelError(f"{where}: it holds no image")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.classes):
            raise ModelError(
                f"{where}: label {low if low < 0 else high} is out of range; "
                f"there are {len(self.classes)} classes, counted from 0"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> torch.Tensor:
        """All images, float32 `[n, C, H, W]`, normalised; read anew at each call."""
        return self.read(np.arange(len(self)))

    def first(self, count: int) -> ImageSet:
        """Return the first `count` images, or all where there are fewer."""
        return replace(self, labels=self.labels[:count])

    def batches(
        self, batch_size: int, shuffle_seed: int | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield all images once as `(images [b, C, H, W], labels [b])`; the last may be short.

        Parameters
        ----------
        batch_size
            Images per batch.
        shuffle_seed
            Seeds a random order; None keeps the order of the set.

        Raises
        ------
        ModelError
            When `batch_size` is below 1.
        """
        if batch_size < 1:
            raise ModelError(f"batch size must be at least 1, got {batch_size}")
        order = np.arange(len(self))
        if shuffle_seed is not None:
            order = np.random.default_rng(shuffle_seed).permutation(len(self))
        for start in range(0, len(self), batch_size):
            numbers = order[start : start + batch_size]
            yield self.read(numbers), self.labels[numbers]


def centred_reader(pixels: NDArray[np.uint8]) -> Reader:
    """Read uint8 `[n, C, H, W]` pixels as float32 in [-1, 1]."""

    def read(numbers: IntArray) -> torch.Tensor:
        return torch.from_numpy(pixels[numbers]).float() / 127.5 - 1.0

    return read

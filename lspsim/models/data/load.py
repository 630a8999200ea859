"""`load_dataset`: images and labels by name."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from lspsim.errors import ModelError
from lspsim.models.data.digits import CLASSES as DIGITS
from lspsim.models.data.digits import digits
from lspsim.models.data.glyphs import COUNTS, GLYPHS, GlyphSet
from lspsim.models.data.image_set import SPLITS, ImageSet, centred_reader

DATASETS = ("digits", *GLYPHS)
"""Datasets that need no file; any other name is the path of an image folder."""


def load_dataset(
    name: str,
    split: str,
    size: int | None = None,
    seed: int = 0,
    image_size: int = 224,
    model: nn.Module | None = None,
) -> ImageSet:
    """Return labelled images of one split; splits share no image and no random draw.

    Parameters
    ----------
    name
        "digits", "glyphs", "glyphs-hard", or the path of a folder with one
        folder of images per class (see `lspsim.models.data.folder`).
    split
        "train", "calibration", "validation" or "test".
    size
        Number of images; default: all there are, or `COUNTS` for rendered sets.
    seed
        Other rendered images, or another choice of `size` images where they
        are fixed; which image belongs to which split never changes.
    image_size
        Side in pixels of the images of a folder; the others are 32x32.
    model
        A timm model: images of a folder come as it wants them (size, crop,
        mean, deviation).

    Raises
    ------
    ModelError
        On an unknown name or split, or more images than there are.
    MissingDependencyError
        When scikit-learn or timm is needed and not installed.
    """
    if split not in SPLITS:
        raise ModelError(f"dataset {name!r} has no split {split!r}; it has {', '.join(SPLITS)}")
    if size is not None and size < 1:
        raise ModelError(f"dataset {name!r}: the number of images must be at least 1, got {size}")
    if seed < 0:
        raise ModelError(f"dataset {name!r}: the seed must not be negative, got {seed}")
    if name == "digits":
        return _digits(split, size, seed)
    if name in GLYPHS:
        return glyph_images(name, split, COUNTS[split] if size is None else size, seed)
    if Path(name).is_dir():
        from lspsim.models.data.folder import folder_images

        return folder_images(Path(name), split, size, seed, image_size, model)
    raise ModelError(
        f"unknown dataset {name!r}: known are {', '.join(DATASETS)}, "
        "and there is no folder of that name"
    )


def glyph_images(name: str, split: str, size: int, seed: int) -> ImageSet:
    """Return rendered images, from the cache if they are there."""
    from lspsim.models.data.cache import cached_render

    glyphs = GLYPHS[name]
    pixels, labels = cached_render(name, glyphs, split, size, entropy(glyphs, split, seed))
    return ImageSet(
        name, split, torch.from_numpy(labels), tuple(glyphs.characters), centred_reader(pixels)
    )


def entropy(glyphs: GlyphSet, split: str, seed: int) -> tuple[int, ...]:
    """Return the numbers that seed a split's draws: other splits, other images."""
    return glyphs.number, SPLITS.index(split), seed


def _digits(split: str, size: int | None, seed: int) -> ImageSet:
    pixels, labels = digits(split)
    if size is not None:
        if size > len(labels):
            raise ModelError(
                f"dataset 'digits', split {split!r}: {size} images asked for, "
                f"there are {len(labels)}"
            )
        chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:size]
        pixels, labels = pixels[chosen.numpy()], labels[chosen.numpy()]
    return ImageSet("digits", split, torch.from_numpy(labels), DIGITS, centred_reader(pixels))

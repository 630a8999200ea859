"""Draw characters as small noisy photographs: many per second, the same ones every time.

Each character of each font is drawn once, large, into an atlas. An image is
one atlas entry seen through a random affine map: light ink of a random colour
on dark paper of another, with coarse clutter, sometimes a gap across, and
noise. All random numbers of an image are rows of two streams, so image `i`
does not depend on how many are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ImageFont
from torch.nn.functional import grid_sample, interpolate

SIDE = 32
"""Side of an image in pixels."""

_ATLAS = 64  # side of an atlas entry
_EM = 40  # font size in it, so that accents and descenders fit
_CHUNK = 1024  # images drawn at once: bounds the memory
_GRID = 4  # cells per side of the coarse background

Uint8Array = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Distortion:
    """How far images differ from print: ranges of the random draws.

    Angles in degrees, shifts in pixels, shades in [0, 1]; a draw is uniform
    in plus or minus the value where nothing else is said.
    """

    rotation: float = 20.0
    shear: float = 0.25
    stretch: float = 0.2
    shift: float = 3.0
    scale: tuple[float, float] = (0.8, 1.2)
    contrast: tuple[float, float] = (0.4, 0.9)
    clutter: float = 0.4
    noise: tuple[float, float] = (0.03, 0.15)
    bar_width: float = 4.0
    bar_probability: float = 0.3

    def scaled(self, strength: float) -> Distortion:
        """Return the ranges at `strength` in [0, 1]; 1 is this distortion, 0 clean print."""
        low, high = self.scale
        return Distortion(
            rotation=self.rotation * strength,
            shear=self.shear * strength,
            stretch=self.stretch * strength,
            shift=self.shift * strength,
            scale=(0.9 + (low - 0.9) * strength, 1.0 + (high - 1.0) * strength),
            contrast=(0.9 + (self.contrast[0] - 0.9) * strength, self.contrast[1]),
            clutter=self.clutter * strength,
            noise=(self.noise[0] * strength, self.noise[1] * strength),
            bar_width=self.bar_width,
            bar_probability=self.bar_probability * strength,
        )


def render(
    characters: str,
    fonts: Sequence[str],
    count: int,
    entropy: Sequence[int],
    distortion: Distortion,
) -> tuple[Uint8Array, NDArray[np.int64]]:
    """Draw `count` images of random characters in random fonts.

    Parameters
    ----------
    characters
        The classes, in the order of their labels.
    fonts
        File names among matplotlib's bundled fonts.
    count
        Number of images.
    entropy
        Whole numbers that seed the draws; other numbers, other images.
    distortion
        Ranges of the draws.

    Returns
    -------
    uint8 `[count, 3, 32, 32]` images and int64 `[count]` labels; the first
    images stay the same when more are drawn.
    """
    atlas = glyph_atlas(characters, tuple(fonts))
    shapes, pixels = (np.random.Generator(np.random.PCG64(s)) for s in _streams(entropy))
    images = np.empty((count, 3, SIDE, SIDE), np.uint8)
    labels = np.empty(count, np.int64)
    for start in range(0, count, _CHUNK):
        stop = min(start + _CHUNK, count)
        draws = shapes.random((stop - start, _DRAWS), np.float32)
        noise = pixels.standard_normal((stop - start, 3, SIDE, SIDE), np.float32)
        images[start:stop], labels[start:stop] = _draw(
            atlas, len(characters), draws, noise, distortion
        )
    return images, labels


def _streams(entropy: Sequence[int]) -> list[np.random.SeedSequence]:
    return np.random.SeedSequence(list(entropy)).spawn(2)


@lru_cache(maxsize=2)
def glyph_atlas(characters: str, fonts: tuple[str, ...]) -> torch.Tensor:
    """Return float32 `[fonts * characters, 1, 64, 64]`: ink in [0, 1], each drawing centred."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    atlas = torch.zeros(len(fonts) * len(characters), 1, _ATLAS, _ATLAS)
    for row, name in enumerate(fonts):
        font = ImageFont.truetype(str(folder / name), _EM)
        for column, character in enumerate(characters):
            mask = font.getmask(character)
            ink = np.array(mask, np.float32).reshape(mask.size[::-1]) / 255.0
            ink = ink[:_ATLAS, :_ATLAS]
            top, left = (_ATLAS - ink.shape[0]) // 2, (_ATLAS - ink.shape[1]) // 2
            entry = atlas[row * len(characters) + column, 0]
            entry[top : top + ink.shape[0], left : left + ink.shape[1]] = torch.from_numpy(ink)
    return atlas


_DRAWS = 22 + 3 * _GRID * _GRID


def _draw(
    atlas: torch.Tensor,
    classes: int,
    draws: NDArray[np.float32],
    noise: NDArray[np.float32],
    d: Distortion,
) -> tuple[Uint8Array, NDArray[np.int64]]:
    """Draw one chunk; `draws` are uniform in [0, 1), one row per image."""
    u = torch.from_numpy(draws)
    signed = 2 * u - 1
    labels = (u[:, 0] * classes).long().clamp(max=classes - 1)
    fonts = atlas.shape[0] // classes
    font = (u[:, 1] * fonts).long().clamp(max=fonts - 1)

    ink = _place(atlas[font * classes + labels], u, signed, d)
    ink = ink * (1 - _bars(u, signed, d))

    # dark paper, a shade per channel, with coarse clutter
    paper = 0.05 + 0.45 * u[:, 8:11]
    coarse = signed[:, 22:].reshape(-1, 3, _GRID, _GRID)
    clutter = interpolate(coarse, size=(SIDE, SIDE), mode="bilinear", align_corners=True)
    paper_image = paper[:, :, None, None] + 0.5 * d.clutter * clutter
    # lighter ink, each channel a bit differently
    low, high = d.contrast
    depth = low + (high - low) * u[:, 11:12]
    colour = paper + depth * (0.6 + 0.4 * u[:, 12:15])
    image = paper_image + ink * (colour[:, :, None, None] - paper_image)

    low, high = d.noise
    sigma = low + (high - low) * u[:, 15]
    image = image + sigma[:, None, None, None] * torch.from_numpy(noise)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).numpy(), labels.numpy()


def _place(ink: torch.Tensor, u: torch.Tensor, signed: torch.Tensor, d: Distortion) -> torch.Tensor:
    """See atlas entries `[n, 1, 64, 64]` through random affine maps; returns `[n, 1, 32, 32]`."""
    angle = signed[:, 2] * (d.rotation * torch.pi / 180)
    low, high = d.scale
    zoom = low + (high - low) * u[:, 3]
    stretch = 1 + d.stretch * signed[:, 4]
    shear = d.shear * signed[:, 5]
    cos, sin = torch.cos(angle), torch.sin(angle)
    # image coordinates -> atlas coordinates: the inverse of rotate, shear, stretch, zoom
    across, along = 1 / (zoom * stretch), 1 / zoom
    theta = torch.stack(
        [
            torch.stack([across * cos + shear * sin, across * sin - shear * cos], 1),
            torch.stack([-along * sin, along * cos], 1),
        ],
        1,
    )
    # at zoom 1 an image shows a whole entry: a capital of 29 entry pixels is 15 pixels high
    shift = signed[:, 6:8] * (2 * d.shift / SIDE)
    offset = -(theta @ shift[:, :, None])
    grid = torch.nn.functional.affine_grid(
        torch.cat([theta, offset], 2), [len(u), 1, SIDE, SIDE], align_corners=False
    )
    return grid_sample(ink, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _bars(u: torch.Tensor, signed: torch.Tensor, d: Distortion) -> torch.Tensor:
    """Return `[n, 1, 32, 32]` in [0, 1]: a straight strip in which no ink shows."""
    axis = torch.arange(SIDE, dtype=torch.float32) - (SIDE - 1) / 2
    angle = torch.pi * u[:, 16]
    distance = (
        axis[None, None, :] * torch.cos(angle)[:, None, None]
        + axis[None, :, None] * torch.sin(angle)[:, None, None]
        - (8 * signed[:, 17])[:, None, None]
    ).abs()
    half = 0.5 * d.bar_width * u[:, 18] * (u[:, 19] < d.bar_probability)
    return (half[:, None, None] + 0.5 - distance).clamp(0, 1)[:, None] * (half > 0)[
        :, None, None, None
    ]

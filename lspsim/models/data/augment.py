"""Vary images of a fixed set: a little rotated, scaled, shifted, with noise."""

from __future__ import annotations

import torch
from torch.nn.functional import affine_grid, grid_sample

ROTATION_DEGREES = 12.0
SCALE = 0.15
SHIFT = 0.12
"""Of half a side."""
NOISE = 0.15
"""Largest standard deviation, in units of the normalised image."""


def augment(images: torch.Tensor, strength: float, seed: int) -> torch.Tensor:
    """Return `[n, C, H, W]` varied images; edges are repeated where the map looks outside.

    Parameters
    ----------
    images
        Normalised float32 `[n, C, H, W]`.
    strength
        Share of the full ranges in [0, 1].
    seed
        Of all draws.
    """
    draw = torch.Generator().manual_seed(seed)
    u = (2 * torch.rand(len(images), 5, generator=draw) - 1) * strength
    angle = u[:, 0] * (ROTATION_DEGREES * torch.pi / 180)
    zoom = 1 + SCALE * u[:, 1]
    cos, sin = zoom * torch.cos(angle), zoom * torch.sin(angle)
    theta = torch.stack(
        [
            torch.stack([cos, sin, SHIFT * u[:, 2]], 1),
            torch.stack([-sin, cos, SHIFT * u[:, 3]], 1),
        ],
        1,
    )
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    varied = grid_sample(images, grid, padding_mode="border", align_corners=False)
    sigma = NOISE * u[:, 4].abs()[:, None, None, None]
    return varied + sigma * torch.randn(images.shape, generator=draw)

"""Per-image block scores and mean weight gradients, from one streaming pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lspsim.calibrate.block_grid import BlockGrid
from lspsim.calibrate.row_store import Float32Array, GrowingMatrices
from lspsim.calibrate.streaming import Batches, Labels, Progress, linear_layers, run_pass
from lspsim.errors import LspsimError

MEMORY_BYTES = 512 * 2**20
"""Block scores of all layers that are kept in memory before they go to disk."""

GRADIENT_BYTES = 8 * 2**20
"""Per-image weight gradients of one layer that exist at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class GradientScores:
    """First derivatives of the loss of each calibration image.

    Parameters
    ----------
    images
        Calibration images.
    samples
        float32 `[images, blocks]` by layer: `s[n, b]`, the sum over block b of
        weight times gradient of image n's loss, in nats. Empty when not wanted.
    mean_gradient
        float32 `[N, K]` by layer: gradient averaged over the images. Empty when
        not wanted.
    """

    images: int
    samples: dict[str, Float32Array]
    mean_gradient: dict[str, NDArray[np.float32]]


def collect_gradients(
    model: nn.Module,
    batches: Batches,
    grids: Mapping[str, BlockGrid],
    *,
    samples: bool = True,
    mean_gradient: bool = False,
    labels: Labels = "sampled",
    seed: int = 0,
    memory_bytes: int = MEMORY_BYTES,
    progress: Progress | None = None,
) -> GradientScores:
    """Gather per-image block scores and the mean gradient of the gridded layers.

    Per-image weight gradients are formed layer by layer, a few images at a time
    (`GRADIENT_BYTES`), multiplied by the weights and summed over each block at
    once. Memory is that of one batch, plus 4 bytes per image and block: up to
    `memory_bytes` in memory, then in a temporary file.

    Parameters
    ----------
    model, batches, labels, seed, progress
        As for `lspsim.calibrate.streaming.run_pass`.
    grids
        Blocks by layer name.
    samples, mean_gradient
        What to gather.
    memory_bytes
        Limit of the scores in memory.

    Raises
    ------
    LspsimError
        On no images, bad labels, values that are not finite, a full disk.
    ModelError
        On a layer that is not linear or not float32.
    """
    modules = linear_layers(model, tuple(grids))
    weights = {name: module.weight.detach() for name, module in modules.items()}
    sums = {name: torch.zeros_like(w) for name, w in weights.items() if mean_gradient}
    columns = {name: grid.blocks for name, grid in grids.items() if samples}
    with GrowingMatrices(columns, memory_bytes) as store:

        def on_gradient(name: str, x: Tensor | None, gradient: Tensor) -> None:
            assert x is not None
            if not samples:
                rows = gradient.reshape(-1, gradient.shape[-1])
                sums[name].addmm_(rows.T, x.reshape(-1, x.shape[-1]))
                return
            found = block_scores(x, gradient, weights[name], grids[name], sums.get(name))
            store.append(name, found.cpu().numpy())

        images = run_pass(
            model,
            batches,
            tuple(grids),
            on_gradient=on_gradient,
            labels=labels,
            seed=seed,
            progress=progress,
        )
        matrices = store.finish()
    means = {name: (total / images).cpu().numpy() for name, total in sums.items()}
    for name in grids:
        whole = means[name] if mean_gradient else matrices[name]
        if not np.isfinite(whole.sum(dtype=np.float64)):
            raise LspsimError(f"layer {name!r}: its gradient is not finite; check the checkpoint")
    return GradientScores(images, matrices, means)


def block_scores(
    x: Tensor, gradient: Tensor, weight: Tensor, grid: BlockGrid, total: Tensor | None = None
) -> Tensor:
    """Return `s[n, b]` of one layer.

    `s[n, (i, j)] = sum over tokens t, rows o of block-row i, columns k of
    block-column j of gradient[n, t, o] x[n, t, k] weight[o, k]`.

    Parameters
    ----------
    x
        Input `[images, tokens, K]`.
    gradient
        Of the output, `[images, tokens, N]`.
    weight
        `[N, K]`.
    grid
        The layer's blocks.
    total
        `[N, K]`: the weight gradients summed over images are added to it.

    Returns
    -------
    `[images, blocks]`, blocks row-major over the grid.
    """
    at_once = max(1, GRADIENT_BYTES // (weight.numel() * weight.element_size()))
    parts = []
    for g, a in zip(torch.split(gradient, at_once), torch.split(x, at_once), strict=True):
        per_image = torch.bmm(g.transpose(1, 2), a)
        if total is not None:
            total += per_image.sum(0)
        parts.append(_pool(per_image.mul_(weight), grid))
    return torch.cat(parts)


def _pool(values: Tensor, grid: BlockGrid) -> Tensor:
    """Sum `[images, N, K]` over each block: `[images, blocks]`."""
    images = len(values)
    rows, cols = grid.grid
    below = rows * grid.block_out - grid.shape[0]
    right = cols * grid.block_in - grid.shape[1]
    if below or right:
        values = nn.functional.pad(values, (0, right, 0, below))
    by_rows = values.view(images * rows, grid.block_out, cols * grid.block_in).sum(1)
    return by_rows.view(images, rows * cols, grid.block_in).sum(2)

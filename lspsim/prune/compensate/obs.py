"""Block-OBS: remove a layer's blocks one by one, the rest making up for each.

Optimal brain surgeon (Hassibi & Stork 1993), per layer on the output error
(layer-wise OBS as in OBC, Frantar & Alistarh 2022) and by blocks. With
`H = X^T X / rows + ridge I` the error of a weight change D is `tr(D H D^T)`,
a sum over rows of W: rows of one block-row share their removed set, different
block-rows do not meet. Within a block-row, with `G = H^-1` over the inputs
that are left, removing block j under best compensation costs
`tr(W_j (G_jj)^-1 W_j^T)`, changes W by `-W_j (G_jj)^-1 G_j,:` and G by
`-G_:,j (G_jj)^-1 G_j,:`.

That downdate is a step of a block Cholesky factorisation of `H^-1` with the
cheapest block as pivot. It is done left-looking here: H^-1 is shared by all
block-rows, each keeps its factor's panels only and computes a column of its
current G when it becomes the pivot. This takes `K^3 / 6` multiply-adds per block-row,
half of the downdates on a shrinking matrix, and no write of a `[K, K]` matrix
per step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lspsim.allocate.curves import LayerCurve
from lspsim.arrays import FloatArray, IntArray
from lspsim.calibrate.blocked import check_layer, padded_inverse, padded_weight
from lspsim.calibrate.damped_gram import ArrayLike, Damped, damped, escalate, float64
from lspsim.errors import LspsimError
from lspsim.prune.compensate.merge import merge_rows
from lspsim.prune.compensate.refit import least_squares_refit

FACTOR_BYTES = 256 * 2**20
"""Memory for the factors of the block-rows that are worked on together."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockObs:
    """Result of `block_obs`: every sparsity of one layer, compensated.

    Parameters
    ----------
    weight, gram
        The layer, float64 `[N, K]` and `[K, K]`.
    block_out, block_in
        Block size.
    order
        int64 `[blocks]`: flat block numbers, first removed first.
    loss
        float64 `[blocks + 1]`: after the first k removals, in `unit`.
    unit
        "nats" (per image) with a row scale, else "output": squared output
        error per token, summed over outputs.
    damping
        Relative damping that the factorisations needed.
    """

    weight: Tensor
    gram: Tensor
    block_out: int
    block_in: int
    order: IntArray
    loss: FloatArray
    unit: str
    damping: float

    def curve(self, name: str) -> LayerCurve:
        """Return order and loss as the curve of the layer `name`."""
        shape = (self.weight.shape[0], self.weight.shape[1])
        return LayerCurve(
            name, shape, self.block_out, self.block_in, self.order, self.loss, self.unit
        )

    def keep_at(self, removed: int) -> NDArray[np.bool_]:
        """Return the kept blocks `[rows, cols]` after `removed` removals."""
        return self.curve("layer").mask(removed).keep

    def weights_at(self, removed: int) -> FloatArray:
        """Return the compensated weight, float64 `[N, K]`, after `removed` removals.

        The accumulated updates equal the least-squares solution on the kept
        inputs, so they are solved for here, any sparsity at one Cholesky per
        block-row, instead of being stored for all of them.
        """
        keep = self.keep_at(removed)
        solved = least_squares_refit(
            self.weight, self.gram, keep, self.block_out, self.block_in, self.damping
        )
        return solved.weight


def block_obs(
    weight: ArrayLike,
    gram: ArrayLike,
    block_out: int,
    block_in: int,
    row_scale: ArrayLike | None = None,
    damping: float = 0.01,
) -> BlockObs:
    """Remove all blocks of a layer, cheapest first, with compensation.

    Parameters
    ----------
    weight
        `[N, K]`.
    gram
        `[K, K]`: centred `X^T X / rows` of the layer's input rows.
    block_out, block_in
        Block size; ragged edges allowed.
    row_scale
        `[N]`, at least 0: square root of each output's gain G_o = mean over
        images of the sum over tokens of its squared loss gradient. A second
        order expansion of the loss with independent tokens and outputs
        (diagonal K-FAC, Martens & Grosse 2015) is
        `1/2 sum_t sum_o E[g_to^2] dy_to^2`, and with gradients independent of
        inputs `1/2 sum_o G_o mean_t dy_to^2`; the error that the Gram measures
        is that mean over tokens, so half the scaled score is nats per image
        with no further factor. Compensation does not depend on it: it moves
        rows only by themselves.
    damping
        Relative to the Gram's mean diagonal; grows tenfold until every
        factorisation succeeds.

    Raises
    ------
    LspsimError
        When shapes do not fit, a value is not finite, or a scale is negative.
    """
    w, h = float64(weight), float64(gram)
    check_layer(w, h, block_out, block_in)
    if not torch.isfinite(w).all():
        raise LspsimError("block-OBS: the weight holds NaN or infinity")
    scale = torch.ones(w.shape[0], dtype=w.dtype) if row_scale is None else float64(row_scale)
    if scale.shape != (w.shape[0],) or not bool((scale >= 0).all()):
        raise LspsimError(f"block-OBS: row_scale must be {w.shape[0]} values of at least 0")
    rows = padded_weight(w, block_out, block_in)
    scales = padded_weight(scale[:, None], block_out, 1)
    while True:
        hessian = damped(h, damping, "block-OBS")
        found = _all_rows(rows, scales, hessian, block_in)
        if found is not None:
            break
        damping = escalate(hessian.damping)
    order, steps = merge_rows(*found)
    if row_scale is not None:
        steps = steps / 2
    loss = np.concatenate([[0.0], np.cumsum(steps)])
    unit = "output" if row_scale is None else "nats"
    return BlockObs(w, h, block_out, block_in, order, loss, unit, hessian.damping)


def _all_rows(
    rows: Tensor, scales: Tensor, hessian: Damped, block_in: int
) -> tuple[IntArray, FloatArray] | None:
    """Run every block-row, as many at a time as `FACTOR_BYTES` allows."""
    inverse = padded_inverse(torch.cholesky_inverse(hessian.factor), block_in)
    chunk = max(1, FACTOR_BYTES // (8 * inverse.shape[0] ** 2))
    orders, costs = [], []
    for start in range(0, rows.shape[0], chunk):
        stop = start + chunk
        found = _remove_all(rows[start:stop], scales[start:stop], inverse, block_in)
        if found is None:
            return None
        orders.append(found[0].numpy())
        costs.append(found[1].numpy())
    return np.concatenate(orders), np.concatenate(costs)


def _remove_all(
    rows: Tensor, scales: Tensor, inverse: Tensor, width: int
) -> tuple[Tensor, Tensor] | None:
    """Remove every block of the given block-rows; None when a pivot is not positive definite.

    `rows` `[R, block_out, K]`, `scales` `[R, block_out, 1]`, `inverse` `[K, K]`.
    Blocks are moved like pivots: those removed are in front, so that the
    rest of every array is the part still in play, for all rows at once.

    Returns the blocks in the order of removal, int64 `[R, K / width]`, and their
    scores, float64, alike.
    """
    count, height, size = rows.shape
    cols = size // width
    every = torch.arange(count)
    blocks = inverse.view(cols, width, cols, width).permute(0, 2, 1, 3)
    weights = rows.reshape(count, height, cols, width).transpose(1, 2).contiguous()
    weights *= scales[:, None]  # rows of one block-row scale alike before and after an update
    diagonal = blocks[torch.arange(cols), torch.arange(cols)].expand(count, -1, -1, -1).clone()
    factor = inverse.new_empty(count, size, size)
    place = torch.arange(cols).expand(count, -1).clone()
    scores = inverse.new_empty(count, cols)
    eye = torch.eye(width, dtype=inverse.dtype)
    for step in range(cols):
        done = step * width
        triangle, info = torch.linalg.cholesky_ex(diagonal[:, step:])
        if bool(info.any()):
            return None
        roots = torch.linalg.solve_triangular(triangle, eye, upper=False).mT
        halves = weights[:, step:] @ roots
        pivot = halves.square().sum((2, 3)).argmin(1)
        for array in (weights, diagonal, place):
            _swap(array, every, step, pivot)
        panels = factor[:, :, :done].view(count, cols, width, done)
        _swap(panels, every, step, pivot)
        half = halves[every, pivot]
        scores[:, step] = half.square().sum((1, 2))
        column = blocks[place[:, step:], place[:, step, None]].reshape(count, size - done, width)
        if done:
            column -= factor[:, done:, :done] @ factor[:, done : done + width, :done].mT
        panel = column @ roots[every, pivot]
        factor[:, done:, done : done + width] = panel
        rest = panel[:, width:].view(count, cols - step - 1, width, width)
        weights[:, step + 1 :] -= half[:, None] @ rest.mT
        diagonal[:, step + 1 :] -= rest @ rest.mT
    return place, scores


def _swap(array: Tensor, every: Tensor, step: int, pivot: Tensor) -> None:
    """Exchange along axis 1, in each row of axis 0, `step` with `step + pivot[row]`."""
    other = step + pivot
    kept = array[every, other].clone()
    array[every, other] = array[:, step].clone()
    array[:, step] = kept

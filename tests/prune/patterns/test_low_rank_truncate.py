"""Truncation in the metric of inputs and loss, against brute force."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from numpy.testing import assert_allclose

from lspsim.errors import LspsimError
from lspsim.prune.compensate import block_obs
from lspsim.prune.patterns.low_rank import spectrum
from lspsim.prune.patterns.low_rank.refit import reduced_rank_refit
from tests.prune.compensate.compensation_cases import layer, ridge_of


def case(outputs: int = 9, inputs: int = 14, seed: int = 0):
    weight, x, gram = layer(seed, outputs, inputs)
    gain = np.random.default_rng(seed).exponential(1.0, outputs)
    return weight, x, gram, gain


def weighted(change, hessian, gain) -> float:
    """Half of `tr(G D H D^T)`, row by row."""
    return sum(g * row @ hessian @ row for g, row in zip(gain, change, strict=True)) / 2


@pytest.mark.parametrize("shape", [(9, 14), (14, 9), (7, 7)])
def test_loss_is_the_weighted_error_of_the_truncated_weight(shape) -> None:
    weight, _, gram, gain = case(*shape)
    hessian = gram + ridge_of(gram, 0.02) * np.eye(shape[1])
    found = spectrum(weight, gram, gain, damping=0.02)
    assert found.damping == 0.02
    assert found.loss.shape == (min(shape) + 1,)
    for rank in range(min(shape) + 1):
        new = found.weight_at(rank)
        assert np.linalg.matrix_rank(new, tol=1e-9) == rank
        assert_allclose(found.loss[rank], weighted(new - weight, hessian, gain), atol=1e-10)
    assert_allclose(found.weight_at(min(shape)), weight, atol=1e-10)


def test_convex_and_falling_to_nothing() -> None:
    loss = spectrum(*_without_rows(case())).loss
    assert loss[-1] == 0
    assert (np.diff(loss) < 0).all()
    assert (np.diff(loss, 2) > -1e-12).all()


def test_removing_all_costs_what_block_obs_says() -> None:
    """The same units: at rank 0 and with no block left the same weights are gone."""
    weight, _, gram, gain = case(8, 12)
    blocks = block_obs(weight, gram, 4, 4, np.sqrt(gain), damping=0.01)
    assert blocks.unit == "nats"
    assert spectrum(weight, gram, gain).loss[0] == pytest.approx(blocks.loss[-1])


def test_outputs_without_gain_are_free_and_harmless() -> None:
    weight, _, gram, gain = case()
    gain[:4] = 0
    found = spectrum(weight, gram, gain)
    assert_allclose(found.loss[5:], 0, atol=1e-12)
    assert_allclose(found.weight_at(5)[4:], weight[4:], atol=1e-8)
    assert np.isfinite(found.weight_at(5)).all()


def test_refit_reaches_what_alternating_least_squares_reaches() -> None:
    """Oracle: two factors fitted in turn on the rows themselves, from several starts."""
    weight, _, _, gain = case(6, 8, seed=3)
    rng = np.random.default_rng(4)
    x = rng.standard_normal((60, 8)) @ rng.standard_normal((8, 8))
    y = x @ weight.T + np.tanh(x[:, :6]) + 0.5 * rng.standard_normal((60, 6))
    x, y = x - x.mean(0), y - y.mean(0)
    gram, cross, rank, damping = x.T @ x / 60, y.T @ x / 60, 2, 0.05
    ridge = ridge_of(gram, damping)

    def objective(new) -> float:
        fit = (gain * (y - x @ new.T) ** 2).sum() / 60
        return float(fit + ridge * (gain[:, None] * (new - weight) ** 2).sum())

    # the ridge as further rows, the gain as a factor of each output
    rows = np.vstack([x / 60**0.5, ridge**0.5 * np.eye(8)])
    wanted = np.vstack([y / 60**0.5, ridge**0.5 * weight.T]) * np.sqrt(gain)
    best = np.inf
    for _ in range(4):
        reader = rng.standard_normal((rank, 8))
        for _ in range(300):
            writer = np.linalg.lstsq(rows @ reader.T, wanted, rcond=None)[0].T
            reader = np.linalg.lstsq(np.kron(writer, rows), wanted.T.ravel(), rcond=None)[
                0
            ].reshape(rank, 8)
        best = min(best, objective(writer @ reader / np.sqrt(gain)[:, None]))
    found = reduced_rank_refit(*map(torch.from_numpy, (weight, gram, cross)), gain, rank, damping)
    assert np.linalg.matrix_rank(found.weight, tol=1e-9) == rank
    assert objective(found.weight) == pytest.approx(best, rel=1e-8)
    plain = spectrum(weight, gram, gain, damping).weight_at(rank)
    assert objective(found.weight) < 0.9 * objective(plain)


def test_bad_input_is_named() -> None:
    weight, _, gram, gain = case()
    with pytest.raises(LspsimError, match="rank 10: this weight has ranks from 0 to 9"):
        spectrum(weight, gram, gain).weight_at(10)
    with pytest.raises(LspsimError, match="row_gain must be 9 finite values"):
        spectrum(weight, gram, -gain)
    with pytest.raises(LspsimError, match="row_gain must be 9 finite values"):
        spectrum(weight, gram, gain[:-1])
    with pytest.raises(LspsimError, match="needs an input Gram"):
        spectrum(weight, gram[:-1], gain)
    weight[0, 0] = np.nan
    with pytest.raises(LspsimError, match="the weight holds NaN"):
        spectrum(weight, gram, gain)


def _without_rows(parts):
    weight, _, gram, gain = parts
    return weight, gram, gain

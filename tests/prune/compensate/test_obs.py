"""Block-OBS against solving every candidate from scratch."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lspsim.errors import LspsimError
from lspsim.prune.compensate import block_obs, obs
from lspsim.prune.compensate.merge import hull_slopes, merge_rows
from tests.prune.compensate import compensation_cases as cases


@pytest.mark.parametrize(
    ("outputs", "inputs", "block_out", "block_in"),
    [(8, 12, 4, 3), (4, 10, 4, 4), (7, 9, 3, 2), (6, 8, 6, 1), (5, 6, 1, 6)],
)
@pytest.mark.parametrize("scaled", [False, True])
def test_every_removal_equals_the_solution_from_scratch(
    outputs, inputs, block_out, block_in, scaled
):
    weight, _, gram = cases.layer(outputs + inputs, outputs, inputs)
    scale = np.random.default_rng(1).uniform(0.2, 3, outputs) if scaled else np.ones(outputs)
    found = block_obs(weight, gram, block_out, block_in, scale if scaled else None, damping=0.02)
    hessian = gram + cases.ridge_of(gram, 0.02) * np.eye(inputs)
    cols = -(-inputs // block_in)

    unit = 0.5 if scaled else 1.0
    for row in range(-(-outputs // block_out)):
        part = slice(row * block_out, (row + 1) * block_out)
        order, errors, weights = cases.greedy_row(
            scale[part, None] * weight[part], hessian, block_in
        )
        ours = found.order[found.order // cols == row] % cols
        assert_array_equal(ours, order)
        steps = np.diff(found.loss)[found.order // cols == row]
        assert_allclose(np.cumsum(steps), unit * np.array(errors[1:]), rtol=1e-8)
        for removed in range(len(found.order) + 1):
            gone = int(np.sum(found.order[:removed] // cols == row))
            assert_allclose(
                scale[part, None] * found.weights_at(removed)[part],
                weights[gone],
                atol=1e-8,
            )


def test_removed_blocks_are_exactly_zero():
    weight, _, gram = cases.layer(3, 16, 24)
    found = block_obs(weight, gram, 4, 4)
    solved = found.weights_at(10)
    blocks = solved.reshape(4, 4, 6, 4).transpose(0, 2, 1, 3).reshape(24, -1)
    assert_array_equal((blocks != 0).any(1), found.keep_at(10).ravel())
    assert found.keep_at(10).sum() == 14


def test_loss_is_the_error_of_the_weights():
    weight, x, gram = cases.layer(4, 16, 24, rank=6)
    found = block_obs(weight, gram, 4, 8, damping=1e-9)
    for removed in (3, 7, 12):
        change = x @ (found.weights_at(removed) - weight).T
        measured = float(np.mean(np.sum(change**2, axis=1)))
        assert found.loss[removed] == pytest.approx(measured, rel=1e-3)


def test_rows_are_the_same_in_small_chunks(monkeypatch):
    weight, _, gram = cases.layer(5, 24, 16)
    whole = block_obs(weight, gram, 4, 4)
    monkeypatch.setattr(obs, "FACTOR_BYTES", 1)
    assert_array_equal(block_obs(weight, gram, 4, 4).order, whole.order)


def test_singular_gram_raises_the_damping_and_says_so():
    weight, _, gram = cases.layer(6, 8, 12)
    gram[:, 6:] = gram[:, :6]
    gram[6:] = gram[:6]
    gram -= 1e-7 * np.eye(12)  # rounding that made it indefinite
    found = block_obs(weight, gram, 4, 4, damping=0.0)
    assert found.damping > 0
    assert np.isfinite(found.loss).all()


def test_inputs_that_never_vary_cost_nothing():
    weight, _, gram = cases.layer(7, 8, 12)
    gram[4:8] = 0
    gram[:, 4:8] = 0
    found = block_obs(weight, gram, 4, 4, damping=1e-9)
    assert set(found.order[:2] % 3) == {1}
    assert found.loss[2] < 1e-6 * found.loss[-1]


def test_order_follows_the_lower_hull():
    assert_allclose(hull_slopes(np.array([1.0, 5.0, 1.0, 4.0])), [1, 3, 3, 4])
    order, steps = merge_rows(np.array([[0, 1, 2], [2, 1, 0]]), np.array([[2.0, 2, 9], [5, 1, 3]]))
    assert_array_equal(order, [0, 1, 5, 4, 3, 2])
    assert_array_equal(steps, [2, 2, 5, 1, 3, 9])


def test_hull_of_random_steps_lies_below_and_is_convex():
    for seed in range(20):
        steps = np.random.default_rng(seed).exponential(size=9)
        slopes = hull_slopes(steps)
        assert (np.diff(slopes) >= 0).all()
        assert (np.cumsum(slopes) <= np.cumsum(steps) + 1e-12).all()
        assert slopes.sum() == pytest.approx(steps.sum())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gram": np.eye(3)}, "input Gram"),
        ({"gram": np.full((4, 4), np.nan)}, "NaN"),
        ({"weight": np.full((4, 4), np.inf)}, "weight holds NaN"),
        ({"block_in": 0}, "block sizes"),
        ({"row_scale": -np.ones(4)}, "row_scale"),
        ({"damping": -1.0}, "damping"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {"weight": np.eye(4), "gram": np.eye(4), "block_out": 2, "block_in": 2} | change
    with pytest.raises(LspsimError, match=message):
        block_obs(**given)

"""Refit against numpy's least squares on the rows themselves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lspsim.calibrate.blocked import element_keep
from lspsim.calibrate.statistics import mean_shift
from lspsim.errors import LspsimError
from lspsim.prune.compensate import least_squares_refit
from tests.prune.compensate import compensation_cases as cases


def test_changed_inputs_and_targets_against_lstsq():
    weight, x, _ = cases.layer(0, 10, 14)
    rng = np.random.default_rng(1)
    changed = x + 0.3 * rng.standard_normal(x.shape)
    changed -= changed.mean(0)
    target = x @ weight.T + 0.1 * rng.standard_normal((len(x), 10))
    target -= target.mean(0)
    keep = rng.random((3, 5)) < 0.6
    rows = len(x)
    found = least_squares_refit(
        weight, changed.T @ changed / rows, keep, 4, 3, 0.0, target.T @ changed / rows
    )
    assert found.damping == 0
    mask = element_keep(keep, (10, 14), 4, 3)
    for row in range(10):
        kept = mask[row]
        expected = np.linalg.lstsq(changed[:, kept], target[:, row], rcond=None)[0]
        assert_allclose(found.weight[row, kept], expected, atol=1e-9)
        assert_array_equal(found.weight[row, ~kept], 0)


def test_ridge_draws_to_the_dense_weight_or_to_the_anchor():
    weight, _, gram = cases.layer(2, 8, 12)
    keep = np.random.default_rng(0).random((2, 3)) < 0.7
    mask = element_keep(keep, (8, 12), 4, 4)
    strong = least_squares_refit(weight, gram, keep, 4, 4, 1e2)
    hessian = gram + cases.ridge_of(gram, 1e2) * np.eye(12)
    for row in range(8):
        solved, _ = cases.solve_row(weight[row : row + 1], hessian, mask[row])
        assert_allclose(strong.weight[row], solved[0], atol=1e-9)
    anchor = np.ones((8, 12))
    drawn = least_squares_refit(weight, gram, keep, 4, 4, 900.0, cross=weight @ gram, toward=anchor)
    assert_allclose(drawn.weight[mask], 1, atol=0.02)


def test_full_mask_changes_nothing():
    weight, _, gram = cases.layer(3, 8, 12)
    found = least_squares_refit(weight, gram, np.ones((1, 1), bool), 8, 12)
    assert_allclose(found.weight, weight, atol=1e-10)


def test_nothing_kept_is_zero():
    weight, _, gram = cases.layer(4, 8, 12)
    assert not least_squares_refit(weight, gram, np.zeros((2, 3), bool), 4, 4).weight.any()


def test_damping_escalates_on_a_singular_gram():
    weight, _, gram = cases.layer(5, 4, 6)
    gram[:, 3:] = gram[:, :3]
    gram[3:] = gram[:3]
    gram -= 1e-9 * np.eye(6)
    found = least_squares_refit(weight, gram, np.ones((1, 1), bool), 4, 6, damping=0.0)
    assert found.damping > 0
    assert np.isfinite(found.weight).all()


def test_kept_inputs_that_never_vary_need_no_more_damping():
    weight, _, gram = cases.layer(8, 8, 12)
    gram[:4] = gram[:, :4] = 0
    gram[0, 0] = -1e-20
    keep = np.array([[True, False, False], [True, True, False]])
    found = least_squares_refit(weight, gram, keep, 4, 4)
    assert found.damping == 0.01
    assert np.isfinite(found.weight).all()


def test_mean_shift_restores_the_mean_output():
    weight, x, _ = cases.layer(6, 5, 7)
    x = x + np.arange(7)
    pruned = weight * (np.arange(7) > 2)
    other = x * 1.1
    shift = mean_shift(weight, pruned, x.mean(0))
    assert_allclose((x @ pruned.T + shift).mean(0), (x @ weight.T).mean(0), atol=1e-9)
    shift = mean_shift(weight, pruned, x.mean(0), other.mean(0))
    assert_allclose((other @ pruned.T + shift).mean(0), (x @ weight.T).mean(0), atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep": np.ones((3, 3), bool)}, "keep has shape"),
        ({"cross": np.ones((2, 4))}, "cross"),
        ({"cross": np.full((4, 4), np.nan)}, "NaN"),
        ({"gram": -1e6 * np.eye(4)}, "not positive"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {
        "weight": np.eye(4),
        "gram": np.eye(4),
        "keep": np.ones((2, 2), bool),
        "block_out": 2,
        "block_in": 2,
    }
    with pytest.raises(LspsimError, match=message):
        least_squares_refit(**(given | change))

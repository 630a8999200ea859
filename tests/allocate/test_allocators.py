"""Allocators against enumeration, the bound against the optimum."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lspsim.allocate import greedy, knapsack, lagrangian, lagrangian_bound, uniform
from lspsim.allocate.allocators.bound import dual_value
from lspsim.allocate.allocators.knapsack import BINS, pack
from lspsim.allocate.budgets import parse_budgets
from lspsim.allocate.curves import LayerCurve
from lspsim.allocate.menus import Choice, LayerMenu, Menus
from lspsim.errors import LspsimError
from lspsim.kernels.knapsack import knapsack as kernel

ALLOCATORS = [lagrangian, knapsack, greedy]
BUDGETS = parse_budgets(["cycles=0.5", "energy=0.5"])


@st.composite
def problems(draw, budgets=None, monotone=None):
    """Draw menus of 1 to 4 layers with 1 to 5 points, and ceilings some selection meets."""
    kinds = draw(st.integers(1, 2)) if budgets is None else budgets
    values = st.integers(-3, 40)
    layers = []
    for number in range(draw(st.integers(1, 4))):
        size = draw(st.integers(1, 5))
        loss = np.array(draw(st.lists(values, min_size=size, max_size=size)), float)
        cost = np.array(
            draw(st.lists(st.tuples(*[values] * kinds), min_size=size, max_size=size)), float
        )
        if monotone or (monotone is None and draw(st.booleans())):  # the usual shape of a menu
            loss.sort()
            cost = -np.sort(-cost, axis=0)
        choices = tuple(Choice(0, count) for count in range(size))
        layers.append(LayerMenu(f"l{number}", choices, loss, cost))
    base = np.array(draw(st.tuples(*[st.integers(50, 100)] * kinds)), float)
    some = [draw(st.integers(0, menu.loss.size - 1)) for menu in layers]
    reached = base + sum(menu.cost[p] for menu, p in zip(layers, some, strict=True))
    slack = np.array(draw(st.tuples(*[st.integers(0, 10)] * kinds)), float)
    return Menus(tuple(layers), BUDGETS[:kinds], base, reached + slack)


def optimum(menus, ceilings=None):
    """Least loss over every selection that meets the ceilings."""
    ceilings = menus.ceilings if ceilings is None else ceilings
    best = np.inf
    for points in itertools.product(*(range(menu.loss.size) for menu in menus.layers)):
        loss, cost = menus.total(np.array(points))
        if (cost <= ceilings + 1e-9).all():
            best = min(best, loss)
    return best


@settings(max_examples=120)
@given(problems())
def test_no_selection_beats_the_bound(menus):
    bound = lagrangian_bound(menus)
    best = optimum(menus)
    assert bound.value <= best + 1e-9
    assert (bound.multipliers >= 0).all()


@settings(max_examples=40)
@given(problems(), st.integers(0, 2**31))
def test_no_multipliers_beat_those_of_the_bound(menus, seed):
    bound = lagrangian_bound(menus)
    rng = np.random.default_rng(seed)
    for _ in range(50):
        other = rng.exponential(2.0, len(menus.budgets)) * rng.integers(0, 2, len(menus.budgets))
        near = np.maximum(bound.multipliers + rng.normal(0, 0.1, other.size), 0)
        assert dual_value(menus, other) <= bound.value + 1e-7
        assert dual_value(menus, near) <= bound.value + 1e-7


@settings(max_examples=120)
@given(problems(budgets=1))
def test_one_budget_is_met_and_the_knapsack_is_optimal(menus):
    found = knapsack(menus)
    loss, cost = menus.total(found.points)
    assert menus.met(cost)
    assert found.loss == loss
    assert optimum(menus) - 1e-9 <= loss
    # rounding up costs at most one bin per layer
    lowest = sum(menu.cost.min(axis=0) for menu in menus.layers)
    bin_width = (menus.room - lowest) / BINS
    assert loss <= optimum(menus, menus.ceilings - len(menus.layers) * bin_width - 1e-6) + 1e-9


@settings(max_examples=80)
@given(problems(monotone=True), st.sampled_from(ALLOCATORS))
def test_every_allocator_meets_all_budgets(menus, allocate):
    found = allocate(menus)
    loss, cost = menus.total(found.points)
    assert menus.met(cost)
    assert found.loss == pytest.approx(loss)
    assert found.bound <= found.loss + 1e-9
    assert found.gap_nats == pytest.approx(found.loss - found.bound)
    if found.bound > 0:
        assert found.gap_relative == pytest.approx(found.gap_nats / found.bound)
    else:
        assert found.gap_relative is None


@settings(max_examples=80)
@given(problems(monotone=True))
def test_knapsack_is_never_worse_than_one_slope(menus):
    assert knapsack(menus).loss <= lagrangian(menus).loss + 1e-9


@settings(max_examples=40)
@given(problems())
def test_odd_menus_are_solved_or_refused_never_violated(menus):
    """Costs that rise with removal, budgets that pull in opposite directions."""
    for allocate in ALLOCATORS:
        try:
            found = allocate(menus)
        except LspsimError as error:
            assert "cannot be met together" in str(error)  # noqa: PT017
        else:
            assert menus.met(menus.total(found.points)[1])


@pytest.mark.parametrize("allocate", ALLOCATORS)
def test_a_budget_that_no_choice_changes_needs_no_slope(allocate):
    """The first budget needs the second point; the second stays at 51 of 51 whatever is chosen."""
    choices = (Choice(0, 0), Choice(0, 1))
    menu = LayerMenu("l", choices, np.zeros(2), np.array([[0.0, 1.0], [-1.0, 1.0]]))
    found = allocate(Menus((menu,), BUDGETS, np.array([50.0, 50.0]), np.array([49.0, 51.0])))
    assert found.points.tolist() == [1]


def test_two_budgets_close_to_the_optimum():
    """20 layers whose cheap points differ between budgets; within 2 % of the bound."""
    rng = np.random.default_rng(5)
    layers = []
    for number in range(20):
        size = 40
        loss = np.cumsum(rng.exponential(1.0, size)) * rng.uniform(0.5, 2)
        cost = -np.cumsum(rng.exponential(1.0, (size, 2)), axis=0) * rng.uniform(0.2, 2, 2)
        loss, cost = np.r_[0, loss], np.vstack([np.zeros(2), cost])
        choices = tuple(Choice(0, n) for n in range(size + 1))
        layers.append(LayerMenu(f"l{number}", choices, loss, cost))
    least = sum(menu.cost.min(axis=0) for menu in layers)
    base = np.array([2000.0, 2000.0])
    menus = Menus(tuple(layers), BUDGETS, base, base + least * np.array([0.5, 0.55]))
    found = knapsack(menus)
    assert all(value > 0 for value in found.multipliers.values())
    assert found.gap_relative < 0.02
    assert found.loss <= lagrangian(menus).loss
    assert found.lpvit_lambda == found.multipliers["cycles"]
    assert found.lpvit_beta == found.multipliers["energy"]


def test_off_hull_points_are_the_knapsacks_gain():
    """One slope jumps from nothing to everything; the optimum is the point between."""
    cost = np.array([[0.0], [-4.0], [-10.0]])
    menu = LayerMenu("l", tuple(Choice(0, n) for n in range(3)), np.array([0.0, 5.0, 10.0]), cost)
    menus = Menus((menu,), BUDGETS[:1], np.array([10.0]), np.array([6.0]))
    assert lagrangian(menus).loss == 10
    assert knapsack(menus).loss == 5
    assert knapsack(menus).bound == pytest.approx(4)
    assert knapsack(menus).gap_relative == pytest.approx(0.25)


def test_uniform_takes_one_fraction_from_all():
    curves = {}
    layers = []
    for name, blocks in (("a", 10), ("b", 20)):
        order = np.arange(blocks)
        curves[name] = [LayerCurve(name, (blocks, 1), 1, 1, order, np.arange(blocks + 1.0))]
        choices = tuple(Choice(0, n) for n in range(blocks + 1))
        cost = -np.arange(blocks + 1.0)[:, None]
        layers.append(LayerMenu(name, choices, np.arange(blocks + 1.0), cost))
    menus = Menus(tuple(layers), BUDGETS[:1], np.array([30.0]), np.array([18.0]))
    found = uniform(menus, curves)
    assert found.choice == {"a": Choice(0, 4), "b": Choice(0, 8)}


def test_what_cannot_be_reached_is_said():
    menu = LayerMenu("l", (Choice(0, 0), Choice(0, 1)), np.array([0.0, 1]), np.array([[0.0], [-6]]))
    menus = Menus((menu,), BUDGETS[:1], np.array([10.0]), np.array([2.0]))
    for allocate in ALLOCATORS:
        with pytest.raises(LspsimError, match=r"4 cycles are left, 1 of dense.*ask for at least"):
            allocate(menus)
    low = np.array([[0.0, 0.0], [-6.0, 0.0], [0.0, -6.0]])
    menu = LayerMenu("l", tuple(Choice(0, n) for n in range(3)), np.array([0.0, 1, 1]), low)
    menus = Menus((menu,), BUDGETS, np.array([10.0, 10.0]), np.array([5.0, 5.0]))
    for allocate in ALLOCATORS:
        with pytest.raises(LspsimError, match="cannot be met together"):
            allocate(menus)


def test_kernel_says_when_nothing_fits():
    choice = np.zeros(1, np.int64)
    start = np.array([0, 2])
    cost, loss, real = np.array([7, 9]), np.array([1.0, 0.0]), np.array([6.5, 8.9])
    assert kernel(start, cost, loss, 5, real, 5.0, choice) == np.inf
    assert kernel(start, cost, loss, 8, real, 8.0, choice) == 1.0
    assert kernel(start, cost, loss, 9, real, 9.0, choice) == 0.0
    assert choice[0] == 1
    # nine bins are one too many, but what they stand for fits
    assert kernel(start, cost, loss, 8, real, 8.9, choice) == 0.0


def test_a_budget_without_room_leaves_the_cheapest_points():
    menu = LayerMenu("l", (Choice(0, 0), Choice(0, 1)), np.array([0.0, 1]), np.array([[0.0], [-6]]))
    menus = Menus((menu,), BUDGETS[:1], np.array([10.0]), np.array([4.0]))
    assert pack(menus, 0, menus.loss).tolist() == [1]

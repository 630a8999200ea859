from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lspsim.explore.dominance import dominated

few = st.integers(0, 6).map(float)
"""Few values, so that ties are common."""
planes = st.lists(st.tuples(few | st.floats(0, 6), few), max_size=30)

TOLERANCE = 0.1
near = st.builds(lambda n, sign: sign * 1.03**n, st.integers(0, 20), st.sampled_from([1, 1, -1]))
"""Values of which two or three in a row are the same within the tolerance."""
near_planes = st.lists(st.tuples(near, few), max_size=30)
cases = st.tuples(planes, st.just(0.0)) | st.tuples(near_planes, st.just(TOLERANCE))


def beats(p, q, tolerance=0.0):
    size = max(abs(p[0]), abs(q[0]))
    better = p[0] > q[0] and p[0] - q[0] >= tolerance * size
    worse = q[0] > p[0] and q[0] - p[0] >= tolerance * size
    return (better and p[1] >= q[1]) or (p[1] > q[1] and not worse)


def judge(points, tolerance=0.0):
    return dominated([p[0] for p in points], [p[1] for p in points], tolerance).tolist()


@given(planes)
def test_without_tolerance_it_is_pareto_dominance(points):
    assert judge(points) == [
        any(p[0] >= q[0] and p[1] >= q[1] and p != q for p in points) for q in points
    ]


@given(cases)
def test_the_front_is_an_antichain_that_beats_the_rest(case):
    points, tolerance = case
    flags = judge(points, tolerance)
    best = [p for p, beaten in zip(points, flags, strict=True) if not beaten]
    assert not any(beats(p, q, tolerance) for p in best for q in best)
    for q, beaten in zip(points, flags, strict=True):
        assert beaten == any(beats(p, q, tolerance) for p in best)
    assert bool(best) == bool(points)


@given(near_planes)
def test_no_point_beats_itself_and_nothing_goes_round_in_circles(points):
    """Whatever is beaten comes later in one order of all points."""
    for p in points:
        assert not beats(p, p, TOLERANCE)
        for q in points:
            assert not beats(p, q, TOLERANCE) or (p[1], p[0]) > (q[1], q[0])


@given(cases, st.data())
def test_a_dominated_point_more_changes_nothing(case, data):
    points, tolerance = case
    if not points:
        return
    a, b = data.draw(st.sampled_from(points))
    worse = (a - data.draw(st.floats(0, 3)), b - data.draw(st.floats(0.5, 3)))
    assert judge([*points, worse], tolerance) == [*judge(points, tolerance), True]


@given(cases, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(case, random):
    points, tolerance = case
    order = list(range(len(points)))
    random.shuffle(order)
    flags = judge(points, tolerance)
    assert judge([points[i] for i in order], tolerance) == [flags[i] for i in order]


def test_equal_points_stand_together():
    assert judge([(1.0, 1.0), (1.0, 1.0), (1.0, 0.5), (0.5, 1.0)]) == [False, False, True, True]
    assert dominated([], []).dtype == np.bool_


def test_differences_within_the_tolerance_decide_nothing():
    # the same accuracy: both stand; a lower one: the hair of speed does not save it
    assert judge([(2.0, 0.9), (2.0008, 0.9)], 0.0005) == [False, False]
    assert judge([(2.0, 0.9), (2.0008, 0.8)], 0.0005) == [False, True]
    assert judge([(2.0, 0.9), (2.0012, 0.9)], 0.0005) == [True, False]
    assert judge([(2.0, 0.9), (2.0012, 0.8)], 0.0005) == [False, False]
    assert judge([(-2.0, 0.9), (-1.9992, 0.8)], 0.0005) == [False, True]


def test_a_chain_of_small_steps_does_not_hide_a_large_one():
    """Each beats the next, but only every second one is on the front and can."""
    chain = [(1 + 0.0004 * n, 0.9 - 0.01 * n) for n in range(6)]
    assert all(beats(p, q, 0.0005) for p, q in pairwise(chain))
    assert judge(chain, 0.0005) == [False, True, False, True, False, True]

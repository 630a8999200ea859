import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lspsim.explore.dominance import dominated

few = st.integers(0, 6).map(float)
"""Few values, so that ties are common."""
planes = st.lists(st.tuples(few | st.floats(0, 6), few), max_size=30)


def beats(p, q):
    return p[0] >= q[0] and p[1] >= q[1] and p != q


def judge(points):
    return dominated([p[0] for p in points], [p[1] for p in points]).tolist()


@given(planes)
def test_by_definition(points):
    assert judge(points) == [any(beats(p, q) for p in points) for q in points]


@given(planes)
def test_the_front_is_an_antichain_that_beats_the_rest(points):
    flags = judge(points)
    best = [p for p, beaten in zip(points, flags, strict=True) if not beaten]
    assert not any(beats(p, q) for p in best for q in best)
    for q, beaten in zip(points, flags, strict=True):
        assert beaten == any(beats(p, q) for p in best)
    assert bool(best) == bool(points)


@given(planes, st.data())
def test_a_dominated_point_more_changes_nothing(points, data):
    if not points:
        return
    a, b = data.draw(st.sampled_from(points))
    worse = (a - data.draw(st.floats(0, 3)), b - data.draw(st.floats(0.5, 3)))
    assert judge([*points, worse]) == [*judge(points), True]


@given(planes, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(points, random):
    order = list(range(len(points)))
    random.shuffle(order)
    flags = judge(points)
    assert judge([points[i] for i in order]) == [flags[i] for i in order]


def test_equal_points_stand_together():
    assert judge([(1.0, 1.0), (1.0, 1.0), (1.0, 0.5), (0.5, 1.0)]) == [False, False, True, True]
    assert dominated([], []).dtype == np.bool_

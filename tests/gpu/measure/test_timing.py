from itertools import pairwise
from random import Random

import numpy as np
import pytest

from lspsim.errors import LspsimError
from lspsim.gpu.measure.timing import (
    CHUNK_S,
    PHASE_S,
    Plan,
    Spread,
    Work,
    _Load,
    burst,
    idle_power_w,
    rejected,
    sustained,
)
from tests.gpu.measure.fakes import FakeDevice

PLAN = Plan()


def test_the_protocol():
    assert PLAN.replays >= 100
    assert PLAN.repeats >= 5
    assert PLAN.window_s >= 5.0
    assert PLAN.warm_up_s >= 2.0
    assert PLAN.variation_limit == 0.03


def test_spread():
    values = (3.0, 1.0, 2.0, 10.0, 4.0)
    spread = Spread(values)
    assert spread.median == 3.0
    assert spread.iqr == 2.0
    assert spread.variation == pytest.approx(np.std(values, ddof=1) / 4.0)


def test_a_burst_is_per_launch():
    device = FakeDevice()
    works = {"dense": device.work("dense", 3e-3, 3), "sparse": device.work("sparse", 2e-3, 4)}
    times = burst(device, works, PLAN)
    assert times["dense"].values == pytest.approx([1e-3] * 5)
    assert times["sparse"].values == pytest.approx([0.5e-3] * 5)


def test_a_burst_takes_turns():
    device = FakeDevice()
    works = {name: device.work(name, 1e-3) for name in ("dense", "sparse")}
    plan = Plan(replays=7, repeats=4, burst_warm_up_s=0.0)
    burst(device, works, plan)
    expected = ["dense", "sparse", "sparse", "dense"]
    assert device.log == [name for name in expected * 2 for _ in range(7)]


def test_a_burst_begins_warm():
    device = FakeDevice()
    burst(device, {"dense": device.work("dense", 1e-3)}, PLAN)
    assert len(device.log) >= 5 * 100 + PLAN.burst_warm_up_s / 1e-3


@pytest.mark.parametrize("seconds", [3e-5, 4.2e-3, 0.06])
def test_energy_under_load(seconds):
    device = FakeDevice(load_w=lambda now: 300.0)
    found = sustained(device, device.work("dense", seconds, 10), PLAN, Random(0))
    assert found.seconds.median == pytest.approx(seconds / 10)
    assert found.joules.median == pytest.approx(30.0 * seconds, rel=0.03)
    assert len(found.joules.values) == 5
    # two seconds of load, five windows, half a second at most for pauses and ticks, and
    # what still waits at each end
    assert 27.0 <= device.now <= 29.0 + 5 * seconds


def runs_of_each_chunk(device):
    """Return a list to which every later submission adds how many runs it held."""
    counts, submit = [], device.submit

    def counted(run):
        before = len(device.log)
        wait = submit(run)
        counts.append(len(device.log) - before)
        return wait

    device.submit = counted
    return counts


def test_the_first_launch_of_a_graph_does_not_make_chunks_small():
    device = FakeDevice()
    device.meter = None
    once = 1e-3
    submitted = runs_of_each_chunk(device)
    work = device.work("dense", once)

    def slow_at_first():
        if not device.log:
            device.advance(0.05, 100.0)  # bringing the graph to the GPU
        work.run()

    sustained(device, Work(slow_at_first), PLAN, Random(0))
    assert submitted[-1] == round(CHUNK_S / once)


def test_the_device_never_waits_while_the_counter_is_read():
    device = FakeDevice()
    device.meter = None
    ahead = []
    submit = device.submit

    def queued(run):
        ahead.append(1)
        wait = submit(run)
        return lambda: (ahead.pop(), wait())

    device.submit = queued
    now_s = device.now_s

    def asked():
        busy.append(len(ahead))
        return now_s()

    busy = []
    device.clock.now_s = asked
    load = _Load(device, device.work("dense", 1e-3))
    busy.clear()
    load.go_on(1.0)
    assert min(busy) >= 2


def test_a_slow_counter_gets_larger_chunks():
    device = FakeDevice()
    read = device.energy_j

    def slowly():
        device.advance(0.03, 300.0)
        return read()

    device.energy_j = slowly
    runs = runs_of_each_chunk(device)
    sustained(device, device.work("dense", 1e-3), PLAN, Random(0))
    assert runs[-1] == 30


def test_windows_are_out_of_phase():
    device = FakeDevice()
    sustained(device, device.work("dense", 1e-3), PLAN, Random(3))
    assert len(device.pauses) == 5
    assert len(set(device.pauses)) == 5
    assert all(0 <= pause <= PHASE_S for pause in device.pauses)


def test_drifting_power_is_rejected():
    steady = FakeDevice(load_w=lambda now: 300.0 + 0.5 * now)
    drifting = FakeDevice(load_w=lambda now: 300.0 + 3.0 * now)
    for device, refused in ((steady, False), (drifting, True)):
        found = sustained(device, device.work("dense", 1e-3), PLAN, Random(0))
        low, high = found.joules.values[0], found.joules.values[-1]
        assert high > low
        assert all(a < b for a, b in pairwise(found.joules.values))
        assert bool(rejected(found.joules, PLAN)) == refused
    assert "limit 3 %" in rejected(found.joules, PLAN)


def test_without_a_meter_only_time():
    device = FakeDevice()
    device.meter = None
    found = sustained(device, device.work("dense", 1e-3), PLAN, Random(0))
    assert found.joules is None
    assert found.seconds.median == pytest.approx(1e-3)
    assert 7.0 <= device.now <= 7.2
    assert device.pauses == []


def test_idle_power():
    device = FakeDevice(idle_w=75.0)
    device.advance(1.234, 300.0)
    assert idle_power_w(device, device.meter, 5.0) == pytest.approx(75.0, rel=0.01)
    assert device.now >= 6.2


def test_a_counter_that_stands_still():
    device = FakeDevice(tick_s=1e9)
    with pytest.raises(LspsimError, match="--no-energy"):
        sustained(device, device.work("dense", 1e-3), PLAN, Random(0))
    with pytest.raises(LspsimError, match=r"stood at 0.000 J"):
        idle_power_w(device, device.meter, 5.0)

"""How long work takes: in bursts, and sustained with the energy that it draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import numpy as np

from lspsim.errors import LspsimError
from lspsim.gpu.measure.device import Device, Meter, Run

STILL_S = 5.0
"""A counter that does not move for so long is broken (NVML's moves every 0.1 s)."""
PHASE_S = 0.1
"""Longest pause before an energy window: the period in which NVML samples power, a quarter
of it on recent GPUs (Yang, Adamek and Armour, arXiv 2312.02741)."""
CHUNK_S = 0.01
"""Work submitted at once during energy windows: a tick of the counter is dated this well. It
is more where reading the counter takes longer."""
_CHUNK_TRIES = 3
_CHUNKS = 3
"""One runs and two wait: the GPU stays busy while the counter is read."""


@dataclass(frozen=True, slots=True)
class Work:
    """Something to time.

    Parameters
    ----------
    run
        Submits it once.
    launches
        How many of what is timed one run holds.
    """

    run: Run
    launches: int = 1


@dataclass(frozen=True, slots=True)
class Spread:
    """Repeated measurements of one quantity."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value."""
        return float(np.median(self.values))

    @property
    def iqr(self) -> float:
        """Distance of the quartiles (linear interpolation)."""
        low, high = np.percentile(self.values, (25, 75))
        return float(high - low)

    @property
    def variation(self) -> float:
        """Sample standard deviation over the mean."""
        return float(np.std(self.values, ddof=1) / np.mean(self.values))


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured; the defaults are the protocol of docs/gpu_measuring.md."""

    replays: int = 100
    """Runs per repeat of a burst."""
    repeats: int = 5
    """Repeats of a burst, and energy windows."""
    burst_warm_up_s: float = 0.1
    window_s: float = 5.0
    """Least length of an energy window."""
    warm_up_s: float = 2.0
    """Load before the first window."""
    variation_limit: float = 0.03
    """Energy windows that vary more are rejected."""


@dataclass(frozen=True, slots=True)
class Sustained:
    """Work under lasting load: seconds and joules per launch, window by window."""

    seconds: Spread
    joules: Spread | None


def burst(device: Device, works: Mapping[str, Work], plan: Plan) -> dict[str, Spread]:
    """Return seconds per launch of each work, repeat by repeat.

    The works take turns, and every other repeat in reverse order, so that drifting clocks
    meet all of them alike.
    """
    for work in works.values():
        start = device.clock.now_s()
        while device.clock.now_s() - start < plan.burst_warm_up_s:
            device.submit(work.run)()
    times: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(plan.repeats):
        names = list(works)[:: 1 if repeat % 2 == 0 else -1]
        for name in names:
            work = works[name]
            taken = device.seconds(lambda work=work: _many(work, plan.replays))  # type: ignore[misc]
            times[name].append(taken / (plan.replays * work.launches))
    return {name: Spread(tuple(values)) for name, values in times.items()}


def sustained(device: Device, work: Work, plan: Plan, random: Random) -> Sustained:
    """Return seconds and joules per launch under load that lasts.

    Without a meter the same time is cut into `repeats` shorter windows, `window_s` in all.
    Windows begin and end where the counter moves, and pauses of random length before them
    shift them against its sampling.

    Raises
    ------
    LspsimError
        When the counter does not move.
    """
    chunk_s = CHUNK_S
    if device.meter is not None:
        begun = device.clock.now_s()
        device.meter.energy_j()
        chunk_s = max(CHUNK_S, device.clock.now_s() - begun)  # or the device would run dry
    load = _Load(device, work, chunk_s)
    load.go_on(plan.warm_up_s)
    seconds, joules = [], []
    for _ in range(plan.repeats):
        if device.meter is None:
            took, launches = load.go_on(plan.window_s / plan.repeats)
        else:
            load.stop()
            device.clock.sleep(random.uniform(0, PHASE_S))
            took, launches, spent = load.window(device.meter, plan.window_s)
            joules.append(spent / launches)
        seconds.append(took / launches)
    load.stop()
    return Sustained(Spread(tuple(seconds)), Spread(tuple(joules)) if joules else None)


def idle_power_w(device: Device, meter: Meter, seconds: float) -> float:
    """Return the mean power of the device while it does nothing.

    Raises
    ------
    LspsimError
        When the counter does not move.
    """
    clock = device.clock

    def tick(since: float) -> tuple[float, float]:
        begun = clock.now_s()
        while (now := meter.energy_j()) == since:
            if clock.now_s() - begun > STILL_S:
                raise _still(since)
            clock.sleep(CHUNK_S / 2)
        return clock.now_s(), now

    start_s, start_j = tick(meter.energy_j())
    end_s, end_j = start_s, start_j
    while end_s - start_s < seconds:
        end_s, end_j = tick(end_j)
    return (end_j - start_j) / (end_s - start_s)


class _Load:
    """Keeps a device busy: while one chunk of work runs, others wait behind it."""

    def __init__(self, device: Device, work: Work, chunk_s: float = CHUNK_S) -> None:
        self._device, self._clock = device, device.clock
        device.submit(work.run)()  # the first launch of a graph brings it to the GPU
        once = max(min(device.seconds(work.run) for _ in range(_CHUNK_TRIES)), 1e-9)
        self._runs = max(1, round(chunk_s / once))
        self._work = work
        self._launches = self._runs * work.launches
        self._pending: list[Run] = []

    def step(self) -> tuple[float, int]:
        """Wait for the oldest chunk; return the time, and its launches."""
        while len(self._pending) < _CHUNKS:
            self._pending.append(self._device.submit(lambda: _many(self._work, self._runs)))
        self._pending.pop(0)()
        return self._clock.now_s(), self._launches

    def go_on(self, seconds: float) -> tuple[float, int]:
        """Run for at least so long; return the seconds, and the launches in them."""
        start, _ = self.step()
        now, launches = start, 0
        while now - start < seconds or not launches:
            now, more = self.step()
            launches += more
        return now - start, launches

    def window(self, meter: Meter, seconds: float) -> tuple[float, int, float]:
        """Return seconds, launches and joules between two ticks of the counter."""
        start, _, before = self._tick(meter, meter.energy_j())
        now, launches, spent = start, 0, before
        while now - start < seconds:
            now, more, spent = self._tick(meter, spent)
            launches += more
        return now - start, launches, spent - before

    def stop(self) -> None:
        """Let the device run dry."""
        while self._pending:
            self._pending.pop(0)()

    def _tick(self, meter: Meter, since: float) -> tuple[float, int, float]:
        begun = self._clock.now_s()
        launches = 0
        while True:
            now, more = self.step()
            launches += more
            if (spent := meter.energy_j()) != since:
                return now, launches, spent
            if now - begun > STILL_S:
                raise _still(since)


def _still(energy_j: float) -> LspsimError:
    return LspsimError(
        f"the energy counter has stood at {energy_j:.3f} J for over {STILL_S:g} s; this GPU or "
        "virtual machine does not update it: measure without energy (--no-energy)"
    )


def _many(work: Work, runs: int) -> None:
    for _ in range(runs):
        work.run()


def rejected(joules: Spread, plan: Plan) -> str:
    """Return why energy windows cannot be used, or an empty text."""
    if joules.variation <= plan.variation_limit:
        return ""
    return (
        f"energy varied by {100 * joules.variation:.1f} % between windows "
        f"(limit {100 * plan.variation_limit:g} %)"
    )

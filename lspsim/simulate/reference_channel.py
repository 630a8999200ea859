"""The memory channel of the reference engine: one server, first come first served."""

from __future__ import annotations

import heapq

import simpy
from simpy.events import EventPriority, ProcessGenerator

_LAST = EventPriority(2)
"""SimPy runs the events of one cycle in the order of their priorities (urgent 0, normal 1)."""


class _EndOfCycle(simpy.Event):
    """Happens in the current cycle, after everything else that happens in it."""

    def __init__(self, env: simpy.Environment) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        env.schedule(self, priority=_LAST)


class Channel:
    """One server: a request at a time, no preemption, ordered by (time, class, core).

    It picks a request only at the end of a cycle, when all requests of that
    cycle are on the table (docs/model.md, "Channels").

    Parameters
    ----------
    env
        The SimPy clock, in cycles.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._queue: list[tuple[int, int, int, int, simpy.Event]] = []
        self._posted = env.event()
        env.process(self._serve())

    def request(self, request_class: int, core: int, cycles: int) -> simpy.Event:
        """Ask, in this cycle, to hold the channel for `cycles`.

        Parameters
        ----------
        request_class
            `WEIGHTS`, `ACTIVATIONS` or `WRITEBACK` of `lspsim.schedule.program`.
        core
            Core that asks. It has one outstanding request per class.
        cycles
            How long the transfer holds the channel; at least 1.

        Returns
        -------
        simpy.Event
            Happens at the end of the transfer; its value is the transfer's first cycle.
        """
        if cycles < 1:
            raise ValueError(f"core {core}: a request must hold the channel, got {cycles} cycles")
        served = self._env.event()
        heapq.heappush(self._queue, (int(self._env.now), request_class, core, cycles, served))
        if not self._posted.triggered:
            self._posted.succeed()
        return served

    def _serve(self) -> ProcessGenerator:
        while True:
            if not self._queue:
                self._posted = self._env.event()
                yield self._posted
            yield _EndOfCycle(self._env)
            _, _, _, cycles, served = heapq.heappop(self._queue)
            start = int(self._env.now)
            yield self._env.timeout(cycles)
            served.succeed(start)

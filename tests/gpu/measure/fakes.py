"""A device whose time and energy are made up, so that what is measured can be checked."""

import torch

from lspsim.gpu.measure.device import CpuDevice
from lspsim.gpu.measure.timing import Plan, Work

QUICK = Plan(
    replays=1, repeats=3, burst_warm_up_s=0.0, window_s=0.03, warm_up_s=0.0, variation_limit=0.03
)
"""A plan for tests on a real CPU."""


class FakeDevice(CpuDevice):
    """Its own clock and meter; power is `idle_w`, under load `load_w(time)`.

    The counter shows the energy at the last tick, as NVML's does.
    """

    name = "a GPU"
    is_cpu = False
    meter_problem = ""

    def __init__(self, idle_w=50.0, load_w=lambda now: 300.0, tick_s=0.1):
        super().__init__()
        self.clock = self.meter = self
        self.idle_w, self.load_w, self.tick_s = idle_w, load_w, tick_s
        self.now = self.spent = self.shown = 0.0
        self.ticks = 0
        self.log, self.pauses = [], []

    def now_s(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.advance(seconds, self.idle_w)

    def advance(self, seconds, watts):
        end = self.now + seconds
        while (self.ticks + 1) * self.tick_s <= end:
            self.ticks += 1
            at = self.ticks * self.tick_s
            self.spent += watts * (at - self.now)
            self.now, self.shown = at, self.spent
        self.spent += watts * (end - self.now)
        self.now = end

    def energy_j(self):
        return self.shown

    def work(self, name, seconds, launches=1):
        def run():
            self.log.append(name)
            self.advance(seconds, self.load_w(self.now))

        return Work(run, launches)

    def state(self):
        return {"clock_sm_mhz": 1980, "throttle_reasons": []}

    def description(self):
        return {"gpu_name": self.name, "driver": "1", "torch": torch.__version__}

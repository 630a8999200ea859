"""What a measurement needs of a device, and the CPU as the plainest one."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from typing import Any, Protocol

import torch

Run = Callable[[], object]
Wait = Callable[[], None]


class Meter(Protocol):
    """A counter of energy."""

    def energy_j(self) -> float:
        """Return the joules spent since some fixed moment; it moves in steps."""


class Clock(Protocol):
    """Time of the host."""

    def now_s(self) -> float:
        """Return the seconds since some fixed moment."""

    def sleep(self, seconds: float) -> None:
        """Do nothing for a while."""


class Device(Protocol):
    """Runs and times work.

    `name` goes into every row; `l2_bytes` is the cache that weights are kept out of;
    `meter` is None where energy cannot be read, and `meter_problem` says why.
    """

    name: str
    is_cpu: bool
    torch_device: torch.device
    l2_bytes: int
    clock: Clock
    meter: Meter | None
    meter_problem: str

    def captured(self, run: Run) -> Run:
        """Return the same work in its cheapest form to launch, warmed up once."""

    def submit(self, run: Run) -> Wait:
        """Start work; the result waits for its end."""

    def seconds(self, run: Run) -> float:
        """Run work and return how long the device took."""

    def state(self) -> dict[str, Any]:
        """Return clocks, temperature and what slows the device down, as far as it reports them."""

    def description(self) -> dict[str, Any]:
        """Return what stays the same during a run: driver, versions, limits."""

    def free(self) -> None:
        """Give unused memory back."""


class HostClock:
    """The machine's own clock."""

    def now_s(self) -> float:
        """Return `time.perf_counter`."""
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


class CpuDevice:
    """The CPU: to try a campaign out; its times say nothing about a GPU."""

    name = "cpu"
    is_cpu = True
    l2_bytes = 0
    meter: Meter | None = None
    meter_problem = "a CPU has no energy counter that lspsim reads"

    def __init__(self) -> None:
        self.torch_device = torch.device("cpu")
        self.clock: Clock = HostClock()

    def captured(self, run: Run) -> Run:
        """Return `run`, after one call."""
        run()
        return run

    def submit(self, run: Run) -> Wait:
        """Run to the end."""
        run()
        return lambda: None

    def seconds(self, run: Run) -> float:
        """Return the wall time."""
        start = self.clock.now_s()
        run()
        return self.clock.now_s() - start

    def state(self) -> dict[str, Any]:
        """Return the load of the machine."""
        return {"load_average": round(os.getloadavg()[0], 2)}

    def description(self) -> dict[str, Any]:
        """Return processor and threads."""
        return {
            "gpu_name": None,
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }

    def free(self) -> None:
        """Do nothing."""

"""What NVIDIA's management library reports of a GPU; it is only ever read."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from lspsim.errors import LspsimError, MissingDependencyError

SLOWDOWNS = {
    0x001: "idle",
    0x002: "application-clocks",
    0x004: "power-cap",
    0x008: "hardware",
    0x010: "sync-boost",
    0x020: "thermal",
    0x040: "hardware-thermal",
    0x080: "hardware-power-brake",
    0x100: "display-clocks",
}
"""Bits of nvmlDeviceGetCurrentClocksEventReasons (nvml.h, nvmlClocksEventReason*)."""


class Nvml:
    """One GPU.

    Parameters
    ----------
    library
        The module `pynvml`, initialised.
    handle
        Its handle of the GPU.
    """

    def __init__(self, library: Any, handle: Any) -> None:
        self._library, self._handle = library, handle

    def energy_j(self) -> float:
        """Return the joules since the driver was loaded; NVML counts millijoules.

        Raises
        ------
        LspsimError
            When the GPU has no counter, or this user must not read it.
        """
        try:
            spent = self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        except self._library.NVMLError as error:
            raise LspsimError(
                f"NVML gives no energy ({error}); it needs a Volta or newer, and the right to "
                "read it: ask the machine's owner, latency is measured all the same"
            ) from error
        return float(spent) / 1000

    def state(self) -> dict[str, Any]:
        """Return clocks, temperature, power and slowdowns; None is what it does not report."""
        nvml, handle = self._library, self._handle
        reasons = self._ask(lambda: _reasons(nvml)(handle))
        watts = self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        return {
            "clock_sm_mhz": self._ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, 1)),
            "clock_memory_mhz": self._ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, 2)),
            "temperature_c": self._ask(lambda: nvml.nvmlDeviceGetTemperature(handle, 0)),
            "power_w": None if watts is None else watts / 1000,
            "throttle_reasons": None if reasons is None else slowdowns(int(reasons)),
        }

    def description(self) -> dict[str, Any]:
        """Return the driver's version and the limits that hold, in watts and MHz."""
        nvml, handle = self._library, self._handle
        limit = self._ask(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
        driver = self._ask(nvml.nvmlSystemGetDriverVersion)
        return {
            "driver": driver.decode() if isinstance(driver, bytes) else driver,
            "power_limit_w": None if limit is None else limit / 1000,
            "clock_sm_max_mhz": self._ask(lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, 1)),
        }

    def _ask(self, question: Callable[[], Any]) -> Any:
        """Return the answer, or None where this GPU, user or binding has none."""
        try:
            return question()
        except (self._library.NVMLError, AttributeError):
            return None


def open_nvml(uuid: str) -> Nvml:
    """Return the GPU with torch's `uuid`.

    Raises
    ------
    MissingDependencyError
        When nvidia-ml-py is not installed.
    LspsimError
        When the library cannot be used, or does not know the GPU.
    """
    try:
        nvml: Any = import_module("pynvml")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "energy, clocks and temperature are read with nvidia-ml-py, which is not installed; "
            'install it with: pip install "lspsim[gpu]"'
        ) from error
    try:
        nvml.nvmlInit()
        return Nvml(nvml, _handle(nvml, uuid))
    except nvml.NVMLError as error:
        raise LspsimError(
            f"NVML cannot be used ({error}); check that nvidia-smi works for this user; latency "
            "is measured all the same"
        ) from error


def slowdowns(bits: int) -> list[str]:
    """Return the names of what slows a GPU down."""
    return [name for bit, name in SLOWDOWNS.items() if bits & bit]


def _handle(nvml: Any, uuid: str) -> Any:
    name = uuid if uuid.startswith("GPU-") else f"GPU-{uuid}"
    try:
        return nvml.nvmlDeviceGetHandleByUUID(name)
    except nvml.NVMLError:
        if nvml.nvmlDeviceGetCount() != 1:  # inside some virtual machines the names differ
            raise
        return nvml.nvmlDeviceGetHandleByIndex(0)


def _reasons(nvml: Any) -> Any:
    """Return the question for slowdowns under its present or its older name."""
    present = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
    return present or nvml.nvmlDeviceGetCurrentClocksThrottleReasons

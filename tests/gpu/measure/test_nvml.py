import sys
from types import SimpleNamespace

import pytest

from lspsim.errors import LspsimError, MissingDependencyError
from lspsim.gpu.measure.nvml import open_nvml, slowdowns


class NVMLError(Exception):
    pass


def library(**changes):
    """Return a stand-in for pynvml with one GPU."""

    def by_uuid(name):
        if name != "GPU-123":
            raise NVMLError("Not Found")
        return "handle"

    return SimpleNamespace(
        **{
            "NVMLError": NVMLError,
            "nvmlInit": lambda: None,
            "nvmlDeviceGetHandleByUUID": by_uuid,
            "nvmlDeviceGetHandleByIndex": lambda index: f"handle {index}",
            "nvmlDeviceGetCount": lambda: 1,
            "nvmlDeviceGetTotalEnergyConsumption": lambda handle: 12_345,
            "nvmlDeviceGetPowerUsage": lambda handle: 250_000,
            "nvmlDeviceGetClockInfo": lambda handle, which: {1: 1980, 2: 3201}[which],
            "nvmlDeviceGetTemperature": lambda handle, which: 40,
            "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: 0x24,
            "nvmlDeviceGetEnforcedPowerLimit": lambda handle: 700_000,
            "nvmlDeviceGetMaxClockInfo": lambda handle, which: 1980,
            "nvmlSystemGetDriverVersion": lambda: b"580.1",
            **changes,
        }
    )


def refuse(*_):
    raise NVMLError("Insufficient Permissions")


def test_what_it_tells(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", library())
    gpu = open_nvml("123")
    assert gpu.energy_j() == 12.345
    assert gpu.state() == {
        "clock_sm_mhz": 1980,
        "clock_memory_mhz": 3201,
        "temperature_c": 40,
        "power_w": 250.0,
        "throttle_reasons": ["power-cap", "thermal"],
    }
    assert gpu.description() == {
        "driver": "580.1",
        "power_limit_w": 700.0,
        "clock_sm_max_mhz": 1980,
    }


def test_what_it_does_not_tell(monkeypatch):
    silent = library(nvmlDeviceGetClockInfo=refuse, nvmlDeviceGetEnforcedPowerLimit=refuse)
    del silent.nvmlDeviceGetTemperature
    monkeypatch.setitem(sys.modules, "pynvml", silent)
    gpu = open_nvml("GPU-123")
    assert gpu.state()["clock_sm_mhz"] is None
    assert gpu.state()["temperature_c"] is None
    assert gpu.description()["power_limit_w"] is None


def test_no_permission(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlDeviceGetTotalEnergyConsumption=refuse))
    with pytest.raises(LspsimError, match=r"Insufficient Permissions.*Volta.*owner"):
        open_nvml("123").energy_j()


def test_no_library_of_the_driver(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlInit=refuse))
    with pytest.raises(LspsimError, match="nvidia-smi works"):
        open_nvml("123")


def test_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "lspsim\[gpu\]"'):
        open_nvml("123")


def test_a_lone_gpu_needs_no_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", library())
    assert open_nvml("other")._handle == "handle 0"
    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlDeviceGetCount=lambda: 2))
    with pytest.raises(LspsimError, match="Not Found"):
        open_nvml("other")


def test_slowdowns():
    assert slowdowns(0) == []
    assert slowdowns(0x1 | 0x80) == ["idle", "hardware-power-brake"]

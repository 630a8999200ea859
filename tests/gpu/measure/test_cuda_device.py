"""`CudaDevice` over a stand-in for torch.cuda; tests/gpu/kernels/test_cuda.py needs a GPU."""

import contextlib
import gc
import weakref
from types import SimpleNamespace

import pytest
import torch

from lspsim.errors import LspsimError, MissingDependencyError
from lspsim.gpu.measure import cuda
from lspsim.gpu.measure.cuda import CudaDevice
from lspsim.gpu.measure.timing import Work, burst
from tests.gpu.measure.fakes import QUICK


class FakeGpu:
    """Knows what was launched, and takes a millisecond for each launch."""

    def __init__(self):
        self.log, self.now_ms = [], 0.0
        self.is_available = lambda: True
        self.current_device = lambda: 0
        self.current_stream = lambda: SimpleNamespace(wait_stream=lambda other: None)
        self.Stream = lambda device: SimpleNamespace(wait_stream=lambda other: None)
        self.stream = lambda stream: contextlib.nullcontext()
        self.synchronize = self.empty_cache = lambda: None
        self.CUDAGraph = lambda: SimpleNamespace(replay=lambda: self.launch("replay"))
        self.Event = self.event

    def get_device_properties(self, index):
        return SimpleNamespace(
            name="NVIDIA Test", uuid="1", L2_cache_size=50_000_000, major=9, minor=0
        )

    def launch(self, name):
        self.log.append(name)
        self.now_ms += 1.0

    @contextlib.contextmanager
    def graph(self, graph):
        self.log.append("capture")
        yield

    def event(self, enable_timing=False):
        event = SimpleNamespace(at=None, synchronize=lambda: None)
        event.record = lambda: setattr(event, "at", self.now_ms)
        event.elapsed_time = lambda end: end.at - event.at
        return event


@pytest.fixture
def gpu(monkeypatch):
    fake = FakeGpu()
    monkeypatch.setattr(cuda, "_cuda", fake)

    def no_nvml(uuid):
        raise MissingDependencyError("nvidia-ml-py is not installed")

    monkeypatch.setattr(cuda, "open_nvml", no_nvml)
    return fake


def test_a_capture_is_warm_and_replays(gpu):
    replay = CudaDevice().captured(lambda: gpu.launch("run"))
    assert gpu.log == ["run"] * 3 + ["capture", "run"]
    replay()
    assert gpu.log[-1] == "replay"


def test_what_a_graph_reads_stays_alive(gpu):
    def make():
        weight = torch.ones(3)

        def run():
            weight.sum()

        return CudaDevice().captured(run), weakref.ref(weight)

    replay, weight = make()
    gc.collect()
    assert weight() is not None
    del replay
    gc.collect()
    assert weight() is None


def test_times_are_the_gpus_own(gpu):
    device = CudaDevice()
    replay = device.captured(lambda: None)
    assert device.seconds(lambda: [replay() for _ in range(7)]) == pytest.approx(7e-3)
    times = burst(device, {"dense": Work(replay, launches=4)}, QUICK)
    assert times["dense"].values == pytest.approx([0.25e-3] * QUICK.repeats)


def test_without_nvml_there_is_no_energy(gpu):
    device = CudaDevice()
    assert device.meter is None
    assert "not installed" in device.meter_problem
    assert device.state() == {}
    assert device.description()["gpu_name"] == "NVIDIA Test"
    assert device.description()["driver"] is None
    assert device.l2_bytes == 50_000_000


def test_with_nvml_there_is(gpu, monkeypatch):
    nvml = SimpleNamespace(
        energy_j=lambda: 1.0,
        state=lambda: {"clock_sm_mhz": 1},
        description=lambda: {"driver": "580", "power_limit_w": 700.0},
    )
    monkeypatch.setattr(cuda, "open_nvml", lambda uuid: nvml)
    device = CudaDevice()
    assert device.meter is nvml
    assert device.state() == {"clock_sm_mhz": 1}
    assert device.description()["power_limit_w"] == 700.0


def test_a_counter_that_may_not_be_read(gpu, monkeypatch):
    def refuse():
        raise LspsimError("NVML gives no energy")

    nvml = SimpleNamespace(energy_j=refuse, state=lambda: {"temperature_c": 40})
    monkeypatch.setattr(cuda, "open_nvml", lambda uuid: nvml)
    device = CudaDevice()
    assert device.meter is None
    assert device.meter_problem == "NVML gives no energy"
    assert device.state() == {"temperature_c": 40}


def test_no_gpu(gpu):
    gpu.is_available = lambda: False
    with pytest.raises(LspsimError, match="--device cpu"):
        CudaDevice()

"""`CudaDevice` over a stand-in for torch.cuda; tests/gpu/kernels/test_cuda.py needs a GPU."""

import contextlib
import gc
import itertools
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
        self.default = self.new_stream()
        self.is_available = lambda: True
        self.current_device = lambda: 0
        self.current = self.default
        self.current_stream = lambda: self.current
        self.Stream = lambda device: self.new_stream()
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

    def new_stream(self):
        return SimpleNamespace(wait_stream=lambda other: None, runs=0)

    @contextlib.contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextlib.contextmanager
    def graph(self, graph, stream=None):
        self.log.append("capture")
        self.current = stream or self.new_stream()  # as torch does: a failure leaves it there
        before = self.default
        yield
        self.current = before

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


def test_a_capture_has_a_warm_stream_of_its_own(gpu):
    streams = []
    device = CudaDevice()
    for _ in range(2):
        device.captured(lambda: streams.append(gpu.current))
    first, second = streams[:4], streams[4:]
    for warm_and_captured in (first, second):
        assert all(stream is warm_and_captured[0] for stream in warm_and_captured)
    assert len({id(stream) for stream in (first[0], second[0], gpu.default)}) == 3
    assert gpu.current is gpu.default


def test_a_capture_that_fails_gives_the_stream_back(gpu):
    def run():
        gpu.launch("run")
        if len(gpu.log) > 4:
            raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="not permitted"):
        CudaDevice().captured(run)
    assert gpu.current is gpu.default


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
    spent = itertools.count()
    nvml = SimpleNamespace(
        energy_j=lambda: next(spent) // 3,
        state=lambda: {"clock_sm_mhz": 1},
        description=lambda: {"driver": "580", "power_limit_w": 700.0},
    )
    monkeypatch.setattr(cuda, "open_nvml", lambda uuid: nvml)
    device = CudaDevice()
    assert device.meter is nvml
    assert device.state() == {"clock_sm_mhz": 1}
    assert device.description()["power_limit_w"] == 700.0


def test_a_counter_that_stands_still(gpu, monkeypatch):
    nvml = SimpleNamespace(energy_j=lambda: 7.0, state=lambda: {"temperature_c": 40})
    monkeypatch.setattr(cuda, "open_nvml", lambda uuid: nvml)
    monkeypatch.setattr(cuda, "_TICK_S", 0.02)
    device = CudaDevice()
    assert device.meter is None
    assert "stood at 7.000 J" in device.meter_problem
    assert device.state() == {"temperature_c": 40}


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

"""A CUDA GPU: graphs, events, and what NVML reports. No setting is ever changed."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import torch

from lspsim.errors import LspsimError
from lspsim.gpu.measure.device import Clock, HostClock, Meter, Run, Wait
from lspsim.gpu.measure.nvml import Nvml, open_nvml

_cuda: Any = torch.cuda  # torch leaves streams and events untyped

_WARM_UP_RUNS = 3
"""Runs before a capture: kernels are compiled and libraries open their workspaces
(torch's note on CUDA graphs asks for a few on a side stream)."""
_TICK_S = 2.0
"""An energy counter moves within this time, or it is not used (NVML's moves every 0.1 s)."""


class CudaDevice:
    """The GPU that torch uses first.

    Raises
    ------
    LspsimError
        When torch sees none.
    """

    is_cpu = False

    def __init__(self) -> None:
        if not _cuda.is_available():
            raise LspsimError(
                f"no GPU: torch {torch.__version__} sees no CUDA device; run this where there is "
                "one (and a CUDA build of torch), or try it out with --device cpu"
            )
        index = _cuda.current_device()
        properties: Any = _cuda.get_device_properties(index)
        self.name: str = properties.name
        self.torch_device = torch.device("cuda", index)
        self.l2_bytes: int = properties.L2_cache_size
        self.clock: Clock = HostClock()
        self._capability = f"{properties.major}.{properties.minor}"
        self._nvml: Nvml | None = None
        self.meter: Meter | None = None
        self.meter_problem = ""
        try:
            self._nvml = open_nvml(str(properties.uuid))
            _wait_for_tick(self._nvml, self.clock)
            self.meter = self._nvml
        except LspsimError as error:
            self.meter_problem = str(error)

    def captured(self, run: Run) -> Run:
        """Return the replay of a CUDA graph of `run`."""
        side = _cuda.Stream(self.torch_device)
        side.wait_stream(_cuda.current_stream())
        with _cuda.stream(side):
            for _ in range(_WARM_UP_RUNS):
                run()
        _cuda.current_stream().wait_stream(side)
        _cuda.synchronize()
        graph = _cuda.CUDAGraph()
        # A stream of its own: cuBLAS keeps one workspace per stream, which newer versions of
        # torch drop with any graph captured there (pytorch/pytorch issue 193402). The outer
        # context gives the stream back when a capture fails, which torch then leaves set.
        with _cuda.stream(_cuda.current_stream()), _cuda.graph(graph, stream=side):
            run()

        def replay(kept_alive: Run = run) -> None:  # a graph knows addresses, it holds no tensor
            graph.replay()

        return replay

    def submit(self, run: Run) -> Wait:
        """Launch; the result waits for an event behind it."""
        run()
        end = _cuda.Event()
        end.record()
        wait: Wait = end.synchronize
        return wait

    def seconds(self, run: Run) -> float:
        """Return the time between two events around `run`."""
        start = _cuda.Event(enable_timing=True)
        end = _cuda.Event(enable_timing=True)
        _cuda.synchronize()
        start.record()
        run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000  # milliseconds

    def state(self) -> dict[str, Any]:
        """Return what NVML reports now."""
        return self._nvml.state() if self._nvml is not None else {}

    def description(self) -> dict[str, Any]:
        """Return the GPU, its limits, and the versions of what drives it."""
        return {
            "gpu_name": self.name,
            "compute_capability": self._capability,
            "l2_bytes": self.l2_bytes,
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "triton": _version("triton"),
            **(self._nvml.description() if self._nvml is not None else {"driver": None}),
        }

    def free(self) -> None:
        """Empty torch's cache of memory."""
        _cuda.empty_cache()


def _wait_for_tick(meter: Meter, clock: Clock) -> None:
    """Raise `LspsimError` unless the counter moves: some virtual machines' do not."""
    begun, before = clock.now_s(), meter.energy_j()
    while meter.energy_j() == before:
        if clock.now_s() - begun > _TICK_S:
            raise LspsimError(
                f"the energy counter stood at {before:.3f} J for {_TICK_S:g} s; this GPU or "
                "virtual machine does not update it; latency is measured all the same"
            )
        clock.sleep(0.01)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

"""GPUs: an execution model, block-sparse kernels, and their measurement. Floor 5.

The names below are the model's and need no torch; `lspsim.gpu.kernels` and
`lspsim.gpu.measure` do. All load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lspsim.gpu.cost import GpuCost
    from lspsim.gpu.inference import GpuPrediction, predict
    from lspsim.gpu.kernel_time import KernelTime
    from lspsim.gpu.kernels import BlockSparseLinear, sparsify
    from lspsim.gpu.load import gpu_names, load_framework, load_gpu, load_parameters
    from lspsim.gpu.model import GpuModel
    from lspsim.gpu.schema import Framework, Gpu, Parameters

_HOME = {
    "BlockSparseLinear": "lspsim.gpu.kernels",
    "Framework": "lspsim.gpu.schema",
    "Gpu": "lspsim.gpu.schema",
    "GpuCost": "lspsim.gpu.cost",
    "GpuModel": "lspsim.gpu.model",
    "GpuPrediction": "lspsim.gpu.inference",
    "KernelTime": "lspsim.gpu.kernel_time",
    "Parameters": "lspsim.gpu.schema",
    "gpu_names": "lspsim.gpu.load",
    "load_framework": "lspsim.gpu.load",
    "load_gpu": "lspsim.gpu.load",
    "load_parameters": "lspsim.gpu.load",
    "predict": "lspsim.gpu.inference",
    "sparsify": "lspsim.gpu.kernels",
}

__all__ = [
    "BlockSparseLinear",
    "Framework",
    "Gpu",
    "GpuCost",
    "GpuModel",
    "GpuPrediction",
    "KernelTime",
    "Parameters",
    "gpu_names",
    "load_framework",
    "load_gpu",
    "load_parameters",
    "predict",
    "sparsify",
]


def __getattr__(name: str) -> Any:
    """Import the module of a public name on its first use (PEP 562)."""
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'lspsim.gpu' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

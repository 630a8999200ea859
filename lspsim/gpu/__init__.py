"""GPUs: an execution model, block-sparse kernels, and their measurement.

The names below are the model's and need no torch; `lspsim.gpu.kernels` and
`lspsim.gpu.measure` do. All load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lspsim.gpu.config.load import (
        framework_names,
        gpu_names,
        load_framework,
        load_gpu,
        load_parameters,
    )
    from lspsim.gpu.config.schema import Framework, Gpu, Parameters
    from lspsim.gpu.kernels import BlockSparseLinear, sparsify
    from lspsim.gpu.model.cost import GpuCost
    from lspsim.gpu.model.gpu_model import GpuModel
    from lspsim.gpu.model.inference import GpuPrediction, predict
    from lspsim.gpu.model.kernel_time import KernelTime

_HOME = {
    "BlockSparseLinear": "lspsim.gpu.kernels",
    "Framework": "lspsim.gpu.config.schema",
    "Gpu": "lspsim.gpu.config.schema",
    "GpuCost": "lspsim.gpu.model.cost",
    "GpuModel": "lspsim.gpu.model.gpu_model",
    "GpuPrediction": "lspsim.gpu.model.inference",
    "KernelTime": "lspsim.gpu.model.kernel_time",
    "Parameters": "lspsim.gpu.config.schema",
    "framework_names": "lspsim.gpu.config.load",
    "gpu_names": "lspsim.gpu.config.load",
    "load_framework": "lspsim.gpu.config.load",
    "load_gpu": "lspsim.gpu.config.load",
    "load_parameters": "lspsim.gpu.config.load",
    "predict": "lspsim.gpu.model.inference",
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
    "framework_names",
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

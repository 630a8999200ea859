"""Import timm where torchvision's compiled operators do not fit the installed torch.

Beside a CPU-only torch, pip can bring a torchvision wheel that was compiled
for CUDA. Its extension then fails to load, so `nms` is never registered, and
`import torchvision`, hence `import timm`, stops at the first place that attaches
a fake kernel to it. lspsim needs neither operator, only their declarations.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from lspsim.errors import MissingDependencyError

SYMPTOM = "operator torchvision::nms does not exist"
"""The one error that is cured; every other one passes through."""

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
"""Signature of `torchvision::nms`, from torchvision's `csrc/ops/nms.cpp`."""

_declared: list[Any] = []  # a torch Library withdraws its operators when it is collected


def import_timm() -> ModuleType:
    """Import timm, past a torchvision whose compiled operators are missing.

    Where torchvision loads, this is `import timm` and touches nothing.

    Raises
    ------
    MissingDependencyError
        When timm, torch or torchvision is not installed.
    """
    try:
        return import_module("timm")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("timm", "torch", "torchvision"):
            raise
        raise MissingDependencyError(
            f"models are read with timm, and {missing!r} is not installed; "
            'install it with: pip install "lspsim[models]"'
        ) from error
    except RuntimeError as error:
        if SYMPTOM not in str(error):
            raise
    _forget("torchvision", "timm")
    _declare_operators()
    return import_module("timm")


def _forget(*packages: str) -> None:
    """Drop half-imported packages, so that they are imported anew."""
    for name in list(sys.modules):
        if name.partition(".")[0] in packages:
            del sys.modules[name]


def _declare_operators() -> None:
    """Declare the operators whose absence stops the import."""
    library = import_module("torch.library").Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(operator + SCHEMA)
    _declared.append(library)

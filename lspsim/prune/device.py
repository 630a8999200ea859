"""The device that a run is asked to use."""

from __future__ import annotations

import torch

from lspsim.errors import ModelError


def check_device(name: str) -> None:
    """Raise `ModelError` unless torch has the device `name` ("cpu", "cuda", "cuda:1")."""
    try:
        kind = torch.device(name).type
    except RuntimeError as error:
        raise ModelError(f"unknown device {name!r}: use cpu or cuda") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"device {name!r}: torch {torch.__version__} sees no CUDA device; use --device cpu"
        )
    if kind not in ("cpu", "cuda"):
        raise ModelError(f"device {name!r} is not supported: use cpu or cuda")

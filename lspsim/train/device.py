"""The device that a run is asked to use, and what it is good at."""

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


def multiplies_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 matrices in hardware.

    Where it does not, torch emulates them, more slowly than float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported())

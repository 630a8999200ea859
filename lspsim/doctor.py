"""`lspsim doctor`: what is installed here, and what of it works."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from lspsim.errors import LspsimError

State = Literal["ok", "absent", "problem"]

CORE = ("numpy", "numba", "pandas", "pyarrow", "scipy", "simpy", "pydantic", "ruamel.yaml")
"""Distributions that every installation needs."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    subject: str
    state: State
    detail: str
    """What was found; where `state` is not `ok`, also what it costs and how to mend it."""


def examine(*, models: bool = True) -> list[Finding]:
    """Look at the environment.

    Parameters
    ----------
    models
        Also import torch and timm, which takes seconds; else only their versions.
    """
    return [
        _python(),
        *(_distribution(name) for name in CORE),
        *(_models() if models else ()),
        _numba_cache(),
        _verilator(),
    ]


def _python() -> Finding:
    """Interpreter, platform and usable cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    detail = f"{platform.python_version()}, {platform.system()} {platform.machine()}, {cores} cores"
    return Finding("python", "ok", detail)


def _distribution(name: str) -> Finding:
    """Return the installed version of a required package."""
    try:
        return Finding(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, "problem", "not installed; install it with: pip install lspsim")


def _models() -> list[Finding]:
    """Import torch, torchvision and timm the way `lspsim.models` does."""
    missing = [name for name in ("torch", "torchvision", "timm") if find_spec(name) is None]
    if missing:
        cure = 'models cannot be read; install them with: pip install "lspsim[models]"'
        return [Finding(name, "absent", cure) for name in missing]
    from lspsim.models.torchvision_guard import import_timm

    try:
        timm = import_timm()
    except (LspsimError, ImportError, RuntimeError) as error:
        return [Finding("timm", "problem", f"does not import: {error}")]
    import torch
    from torchvision.extension import _has_ops

    tv_detail = metadata.version("torchvision")
    if not _has_ops():
        tv_detail += "; its compiled operators do not fit this torch, lspsim works around that"
    return [
        Finding("torch", "ok", torch.__version__),
        Finding("torchvision", "ok", tv_detail),
        Finding("timm", "ok", timm.__version__),
        _gpu(),
    ]


def _gpu() -> Finding:
    """Return the first CUDA device, if torch sees one."""
    import torch

    if not torch.cuda.is_available():
        return Finding("GPU", "absent", "torch sees none; the simulator does not need one")
    count = torch.cuda.device_count()
    more = f" and {count - 1} more" if count > 1 else ""
    return Finding("GPU", "ok", torch.cuda.get_device_name(0) + more)


def _numba_cache() -> Finding:
    """Can compiled kernels be kept between runs."""
    set_to = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(set_to) if set_to else Path(__file__).parent / "kernels" / "__pycache__"
    compiled = sum(1 for _ in folder.rglob("*.nbc")) if folder.is_dir() else 0
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        return Finding(
            "numba cache",
            "problem",
            f"{folder} is not writable, so kernels may be compiled anew in every run; "
            "set NUMBA_CACHE_DIR to a folder of yours",
        )
    return Finding("numba cache", "ok", f"{compiled} compiled kernels in {folder}")


def _verilator() -> Finding:
    """Is there a Verilog simulator for array checks against RTL."""
    program = shutil.which("verilator")
    if program is None:
        return Finding("verilator", "absent", "only the RTL test bench needs it")
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    if answer.returncode:
        return Finding("verilator", "problem", f"{program} --version failed: {answer.stderr}")
    return Finding("verilator", "ok", answer.stdout.strip())

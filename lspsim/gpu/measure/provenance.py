"""Where a row comes from: package, commit, versions, settings."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from lspsim.gpu.measure.device import Device
from lspsim.gpu.measure.timing import Plan

_MEASUREMENTS = "lspsim/gpu/measurements"
"""What a campaign writes there is no change of the code that it measures."""


def run_provenance(device: Device, plan: Plan, seed: int) -> dict[str, Any]:
    """Return what is the same for all rows of a run."""
    from lspsim import __version__

    return {
        **device.description(),
        "timm": metadata.version("timm"),
        "lspsim_version": __version__,
        **_commit(),
        "seed": seed,
        "replays": plan.replays,
        "repeats": plan.repeats,
        "window_s": plan.window_s,
        "warm_up_s": plan.warm_up_s,
    }


def now_utc() -> str:
    """Return the time as ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _commit() -> dict[str, Any]:
    """Return the commit of the checkout that this package runs from; None outside of one."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return {"git_commit": None, "git_dirty": None}
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--", ".", f":(exclude){_MEASUREMENTS}")
        return {"git_commit": commit, "git_dirty": bool(changes)}
    except (OSError, subprocess.CalledProcessError):  # no git here, or not this user's checkout
        return {"git_commit": None, "git_dirty": None}


def _git(root: Path, *words: str) -> str:
    answer = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()

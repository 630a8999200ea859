"""The state file of a run: all that is needed to go on after a kill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lspsim.errors import ModelError
from lspsim.workload.atomic import write_atomically


def write_state(path: Path, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write tensors, numbers and the run's identity, whole or not at all.

    Raises
    ------
    ModelError
        When the file cannot be written (a full disk, say); the last one is kept.
    """
    content = {"identity": json.dumps(identity, sort_keys=True), **state}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: torch.save(content, file))
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise ModelError(
            f"{path}: the state of the run cannot be written: {reason}; what was written before "
            "is kept, so the run can be resumed once there is disk space"
        ) from error


def read_state(path: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the state of the run with this identity, None when there is no file.

    Raises
    ------
    ModelError
        When the file is damaged, or belongs to a run with other settings.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        written = json.loads(state["identity"])
    except Exception as error:  # a damaged stream leads its reader to any error at all
        raise ModelError(
            f"{path}: not the state of a run, or damaged ({type(error).__name__}); "
            "delete it to start over"
        ) from error
    wanted = json.loads(json.dumps(identity))
    different = [
        f"{key}: {written.get(key)!r} there, {wanted.get(key)!r} here"
        for key in sorted(written.keys() | wanted.keys())
        if written.get(key) != wanted.get(key)
    ]
    if different:
        raise ModelError(
            f"{path} belongs to a run with other settings ({'; '.join(different)}); "
            "use another folder, or delete the file to start over"
        )
    return dict(state)

"""From timm and torch models to workloads, and from weights to masks.

Nothing here imports torch before it is needed: names are resolved on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lspsim.models.cache import cached_workload
    from lspsim.models.checkpoints import load_state, masks_from_weights
    from lspsim.models.extract import workload_from_model
    from lspsim.models.load import load_model

__all__ = [
    "cached_workload",
    "load_model",
    "load_state",
    "masks_from_weights",
    "workload_from_model",
]

_HOME = {
    "cached_workload": "lspsim.models.cache",
    "load_model": "lspsim.models.load",
    "load_state": "lspsim.models.checkpoints",
    "masks_from_weights": "lspsim.models.checkpoints",
    "workload_from_model": "lspsim.models.extract",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

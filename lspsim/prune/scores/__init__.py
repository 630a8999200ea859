"""Block scores: in which order a layer loses its blocks, one file per score.

Names resolve on first use, so that importing the package brings no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lspsim.prune.scores.registry import SCORES, Score, score

__all__ = ["SCORES", "Score", "score"]

_HOME = {
    "SCORES": "lspsim.prune.scores.registry",
    "Score": "lspsim.prune.scores.registry",
    "score": "lspsim.prune.scores.registry",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

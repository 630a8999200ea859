"""Keep the shapes of timm models, so that torch and timm need not be imported again.

A workload without masks depends on the model's name, timm's version, batch,
image size, number of classes and the code that extracts it: these make the key. An entry is a
workload file; one that cannot be read is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import warnings
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from lspsim.errors import MissingDependencyError, WorkloadError
from lspsim.models.cards import card_of, read_card
from lspsim.workload.serialise import load_workload, save_workload
from lspsim.workload.workload import Workload

if TYPE_CHECKING:
    from lspsim.models.build import ImageSize

SCHEMA = 1
"""Raised when the meaning of an entry changes."""


class CacheWarning(UserWarning):
    """Shapes could not be kept; the next run has to import torch again."""


def cached_workload(
    name: str,
    batch: int = 1,
    image_size: ImageSize | None = None,
    num_classes: int | None = None,
) -> Workload:
    """Return `workload_from_model` of a name, from the cache if it is there.

    Only a miss imports torch and timm. Where the cache cannot be written, a
    `CacheWarning` says so and the workload is returned all the same.

    Parameters
    ----------
    name
        A timm model name, a model that ships with the package, or the path of a model card.
    batch
        Images per inference.
    image_size
        Side or (height, width) in pixels; default: the model's own.
    num_classes
        Outputs; default: the model's own number.

    Raises
    ------
    MissingDependencyError
        When timm is not installed.
    ModelError, UnsupportedOperatorError
        As `workload_from_model`.
    """
    path = cache_dir() / "workloads" / f"{_key(name, batch, image_size, num_classes)}.json"
    if (kept := _read(path)) is not None:
        return kept
    from lspsim.models.extract import workload_from_model

    workload = workload_from_model(name, batch, image_size=image_size, num_classes=num_classes)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_workload(path, workload)
    except OSError as error:
        warnings.warn(
            f"the shapes of {name} could not be kept in {path.parent} ({error.strerror}); "
            "set LSPSIM_CACHE_DIR to a folder that can be written",
            CacheWarning,
            stacklevel=2,
        )
    return workload


def _read(path: Path) -> Workload | None:
    """Return the entry, or None if there is none or it is damaged: it is then made anew."""
    try:
        return load_workload(path, masks={})
    except WorkloadError:
        return None


def cache_dir() -> Path:
    """Return lspsim's cache folder: `LSPSIM_CACHE_DIR`, else `lspsim` in the user's cache.

    The user's cache is `XDG_CACHE_HOME` where set, `~/Library/Caches` on macOS,
    `%LOCALAPPDATA%` on Windows, `~/.cache` elsewhere.
    """
    if own := os.environ.get("LSPSIM_CACHE_DIR"):
        return Path(own)
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "lspsim"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "lspsim"
    if local := os.environ.get("LOCALAPPDATA"):
        return Path(local) / "lspsim" / "Cache"
    return Path.home() / ".cache" / "lspsim"


def _key(name: str, batch: int, image_size: ImageSize | None, num_classes: int | None) -> str:
    """Return the entry's file name: what it is, and a digest of all it depends on."""
    try:
        timm = metadata.version("timm")
    except metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            "models are read with timm, which is not installed; "
            'install it with: pip install "lspsim[models]"'
        ) from error
    from lspsim import __version__

    own = "" if (card := card_of(name)) is None else read_card(card)["architecture"]
    parts = [SCHEMA, __version__, _code_digest(), timm, name, own, batch, image_size, num_classes]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    readable = "".join(char if char.isalnum() or char in "_.-" else "-" for char in name)
    return f"{readable[:64]}-b{batch}-{digest[:16]}"


@cache
def _code_digest() -> str:
    """Digest what shapes come from: the extraction's source, and the cards of shipped models."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    code = [
        *here.glob("*.py"),
        *(here / "operators").glob("*.py"),
        *(here.parent / "workload").glob("*.py"),
    ]
    for path in sorted([*code, *(here / "shipped").glob("*.json")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()

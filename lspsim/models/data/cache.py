"""Keep rendered images, so that a dataset is drawn once per machine."""

from __future__ import annotations

import hashlib
import warnings
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lspsim.models.cache import CacheWarning, cache_dir
from lspsim.models.data.glyphs import GlyphSet
from lspsim.models.data.render import SIDE, render
from lspsim.workload.atomic import write_atomically

Drawn = tuple[NDArray[np.uint8], NDArray[np.int64]]


def cached_render(
    name: str, glyphs: GlyphSet, split: str, count: int, entropy: tuple[int, ...]
) -> Drawn:
    """Return `render(...)`, from lspsim's cache folder if it is there.

    An entry is a pair of `.npy` files, the labels written last; one that
    cannot be read is made anew. Where the cache cannot be written, a
    `CacheWarning` says so and the images are returned all the same.
    """
    key = "-".join([name, split, str(count), *map(str, entropy), _digest()])
    folder = cache_dir() / "datasets"
    pixels_file, labels_file = folder / f"{key}.pixels.npy", folder / f"{key}.labels.npy"
    if (kept := _read(pixels_file, labels_file, count)) is not None:
        return kept
    pixels, labels = render(
        glyphs.characters, glyphs.fonts[split], count, entropy, glyphs.distortion
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(pixels_file, lambda file: np.save(file, pixels, allow_pickle=False))
        write_atomically(labels_file, lambda file: np.save(file, labels, allow_pickle=False))
    except OSError as error:
        warnings.warn(
            f"the images of {name} could not be kept in {folder} ({error.strerror}); "
            "set LSPSIM_CACHE_DIR to a folder that can be written",
            CacheWarning,
            stacklevel=2,
        )
    return pixels, labels


def _read(pixels_file: Path, labels_file: Path, count: int) -> Drawn | None:
    """Return the entry, or None if there is none or it is damaged: it is then made anew."""
    try:
        pixels = np.load(pixels_file, allow_pickle=False)
        labels = np.load(labels_file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if pixels.shape != (count, 3, SIDE, SIDE) or labels.shape != (count,):
        return None
    return pixels, labels


@cache
def _digest() -> str:
    """Digest all that the pixels depend on: the code here and the versions that draw."""
    digest = hashlib.sha256()
    for name in ("render.py", "glyphs.py"):
        digest.update((Path(__file__).parent / name).read_bytes())
    for package in ("matplotlib", "pillow", "numpy", "torch"):
        digest.update(metadata.version(package).encode())
    return digest.hexdigest()[:12]

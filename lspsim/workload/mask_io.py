"""Masks in `.npz` files: one bool array per layer, and a manifest that is checked.

The file holds each layer's `keep` under the layer's name, readable with plain
`numpy.load`, and a JSON manifest (`__lspsim__`) with block sizes, real shapes
and digests. Pickles are never loaded.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lspsim.errors import WorkloadError
from lspsim.workload.atomic import write_atomically
from lspsim.workload.mask import BlockMask

SCHEMA = "lspsim/masks/v1"
MANIFEST = "__lspsim__"
"""Name of the array that holds the manifest."""

_CURE = "write masks with lspsim.workload.mask_io.save_masks"


def save_masks(path: str | Path, masks: Mapping[str, BlockMask], model: str = "") -> None:
    """Write masks by layer name; the file appears whole or not at all.

    Equal masks of the same model give equal bytes.

    Parameters
    ----------
    path
        The .npz file.
    masks
        By layer name.
    model
        Name of the model that they belong to, so that no other takes them; "" says nothing.

    Raises
    ------
    WorkloadError
        When a layer's name cannot name an array.
    OSError
        When the folder cannot be written.
    """
    for name in masks:
        if not name or name == MANIFEST or "/" in name or name.endswith(".npy"):
            raise WorkloadError(f"masks: a layer called {name!r} cannot be stored in an .npz file")
    layers = {
        name: {
            "block_out": mask.block_out,
            "block_in": mask.block_in,
            "shape": mask.shape,
            "digest": mask.digest,
        }
        for name, mask in masks.items()
    }
    named = {"model": model} if model else {}
    manifest = np.array(json.dumps({"schema": SCHEMA, **named, "layers": layers}))
    arrays: dict[str, NDArray[Any]] = {MANIFEST: manifest}
    arrays.update((name, mask.keep) for name, mask in masks.items())

    def write(file: Any) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                # a fixed date keeps equal masks equal byte for byte
                entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(entry, "w") as stream:
                    np.lib.format.write_array(stream, array, allow_pickle=False)

    write_atomically(Path(path), write)


def load_masks(path: str | Path, model: str = "") -> dict[str, BlockMask]:
    """Read masks by layer name, and verify each one's shape and digest.

    Parameters
    ----------
    path
        The .npz file.
    model
        Name of the model that they are meant for; "" takes those of any.

    Raises
    ------
    WorkloadError
        When the file is missing, corrupted, carries a pickle, was not written
        by `save_masks`, names another model, or a mask does not match its shape
        or digest.
    """
    try:
        arrays = _arrays(Path(path))
    except OSError as error:
        raise WorkloadError(f"masks {path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise WorkloadError(
            f"masks {path}: not a mask file, or corrupted ({error}); {_CURE}"
        ) from error
    if MANIFEST not in arrays:
        raise WorkloadError(f"masks {path}: it has no manifest {MANIFEST!r}; {_CURE}")
    try:
        manifest = json.loads(str(arrays.pop(MANIFEST)[()]))
        schema, layers = manifest["schema"], dict(manifest["layers"])
    except (ValueError, KeyError, TypeError) as error:
        raise WorkloadError(
            f"masks {path}: its manifest is malformed ({error}); {_CURE}"
        ) from error
    if schema != SCHEMA:
        raise WorkloadError(
            f"masks {path}: schema {schema!r} is not {SCHEMA!r}; "
            "read it with the lspsim that wrote it, and save it again"
        )
    check_model(f"masks {path}", str(manifest.get("model", "")), model)
    if odd := sorted(set(layers) ^ set(arrays)):
        raise WorkloadError(
            f"masks {path}: manifest and arrays disagree about {', '.join(map(repr, odd))}; {_CURE}"
        )
    return {name: _mask(path, name, arrays[name], entry) for name, entry in layers.items()}


def check_model(what: str, named: str, model: str) -> None:
    """Refuse what a point or a file of masks says belongs to another model.

    timm's tags of weights ("....fb_in1k") make no other model. The path of a model card names
    no architecture, and passes.

    Raises
    ------
    WorkloadError
        When both names are there and differ.
    """
    paths = any(name.endswith(".json") for name in (named, model))
    if named and model and not paths and named.partition(".")[0] != model.partition(".")[0]:
        raise WorkloadError(f"{what} belongs to {named}, not to {model}; name the model it is of")


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no zip archive")
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}


def _mask(path: str | Path, name: str, keep: NDArray[Any], entry: Any) -> BlockMask:
    where = f"masks {path}, layer {name!r}"
    try:
        n, k = (int(size) for size in entry["shape"])
        block_out, block_in = int(entry["block_out"]), int(entry["block_in"])
        digest = str(entry["digest"])
    except (KeyError, TypeError, ValueError) as error:
        raise WorkloadError(
            f"{where}: its manifest entry is malformed ({error}); {_CURE}"
        ) from error
    if n < 1 or k < 1:
        raise WorkloadError(f"{where}: the shape {n}x{k} is not that of a weight; {_CURE}")
    try:
        mask = BlockMask(keep, block_out, block_in, shape=(n, k))
    except WorkloadError as error:
        raise WorkloadError(f"{where}: {error}") from error
    if mask.digest != digest:
        raise WorkloadError(
            f"{where}: its blocks do not match their digest, so the file was changed after it was "
            f"written; restore it, or save the masks again"
        )
    return mask

"""Tuned tiles: found once per GPU and shape, kept in a JSON file, looked up at each call."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lspsim.errors import LspsimError
from lspsim.gpu.kernels.tile import Tile, dtype_name
from lspsim.models.cache import cache_dir
from lspsim.workload.atomic import write_atomically

SCHEMA = "lspsim/gpu-tuning/v1"

SHIPPED = Path(__file__).parents[1] / "measurements"
"""Folder of the tunings that come with the package (`*.tuning.json`)."""


@dataclass(frozen=True, slots=True)
class TuningKey:
    """What a tuned tile is for; density is left out, for it moves the best tile little."""

    gpu: str
    dtype: str
    n: int
    k: int
    tokens: int
    block_out: int
    block_in: int

    @classmethod
    def of(cls, x: Tensor, values: Tensor, out_features: int) -> TuningKey:
        """Return the key of a product of `x [tokens, K]` on x's device."""
        gpu = _device_name(x.device.index) if x.is_cuda else "cpu"
        block_out, block_in = values.shape[1:]
        tokens, k = x.shape
        return cls(gpu, dtype_name(x.dtype), out_features, k, tokens, block_out, block_in)


@dataclass(frozen=True, slots=True)
class Tuned:
    """A tile, and the seconds per product that it was chosen for."""

    tile: Tile
    latency_s: float


class Tunings:
    """Tuned tiles of one file, before those that come with the package.

    The file is written whole on every change.

    Parameters
    ----------
    path
        JSON file; it need not exist.

    Raises
    ------
    LspsimError
        When the file is there and is no tuning file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found = _read(path)

    def get(self, key: TuningKey) -> Tile | None:
        """Return the tuned tile, or None."""
        found = self._found.get(key) or _shipped(SHIPPED).get(key)
        return None if found is None else found.tile

    def put(self, key: TuningKey, tuned: Tuned) -> None:
        """Keep a tile and write the file."""
        self._found[key] = tuned
        entries = [
            {**asdict(key), "tile": asdict(value.tile), "latency_s": value.latency_s}
            for key, value in self._found.items()
        ]
        text = json.dumps({"schema": SCHEMA, "entries": entries}, indent=1) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, lambda file: file.write(text.encode()))


class NoTileError(LspsimError):
    """No tile ran: the GPU or the kernel is out of order, for small tiles run anywhere."""


def tune(
    product: Callable[[Tile], Tensor],
    seconds: Callable[[Callable[[], Tensor]], float],
    tiles: Sequence[Tile],
) -> Tuned:
    """Return the fastest of `tiles`.

    A tile can ask for more shared memory or registers than the GPU has; then it is
    passed over.

    Parameters
    ----------
    product
        Runs the product with a tile.
    seconds
        Times what it is given, per call; raises where the result is wrong.
    tiles
        Candidates.

    Raises
    ------
    NoTileError
        When none of them runs; says why.
    LspsimError
        When the kernel takes no such product at all, or there is no Triton.
    """
    best: Tuned | None = None
    refused = []
    for tile in tiles:
        try:
            latency_s = seconds(lambda tile=tile: product(tile))  # type: ignore[misc]
        except (torch.OutOfMemoryError, LspsimError):
            raise
        except Exception as error:  # Triton's compiler has no common base for "does not fit"
            refused.append(f"{tile}: {type(error).__name__} {str(error).partition(chr(10))[0]}")
            continue
        if best is None or latency_s < best.latency_s:
            best = Tuned(tile, latency_s)
    if best is None:
        raise NoTileError(f"no tile runs on this GPU; the first was {refused[0]}")
    return best


_current: list[Tunings] = []


def current() -> Tunings:
    """Return the tunings that products look up; at first those of the user's cache."""
    if not _current:
        _current.append(Tunings(cache_dir() / "gpu_tuning.json"))
    return _current[0]


def use(path: Path | None) -> Tunings:
    """Look tiles up in the file `path` from now on; None: in the user's cache."""
    _current.clear()
    if path is not None:
        _current.append(Tunings(path))
    return current()


@lru_cache
def _device_name(index: int | None) -> str:
    return torch.cuda.get_device_name(index)


@lru_cache
def _shipped(folder: Path) -> dict[TuningKey, Tuned]:
    found: dict[TuningKey, Tuned] = {}
    for path in sorted(folder.glob("*.tuning.json")):
        found.update(_read(path))
    return found


def _read(path: Path) -> dict[TuningKey, Tuned]:
    if not path.exists():
        return {}
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise LspsimError(f"its schema is {data['schema']!r}, not {SCHEMA!r}")
        found = {}
        for entry in data["entries"]:
            tuned = Tuned(Tile(**entry.pop("tile")), float(entry.pop("latency_s")))
            found[TuningKey(**entry)] = tuned
    except (OSError, ValueError, KeyError, TypeError, LspsimError) as error:
        raise LspsimError(
            f"tuned tiles {path}: cannot be read ({error}); delete the file, it is made anew"
        ) from error
    return found

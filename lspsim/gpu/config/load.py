"""Reading GPUs, fitted parameters and frameworks by name or from files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import TypeVar

from lspsim.errors import ConfigError
from lspsim.gpu.config.schema import GPU_CHECKS, Framework, Gpu, Parameters
from lspsim.hardware import presets
from lspsim.hardware.files import read_record
from lspsim.hardware.problems import Check, suggest
from lspsim.hardware.sourced import Record

R = TypeVar("R", bound=Record)

DEFAULT_FRAMEWORK = "cuda-graph"
"""How `lspsim gpu measure` runs networks: eager kernels, replayed as one CUDA graph."""


def load_gpu(name_or_path: str | PathLike[str]) -> Gpu:
    """Read the description of a GPU.

    Parameters
    ----------
    name_or_path
        Name of one in `hw_configs/gpu` (`h200`; `gpu_names` lists them), or the path of
        a YAML file. A path of parameters in that file starts from its folder.

    Raises
    ------
    ConfigError
        If there is no such GPU, or anything in its file is wrong: all mistakes at once,
        each with file, line and column.
    """
    gpu = _load(name_or_path, "GPU", _folder(), Gpu, GPU_CHECKS)
    if not presets.is_path(gpu.parameters):
        return gpu
    beside = Path(name_or_path).parent / gpu.parameters
    return gpu.model_copy(update={"parameters": str(beside)})


def gpu_named(name: str, given: Sequence[Gpu] = ()) -> Gpu:
    """Return the description of that name among `given`, else the shipped one.

    Raises
    ------
    ConfigError
        As `load_gpu`.
    """
    return next((gpu for gpu in given if gpu.name == name), None) or load_gpu(name)


def load_parameters(gpu: Gpu, name_or_path: str | PathLike[str] | None = None) -> Parameters:
    """Read fitted parameters.

    Parameters
    ----------
    gpu
        Names its parameters.
    name_or_path
        Others instead: a name in `hw_configs/gpu/parameters`, or a YAML file.

    Raises
    ------
    ConfigError
        As `load_gpu`.
    """
    chosen = gpu.parameters if name_or_path is None else name_or_path
    return _load(chosen, "parameters file", _folder() / "parameters", Parameters)


def load_framework(name_or_path: str | PathLike[str] = DEFAULT_FRAMEWORK) -> Framework:
    """Read a framework.

    Parameters
    ----------
    name_or_path
        Name of one in `hw_configs/gpu/frameworks` (`framework_names` lists them), or the path
        of a YAML file.

    Raises
    ------
    ConfigError
        As `load_gpu`.
    """
    return _load(name_or_path, "framework", _folder() / "frameworks", Framework)


def gpu_names() -> list[str]:
    """Names of the GPUs that ship with the package, sorted."""
    return _names(_folder())


def framework_names() -> list[str]:
    """Names of the frameworks that ship with the package, sorted."""
    return _names(_folder() / "frameworks")


def _folder() -> Path:
    return presets.config_dir() / "gpu"


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _load(
    name_or_path: str | PathLike[str],
    what: str,
    folder: Path,
    model: type[R],
    checks: Sequence[Check[R]] = (),
) -> R:
    path = Path(name_or_path)
    if isinstance(name_or_path, str) and not presets.is_path(name_or_path):
        path = folder / f"{name_or_path}.yaml"
        if not path.is_file():
            known = _names(folder)
            near = suggest(name_or_path, known)
            meant = f"did you mean {near!r}? " if near else ""
            raise ConfigError(
                f"there is no {what} {name_or_path!r}; {meant}known: {', '.join(known)}; "
                "or give the path of a YAML file"
            )
    changed_ns = path.stat().st_mtime_ns if path.is_file() else 0
    return _read(path, changed_ns, model, tuple(checks))  # type: ignore[return-value]


@lru_cache(maxsize=64)
def _read(
    path: Path, changed_ns: int, model: type[Record], checks: tuple[Check[Record], ...]
) -> Record:
    """Read and check one file; `changed_ns` tells versions of it apart."""
    return read_record(path, model, checks)

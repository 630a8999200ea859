"""Reading hardware descriptions from files and by name."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from lspsim.errors import ConfigError
from lspsim.hardware import checks, presets, problems
from lspsim.hardware.files import read_record
from lspsim.hardware.schema import Hardware


def load_hardware(name_or_path: str | PathLike[str]) -> Hardware:
    """Read a hardware description.

    Parameters
    ----------
    name_or_path
        Name of a preset (`edge_32x32`; `lspsim hardware list` prints them), or the
        path of a YAML file.

    Returns
    -------
    Hardware
        Validated; frozen.

    Raises
    ------
    ConfigError
        If there is no such preset or file, or if anything in it is wrong: all
        mistakes are named at once, each with file, line and column.
    """
    return check_file(hardware_path(name_or_path))


def hardware_path(name_or_path: str | PathLike[str]) -> Path:
    """Where the file of a preset lies, or the path itself.

    Raises
    ------
    ConfigError
        If it is neither a preset nor written as a path nor an existing file.
    """
    if not isinstance(name_or_path, str) or presets.is_path(name_or_path):
        return Path(name_or_path)
    preset = presets.preset_path(name_or_path)
    if preset.is_file():
        return preset
    if Path(name_or_path).is_file():
        return Path(name_or_path)
    raise _unknown_preset(name_or_path)


def check_file(path: str | PathLike[str]) -> Hardware:
    """Read and check one file; see `load_hardware`, which also knows presets.

    Raises
    ------
    ConfigError
        If it cannot be read or is wrong in any way.
    """
    return read_record(path, Hardware, checks.CHECKS, prepare=_anchor_technology)


def _anchor_technology(data: dict[str, object], file: Path) -> None:
    """Let a relative technology path start at the file that names it."""
    name = data.get("technology")
    if isinstance(name, str) and presets.is_path(name):
        data["technology"] = str((file.parent / name).resolve())


def _unknown_preset(name: str) -> ConfigError:
    known = presets.preset_names()
    near = problems.suggest(name, known)
    meant = f"did you mean {near!r}? " if near else ""
    return ConfigError(
        f"there is no hardware preset or file {name!r}; {meant}presets: {', '.join(known)}"
    )

"""Where the shipped configurations lie, and what they are called."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


@cache
def config_dir() -> Path:
    """Folder of the presets: inside an installed package, beside it in a source tree."""
    inside = _PACKAGE / "hw_configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "hw_configs"


def is_path(name: str) -> bool:
    """Whether a name is meant as a file, not as one of the shipped configurations."""
    return "/" in name or "\\" in name or name.endswith((".yaml", ".yml"))


def preset_names() -> list[str]:
    """Names of the shipped hardware configurations, sorted."""
    return sorted(path.stem for path in config_dir().glob("*.yaml"))


def technology_names() -> list[str]:
    """Names of the shipped technologies, sorted."""
    return sorted(path.stem for path in (config_dir() / "technology").glob("*.yaml"))


def preset_path(name: str) -> Path:
    """Where a hardware configuration of this name lies, or would lie."""
    return Path(name) if is_path(name) else config_dir() / f"{name}.yaml"


def technology_path(name: str) -> Path:
    """Where a technology of this name lies, or would lie."""
    return Path(name) if is_path(name) else config_dir() / "technology" / f"{name}.yaml"

"""The SystemVerilog and C++ files that travel with the package."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources

_FOLDER = "sv"


def source_names() -> tuple[str, ...]:
    """Return the names of all source files, sorted."""
    folder = resources.files(__package__).joinpath(_FOLDER)
    return tuple(sorted(f.name for f in folder.iterdir() if f.name.endswith((".sv", ".cpp"))))


def source_text(name: str) -> str:
    """Return the text of one source file."""
    return resources.files(__package__).joinpath(_FOLDER, name).read_text(encoding="utf-8")


def sources() -> dict[str, str]:
    """Return all source files, name to text."""
    return {name: source_text(name) for name in source_names()}


def rtl_digest(files: Mapping[str, str] | None = None) -> str:
    """Return the sha256 of the source files, in hex; None = those of the package."""
    digest = hashlib.sha256()
    for name, text in sorted((sources() if files is None else files).items()):
        digest.update(f"{name}\0{len(text)}\0{text}".encode())
    return digest.hexdigest()

"""Write files whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write to a temporary name beside `path`, then rename.

    Whatever interrupts the writing, `path` holds its old content or the new one,
    and no temporary file is left.

    Parameters
    ----------
    path
        The file to make or replace; its folder must exist.
    write
        Called once with the open binary file.

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

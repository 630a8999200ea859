"""Files and directories that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lspsim.errors import ResultError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place at the end.

    On any exception, Ctrl-C included, nothing stays behind.

    Raises
    ------
    ResultError
        When the place cannot be written.
    """
    with _readable_errors(path, "file"):
        if path.is_dir():
            raise ResultError(f"cannot write {path}: it is a directory; name a file")
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory beside `path` that takes its place at the end.

    What was at `path` is replaced; the caller decides whether it may be. Missing
    parents are made. On any exception, Ctrl-C included, everything is as before.

    Raises
    ------
    ResultError
        When the place cannot be written.
    """
    with _readable_errors(path, "directory"):
        made = _make_parents(path)
        temporary = None
        try:
            temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
            yield temporary
            _open_to_readers(temporary)
            _swap(temporary, path)
        except BaseException:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
            for parent in made:
                parent.rmdir()
            raise


def _open_to_readers(directory: Path) -> None:
    """Give everything in a directory the mode that the umask asks for.

    Temporary directories, and files that safetensors writes, are the owner's alone.
    """
    mask = _umask()
    for path in (directory, *directory.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def _swap(new: Path, path: Path) -> None:
    """Move `new` to `path`; an old directory is put back when that fails."""
    if not path.exists():
        new.rename(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    try:
        path.rename(old / "run")
        try:
            new.rename(path)
        except BaseException:
            (old / "run").rename(path)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _make_parents(path: Path) -> list[Path]:
    """Create missing parents; return those created, innermost first."""
    missing = [parent for parent in path.parents if not parent.exists()]
    made: list[Path] = []
    try:
        for parent in reversed(missing):
            parent.mkdir()
            made.insert(0, parent)
    except BaseException:
        for parent in made:
            parent.rmdir()
        raise
    return made


def _umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _readable_errors(path: Path, what: str) -> Iterator[None]:
    """Turn an operating-system error into one that says where and how to mend it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResultError(
            f"cannot write the {what} {path}: {reason}; choose a place that you may write to, "
            "with enough free space"
        ) from error

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lspsim.errors import ResultError
from lspsim.report.files import whole_directory, whole_file


def listing(path: Path) -> list[str]:
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


def test_file_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with whole_file(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert listing(tmp_path) == ["a.txt"]


def fill_and_fail(
    place: AbstractContextManager[Path], name: str, error: type[BaseException]
) -> None:
    """Begin to write, then be interrupted."""
    with place as temporary:
        (temporary / name if name else temporary).write_text("half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_interrupted_file_leaves_the_old_one(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error):
        fill_and_fail(whole_file(target), "", error)
    assert target.read_text() == "old"
    assert listing(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_interrupted_directory_leaves_everything_as_it_was(
    tmp_path: Path, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        fill_and_fail(whole_directory(tmp_path / "x" / "y" / "run"), "new", error)
    assert listing(tmp_path) == []
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").write_text("old")
    with pytest.raises(error):
        fill_and_fail(whole_directory(tmp_path / "run"), "new", error)
    assert listing(tmp_path) == ["run", "run/old"]


def test_directory_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "run"
    for name in ("first", "second"):
        with whole_directory(target) as temporary:
            (temporary / name).write_text(name)
    assert listing(tmp_path) == ["run", "run/second"]


def test_failed_rename_puts_the_old_directory_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "run"
    target.mkdir()
    (target / "old").write_text("old")
    rename = Path.rename

    def fail(self: Path, new: Path) -> Path:
        if (self / "new").exists():
            raise OSError(28, "No space left on device")
        return rename(self, new)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(ResultError, match="No space left"), whole_directory(target) as temporary:
        (temporary / "new").write_text("new")
    assert listing(tmp_path) == ["run", "run/old"]


def test_unwritable_places_are_named(tmp_path: Path) -> None:
    # A file where a folder is needed cannot be written into, not even by root.
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ResultError, match=r"cannot write the directory .*file/run: Not a directory"),
        whole_directory(tmp_path / "file" / "run"),
    ):
        pytest.fail("entered")
    with (
        pytest.raises(ResultError, match=r"cannot write the file .*nowhere/t: No such file"),
        whole_file(tmp_path / "nowhere" / "t"),
    ):
        pytest.fail("entered")
    with pytest.raises(ResultError, match="it is a directory"), whole_file(tmp_path):
        pytest.fail("entered")
    assert listing(tmp_path) == ["file"]


def test_files_in_a_directory_have_the_modes_of_the_umask(tmp_path: Path) -> None:
    """safetensors writes files that only their owner may read."""
    before = os.umask(0o022)
    try:
        with whole_directory(tmp_path / "network") as folder:
            (folder / "weights").touch(mode=0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "network").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "network" / "weights").stat().st_mode & 0o777 == 0o644

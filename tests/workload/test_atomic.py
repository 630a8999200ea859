from __future__ import annotations

from pathlib import Path
from typing import IO

import pytest

from lspsim.workload.atomic import write_atomically


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full")])
def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, error: type[BaseException] | BaseException
) -> None:
    path = tmp_path / "file"
    write_atomically(path, lambda file: file.write(b"old"))

    def fail(file: IO[bytes]) -> None:
        file.write(b"half")
        raise error

    with pytest.raises((KeyboardInterrupt, OSError)):
        write_atomically(path, fail)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_a_write_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a longer old content")
    write_atomically(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"

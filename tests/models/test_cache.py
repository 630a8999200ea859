from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from lspsim.errors import MissingDependencyError, ModelError
from lspsim.models import cache, extract, workload_from_model
from lspsim.models.cache import CacheWarning, cache_dir, cached_workload
from lspsim.workload import Workload

NAME = "deit_tiny_distilled_patch16_224"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LSPSIM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "workloads"


@pytest.fixture
def extractions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Record each extraction that really happens."""
    calls: list[tuple[object, ...]] = []

    def record(name: str, batch: int = 1, **options: int | None) -> Workload:
        calls.append((name, batch, *options.values()))
        return workload_from_model(name, batch, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(extract, "workload_from_model", record)
    return calls


def test_a_hit_equals_the_extraction(folder: Path, extractions: list[tuple[object, ...]]) -> None:
    direct = workload_from_model(NAME, 2, image_size=96)
    assert cached_workload(NAME, 2, 96) == direct
    assert cached_workload(NAME, 2, 96) == direct
    assert extractions == [(NAME, 2, 96, None)]
    assert [path.suffix for path in folder.iterdir()] == [".json"]


def test_batch_size_timm_and_code_are_part_of_the_key(
    folder: Path, extractions: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_workload(NAME)
    cached_workload(NAME, 2)
    cached_workload(NAME, 1, 96)
    assert cached_workload(NAME, num_classes=3).gemms[-1].n == 3
    monkeypatch.setattr(cache.metadata, "version", lambda _: "9.9.9")
    cached_workload(NAME)
    monkeypatch.setattr(cache, "_code_digest", lambda: "edited")
    cached_workload(NAME)
    assert len(extractions) == len(list(folder.iterdir())) == 6


@pytest.mark.parametrize("damage", ["", "{", '{"schema": "lspsim/workload/v0"}', "\x00\xff"])
def test_a_damaged_entry_is_made_anew(
    folder: Path, extractions: list[tuple[object, ...]], damage: str
) -> None:
    whole = cached_workload(NAME)
    (entry,) = folder.iterdir()
    text = entry.read_bytes()
    entry.write_bytes(damage.encode("latin-1"))
    assert cached_workload(NAME) == whole
    assert len(extractions) == 2
    assert entry.read_bytes() == text


def test_a_hit_imports_neither_torch_nor_timm(folder: Path) -> None:
    cached_workload(NAME)
    code = (
        "import sys; from lspsim.models import cached_workload\n"
        f"print(len(cached_workload({NAME!r}).ops), *sorted({{'torch', 'timm', 'numba', 'pandas'}}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.split() == [str(len(workload_from_model(NAME).ops))]


def test_a_cache_that_cannot_be_written_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LSPSIM_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(CacheWarning, match="set LSPSIM_CACHE_DIR to a folder"):
        workload = cached_workload(NAME)
    assert workload == workload_from_model(NAME)


def test_an_unknown_model_leaves_nothing(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"no model '../x'"):
        cached_workload("../x")
    assert not folder.exists()


def test_a_missing_timm_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise cache.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(cache.metadata, "version", missing)
    with pytest.raises(MissingDependencyError, match=r"lspsim\[models\]"):
        cached_workload(NAME)


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LSPSIM_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setattr(cache.sys, "platform", "linux")
    assert cache_dir() == Path("/home/someone/.cache/lspsim")
    monkeypatch.setattr(cache.sys, "platform", "darwin")
    assert cache_dir() == Path("/home/someone/Library/Caches/lspsim")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_dir() == Path("/xdg/lspsim")
    monkeypatch.setenv("LSPSIM_CACHE_DIR", "/own")
    assert cache_dir() == Path("/own")

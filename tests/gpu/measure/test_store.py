import os

import pytest

from lspsim.errors import ResultError
from lspsim.gpu.measure.store import Store, read_rows


def row(key, status="ok", gpu="a GPU"):
    return {"key": key, "kind": "layer", "gpu": gpu, "status": status}


def test_rows_are_on_the_disk_at_once(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(number) or fsync(number))
    path = tmp_path / "new" / "rows.jsonl"
    store = Store(path, "a GPU")
    for number, key in enumerate("abc", start=1):
        store.add(row(key))
        assert len(synced) == number
        assert [found["key"] for found in read_rows(path)] == list("abc"[:number])


def test_what_is_final(tmp_path):
    path = tmp_path / "rows.jsonl"
    store = Store(path, "a GPU")
    for status in ("ok", "incorrect", "unsupported", "out-of-memory", "failed", "unstable-energy"):
        store.add(row(status, status))
    again = Store(path, "a GPU")
    for status in ("ok", "incorrect", "unsupported", "out-of-memory"):
        assert again.final(status)["status"] == status
    for status in ("failed", "unstable-energy", "never"):
        assert again.final(status) is None
    again.add(row("failed"))
    assert again.final("failed")["status"] == "ok"


def test_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "rows.jsonl"
    Store(path, "a GPU").add(row("a"))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"schema": "lspsim/gpu-mea')
    store = Store(path, "a GPU")
    assert path.read_bytes() == whole
    store.add(row("b"))
    assert [found["key"] for found in read_rows(path)] == ["a", "b"]


def test_devices_are_never_mixed(tmp_path):
    path = tmp_path / "rows.jsonl"
    Store(path, "a GPU").add(row("a"))
    with pytest.raises(ResultError, match=r"holds rows of 'a GPU', this is 'cpu'.*--out"):
        Store(path, "cpu")


@pytest.mark.parametrize("line", ["{}", "not json", '{"schema": "lspsim/other/v1"}', "[1]"])
def test_foreign_files(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ResultError, match="line 1: not a row"):
        Store(path, "a GPU")
    assert path.read_text() == line + "\n"


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    store = Store(tmp_path / "rows.jsonl", "a GPU")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultError, match=r"rows\.jsonl: cannot be written: No space left.*--out"):
        store.add(row("a"))


def test_not_a_number_is_refused(tmp_path):
    store = Store(tmp_path / "rows.jsonl", "a GPU")
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.add({**row("a"), "latency_s": float("nan")})

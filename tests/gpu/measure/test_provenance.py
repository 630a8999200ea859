import subprocess

import pytest

from lspsim.gpu.measure import provenance


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    folder = tmp_path / "lspsim" / "gpu" / "measure"
    folder.mkdir(parents=True)
    (folder / "provenance.py").write_text("")
    (folder.parent / "measurements").mkdir()
    monkeypatch.setattr(provenance, "__file__", str(folder / "provenance.py"))
    name = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "."), (*name, "commit", "-q", "-m", "first")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    return tmp_path


def test_own_rows_do_not_make_a_checkout_dirty(checkout):
    assert provenance._commit()["git_dirty"] is False
    (checkout / "lspsim" / "gpu" / "measurements" / "nvidia-h200-bf16.jsonl").write_text("{}\n")
    assert provenance._commit()["git_dirty"] is False
    (checkout / "lspsim" / "new.py").write_text("")
    found = provenance._commit()
    assert found["git_dirty"] is True
    assert len(found["git_commit"]) == 40


def test_outside_of_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "a" / "b" / "c" / "provenance.py"))
    assert provenance._commit() == {"git_commit": None, "git_dirty": None}

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from lspsim.errors import ResultError, WorkloadError
from lspsim.report import read_run, run_directory, write_run
from lspsim.report.summary import RunSummary
from lspsim.simulate.result import SimulationResult
from lspsim.workload import Workload


@pytest.fixture
def directory(result: SimulationResult, tmp_path: Path) -> Path:
    return write_run(result, tmp_path / "run", plots=False)


def names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


def test_all_files_are_there(result: SimulationResult, tmp_path: Path) -> None:
    path = write_run(result, tmp_path / "new" / "run")
    assert names(path) == set(run_directory.CONTENT)
    pictures = {
        f"{x}.{y}"
        for x in ("overview", "cycles", "energy", "roofline", "masks")
        for y in ("png", "svg")
    }
    assert names(path / "plots") == pictures
    assert names(tmp_path / "new") == {"run"}
    assert json.loads((path / "summary.json").read_text()) == json.loads(
        json.dumps(result.to_dict())
    )


def test_reading_gives_back_what_was_written(result: SimulationResult, directory: Path) -> None:
    run = read_run(directory)
    assert run.summary == RunSummary.of(result)
    assert run.hardware == result.hardware
    assert run.workload == result.workload
    assert run.masks == {g.name: g.mask for g in result.workload.gemms if g.mask is not None}
    pd.testing.assert_frame_equal(run.frame, result.layer_frame())
    assert run.provenance == json.loads(json.dumps(result.provenance))


def test_dense_run_has_no_mask_file(
    new_result: Callable[..., SimulationResult],
    new_workload: Callable[..., Workload],
    tmp_path: Path,
) -> None:
    dense = new_result(new_workload(masked=False))
    path = write_run(dense, tmp_path / "run")
    assert "masks.npz" not in names(path)
    assert "masks.png" not in names(path / "plots")
    assert read_run(path).masks == {}
    assert read_run(path).workload == dense.workload


def test_existing_run_is_replaced_only_when_asked(
    new_result: Callable[..., SimulationResult], directory: Path
) -> None:
    other = new_result(seed=5)
    with pytest.raises(ResultError, match=r"run directory .*run exists"):
        write_run(other, directory, plots=False)
    write_run(other, directory, overwrite=True, plots=False)
    assert read_run(directory).summary == RunSummary.of(other)
    assert names(directory.parent) == {"run"}


def test_foreign_places_are_never_replaced(result: SimulationResult, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years")
    with pytest.raises(ResultError, match="it holds other files and is no run directory"):
        write_run(result, home, overwrite=True, plots=False)
    with pytest.raises(ResultError, match="a file is there"):
        write_run(result, home / "thesis.tex", overwrite=True, plots=False)
    assert (home / "thesis.tex").read_text() == "years"


def test_added_files_are_not_lost(result: SimulationResult, directory: Path) -> None:
    (directory / "notes.md").write_text("mine")
    with pytest.raises(ResultError, match=r"also holds notes\.md"):
        write_run(result, directory, overwrite=True, plots=False)
    assert (directory / "notes.md").read_text() == "mine"


def test_an_empty_directory_is_free(result: SimulationResult, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_run(result, tmp_path / "run", plots=False)
    assert "summary.json" in names(tmp_path / "run")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_nothing_half_written(
    result: SimulationResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr(run_directory, "save_masks", stop)
    expected = ResultError if error is OSError else error
    with pytest.raises(expected):
        write_run(result, tmp_path / "run", plots=False)
    assert names(tmp_path) == set()


def test_unwritable_directory(result: SimulationResult, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError, match=r"cannot write the directory .*Not a directory; choose"):
        write_run(result, tmp_path / "file" / "run", plots=False)


def test_reading_names_what_is_wrong(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no such directory"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(ResultError, match=r"not a run directory \(it has no provenance.json\)"):
        read_run(tmp_path)
    (directory / "layers.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(ResultError, match=r"layers\.parquet: cannot be read as Parquet"):
        _ = read_run(directory).frame
    (directory / "masks.npz").write_bytes(b"nonsense")
    with pytest.raises(WorkloadError, match=r"masks\.npz"):
        _ = read_run(directory).masks
    (directory / "summary.json").write_text("{")
    with pytest.raises(ResultError, match=r"summary\.json: not valid JSON"):
        read_run(directory)
    (directory / "summary.json").unlink()
    with pytest.raises(ResultError, match=r"summary\.json: cannot be read \(No such file"):
        read_run(directory)
    (directory / "provenance.json").write_text("[]")
    (directory / "summary.json").write_text("{}")
    with pytest.raises(ResultError, match="schema is None"):
        read_run(directory)

import csv
import json

import pytest

from tests.bench.bench_cases import tiny_model

FEW = ("--images", 16, "--test-images", 40, "--block", "8x8", "--sparsity", "50,70", "--seeds", 1)


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def bench(run, card, tmp_path):
    def bench(*words):
        out = ("--model", card, "--data", "digits", "--out", tmp_path / "b.csv")
        return run("bench", "pruning", *out, *FEW, *words)

    return bench


def test_it_runs_in_parts(bench, tmp_path):
    first = bench("--headlines", "--score", "random", "--random-seeds", 1, "--cells", 1)
    assert first.code == 0, first.err
    assert "random / least-squares / uniform" in first.out
    path = tmp_path / "b.csv"
    (before,) = rows_of(path)
    second = bench("--headlines", "--score", "random,block-obs", "--random-seeds", 1)
    assert second.code == 0, second.err
    after = rows_of(path)
    assert after[0] == before
    assert len(after) == 6
    assert "Claims" in second.out
    page = path.with_suffix(".md").read_text()
    assert "## Claims" in page
    assert "(b.png)" in page
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_formats(bench):
    words = ("--score", "l1", "--compensate", "bias", "--allocate", "uniform", "--sparsity", "70")
    data = json.loads(bench(*words, "--format", "json").out)
    assert data["schema"] == "lspsim/bench/v1"
    assert [cell["compensate"] for cell in data["cells"]] == ["bias"]
    rows = list(csv.DictReader(bench(*words, "--format", "csv").out.splitlines()))
    assert rows[0]["score"] == "l1"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--score", "taylr"), "'taylr' is none of random"),
        (("--sparsity", "0.5"), "whole number from 1 to 99"),
        (("--block", "16"), "not a block size"),
        (("--score", "random", "--compensate", "obs"), "no cell passes these choices"),
    ],
)
def test_bad_choices(refused, tmp_path, words, told):
    assert told in refused("bench", "pruning", "--out", tmp_path / "b.csv", *words)
    assert not (tmp_path / "b.csv").exists()


def test_a_cell_that_cannot_be_made_spares_the_others(bench, tmp_path):
    done = bench("--headlines", "--score", "random", "--random-seeds", 1, "--block", "7x7,8x8")
    assert done.code == 2
    assert "cells could not be made: random-" in done.err
    blocks = [row["block"] for row in rows_of(tmp_path / "b.csv")]
    assert blocks == ["8x8", "8x8"]


def test_another_model_is_not_mixed_in(bench, refused, card, tmp_path):
    bench("--score", "l1", "--cells", 1)
    words = ("--model", "lspsim/deit_digits", "--data", "digits", "--out", tmp_path / "b.csv")
    assert "name another --out" in refused("bench", "pruning", *words, *FEW)


def test_ctrl_c_keeps_what_is_finished(bench, tmp_path, monkeypatch):
    from lspsim.bench.bench import Bench

    measure = Bench.measure

    def interrupted(self, cell):
        if cell.sparsity == 50:
            raise KeyboardInterrupt
        return measure(self, cell)

    words = ("--headlines", "--score", "random", "--random-seeds", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Bench, "measure", interrupted)
        stopped = bench(*words)
    assert stopped.code == 130
    path = tmp_path / "b.csv"
    assert [row["sparsity_target"] for row in rows_of(path)] == ["70"]
    assert path.with_suffix(".md").exists()
    assert bench(*words).code == 0
    assert [row["sparsity_target"] for row in rows_of(path)] == ["70", "50"]

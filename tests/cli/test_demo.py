"""`lspsim demo`: the table and the front."""

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from lspsim.cli.prune import demo
from lspsim.cli.prune.points import HEADER
from lspsim.explore import read_records
from tests.train.loop_cases import tiny_card


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """The same demo on a tiny model, with two budgets."""
    monkeypatch.setattr(demo, "MODEL", str(tiny_card(tmp_path)))
    monkeypatch.setattr(demo, "ARRAY", {"array.rows": 8, "array.cols": 8})
    monkeypatch.setattr(demo, "BLOCK", (8, 8))
    monkeypatch.setattr(demo, "FRACTIONS", (0.8, 0.6))


def test_table_points_and_front(run, quick, tmp_path):
    out = tmp_path / "demo"
    answer = run("demo", "--out", out)
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert len(lines) == 5
    assert sum("lpvit / lagrangian / none" in line for line in lines) == 2
    assert sum("block-obs / knapsack / full" in line for line in lines) == 2
    for name in ("front.png", "front.svg", "front.csv"):
        assert (out / name).stat().st_size > 0
        assert f"written: {out / name}" in answer.err
    records = list(read_records([out]).values())
    assert len(records) == 4
    for record in records:
        limit = float(record.budgets["cycles"])
        assert record.pruned.cycles <= limit * record.dense.cycles
    again = run("demo", "--out", out)
    assert again.out == answer.out
    assert again.err.count("kept: ") == 4


def test_the_tutorial_shows_this_demo():
    page = (Path(__file__).parents[2] / "docs/tutorials/demo.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```text\n(budget .*?)\n```", page, re.DOTALL | re.MULTILINE)
    header, *rows = shown.splitlines()
    assert re.split(r"\s{2,}", header.strip()) == list(HEADER)
    budgets = [f"cycles={fraction}" for fraction in demo.FRACTIONS]
    assert [row.split()[0] for row in rows] == 2 * budgets
    assert [row.split()[1] for row in rows] == ["lpvit"] * 4 + ["block-obs"] * 4


def test_its_help_says_what_it_does_not_show(run):
    answer = run("demo", "--help")
    assert "ImageNet" in answer.out

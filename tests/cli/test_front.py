import csv
import io
import json
import subprocess
import sys

import pytest

from tests.networks.record_cases import new_record


@pytest.fixture
def runs(tmp_path):
    """Two points of one study and one of another chip."""
    records = {
        "edge/a": new_record(speedup=2.0, top1=0.84),
        "edge/b": new_record(speedup=1.5, top1=0.70, score="lpvit", compensate="none"),
        "mid/c": new_record(speedup=3.0, top1=0.80, hardware="mid_64x64"),
    }
    for name, record in records.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "prune.json").write_text(record.to_json())
    return tmp_path


def test_table_and_files(run, runs, tmp_path):
    answer = run("front", runs / "edge", "--out", tmp_path / "front")
    assert answer.code == 0
    for text in (
        "lspsim/deit_glyphs, glyphs, edge_32x32",
        "2.00x",
        "50.0 %",
        "84.00 %",
        " 1.00 ",
        "lpvit",
    ):
        assert text in answer.out
    named = {path.name for path in (tmp_path / "front").iterdir()}
    assert named == {"front.csv", "front.png", "front.svg"}
    assert all(name in answer.err for name in named)


def test_csv_and_json_agree(run, runs):
    table = list(csv.DictReader(io.StringIO(run("front", runs / "edge", "--format", "csv").out)))
    data = json.loads(run("front", runs / "edge", "--format", "json").out)
    assert data["schema"] == "lspsim/front/v1"
    assert [row["label"] for row in data["points"]] == [row["label"] for row in table]
    beaten = [row["dominated_speedup"] for row in data["points"]]
    assert beaten == [False, True, False]
    assert [row["dominated_speedup"] for row in table] == [str(x) for x in beaten]
    assert table[1]["directory"] == str(runs / "edge" / "b")


def test_several_chips_are_refused_unless_mixed(run, refused, runs):
    message = refused("front", runs)
    assert "edge_32x32" in message
    assert "mid_64x64" in message
    assert "--mixed" in message
    answer = run("front", runs / "edge", runs / "mid", "--mixed")
    assert answer.code == 0
    assert "mid_64x64" in answer.out


def test_bad_directories(refused, runs, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no pruned network" in refused("front", tmp_path / "empty")
    assert "no such directory" in refused("front", tmp_path / "nowhere")
    (runs / "edge" / "a" / "prune.json").write_text("{")
    assert "not valid JSON" in refused("front", runs / "edge")


def test_it_needs_no_torch(runs):
    code = f"""
import sys
from lspsim.cli import main
sys.argv = ["lspsim", "front", {str(runs / "edge")!r}]
try:
    main()
except SystemExit as stop:
    assert not stop.code
print("heavy:", [name for name in ("torch", "timm", "matplotlib") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("heavy: []\n")


def test_help_shows_an_example(run):
    out = run("front", "--help").out
    assert "Usage: lspsim front" in out
    assert "lspsim front runs/deit_small --out front" in out


def test_points_in_memory_are_drawn_likewise(tmp_path, capsys):
    from lspsim.cli.prune.front import draw_front

    draw_front([new_record(top1=None), new_record(speedup=3.0)], tmp_path / "all")
    assert (tmp_path / "all" / "front.png").exists()
    assert "front.svg" in capsys.readouterr().err

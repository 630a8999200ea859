"""What people see: tables on narrow terminals and in pipes, colours, waiting."""

import logging
import re

import numba
import pytest

from lspsim.cli.prune.points import Points
from tests.networks.record_cases import new_record

NAMES = ("blocks.0.mlp.fc1", "blocks.0.mlp.fc2", "blocks.0.act")
TABLES = {
    "simulate": (("simulate", "SMALL", "--hw", "edge_32x32", "--all-layers"), NAMES),
    "compare": (
        ("compare", "edge_32x32", "mid_64x64", "--model", "SMALL", "--all-layers"),
        (*NAMES, "chip area, low", "throughput"),
    ),
    "predict": (("gpu", "predict", "SMALL", "--gpu", "h200", "--all-layers"), NAMES[:2]),
    "scalesim": (("validate", "scalesim", "--engine", "analytic"), ("patch", "head", "yes")),
    "gpus": (("validate", "gpu"), ("fitted", "predicted")),
    "chips": (("validate", "chips"), ("arXiv 2510.14393", "energy_pj_per_mac")),
    "presets": (("hardware", "list"), ("tpu_like_128x128", "1 x 128x128")),
    "preset": (("hardware", "show", "edge_32x32"), ("array.accumulator_rows", "value")),
    "cards": (("gpu", "list"), ("a100-40gb", "rtx4090")),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_terminal_of_any_width_shows_whole_cells(run, small, monkeypatch, table, width):
    words, texts = TABLES[table]
    monkeypatch.setenv("COLUMNS", str(width))
    answer = run(*(small if word == "SMALL" else word for word in words))
    lines = answer.out.splitlines()
    assert "…" not in answer.out
    assert max(map(len, lines)) <= width
    for text in texts:
        assert any(text in line for line in lines)
    if width == 200:
        assert "columns; a wider terminal" not in answer.out


@pytest.mark.parametrize("table", TABLES)
def test_a_pipe_gets_all_columns_and_whole_lines(run, small, monkeypatch, table):
    words, _ = TABLES[table]
    monkeypatch.delenv("COLUMNS", raising=False)
    out = run(*(small if word == "SMALL" else word for word in words)).out
    assert "columns; a wider terminal" not in out
    assert "…" not in out
    monkeypatch.setenv("COLUMNS", "9999")
    assert run(*(small if word == "SMALL" else word for word in words)).out == out


def test_points_and_fronts_show_the_same_figures_alike(run, tmp_path, monkeypatch, capsys):
    record = new_record(speedup=1.5, energy_ratio=0.798, top1=0.84)
    directory = tmp_path / "point"
    directory.mkdir()
    (directory / "prune.json").write_text(record.to_json())
    points = Points(tmp_path)
    points.records.append(record)
    for width in (60, 80, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        points.show("table")
        tables = (capsys.readouterr().out, run("front", tmp_path).out)
        for text in tables:
            assert "…" not in text
            assert max(map(len, text.splitlines())) <= width
            assert "79.8 %" in text
            assert "1.50x" in text
    for text in tables:
        line = next(line for line in text.splitlines() if "cycles=" in line)
        assert re.findall(r"(?<= )1\.00(?= )", line)  # points of top-1 lost: no sign
        assert re.findall(r"(?<= )0\.01(?= )", line)  # KL, two digits
        assert all(header in text for header in ("removed", "drop", "KL (nats)"))


@pytest.mark.parametrize("value", [None, "", "1"])
def test_no_color_is_obeyed(monkeypatch, value):
    import typer

    from lspsim.cli.shared.errors import fail, note

    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    shown = []
    monkeypatch.setattr(typer, "echo", lambda text, **_: shown.append(text))
    fail("bad")
    note("odd")
    assert ("\x1b" in "".join(shown)) == (value != "1")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "".join(shown))
    assert plain == "error: badnote: odd"


def test_an_earlier_run_in_the_way_names_the_option_and_the_argument(run, refused, small, tmp_path):
    words = ("simulate", small, "--hw", "edge_32x32", "--out", tmp_path / "run")
    assert run(*words).code == 0
    message = refused(*words)
    assert "--overwrite" in message
    assert "overwrite=True" in message


def test_runs_of_other_models_are_compared_with_a_note(run, small, tmp_path):
    for batch, name in ((1, "one"), (1, "same"), (2, "two")):
        words = ("simulate", "deit_tiny_patch16_224", "--hw", "edge_32x32", "--batch", batch)
        assert run(*words, "--out", tmp_path / name).code == 0
    answer = run("compare", tmp_path / "one", tmp_path / "two")
    assert (
        "a ran deit_tiny_patch16_224, batch 1, b ran deit_tiny_patch16_224, batch 2" in answer.out
    )
    assert "batch 2" in run("compare", tmp_path / "one", tmp_path / "two", "--format", "csv").err
    same = run("compare", tmp_path / "one", tmp_path / "same")
    assert same.out.startswith("deit_tiny_patch16_224, batch 1\n")
    assert "note" not in same.out


def test_compilation_is_announced_once_and_only_to_people(monkeypatch, capsys):
    from lspsim.cli.shared.slow_start import OnTerminal
    from lspsim.kernels.compilation import ANNOUNCER, MESSAGE

    logger = logging.getLogger("lspsim.kernels")
    before = logger.level
    handler = OnTerminal()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        for people in (True, False):
            monkeypatch.setattr(ANNOUNCER, "told", False)
            monkeypatch.setattr("sys.stderr.isatty", lambda people=people: people)
            for _ in range(2):
                assert numba.njit(lambda x: x + 1)(1) == 2
            assert capsys.readouterr() == ("", f"{MESSAGE}\n" if people else "")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)

import csv
import json

import pytest

pytest.importorskip("torch")

from tests.bench.bench_cases import tiny_model


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny"))


def test_ranks(run, card):
    data = ("--model", card, "--data", "digits", "--images", 16)
    table = run("bench", "ranks", *data)
    assert table.code == 0, table.err
    assert table.out.splitlines()[0].split() == [
        "layer",
        "inputs",
        *["90", "%", "99", "%", "99.9", "%"],
    ]
    found = json.loads(run("bench", "ranks", *data, "--format", "json").out)
    layer = found["layers"][-1]
    assert layer["layer"] == "blocks.0.mlp.fc2"
    assert layer["inputs"] == 128
    assert 0 < layer["directions_90_percent"] < layer["directions_99.9_percent"] <= 128


def test_steps(run, card):
    words = ("bench", "steps", card, "--images", 16, "--block", "8x8", "--budget", "macs=0.6")
    table = run(*words)
    assert table.code == 0, table.err
    assert "in all" in table.out
    assert "peak memory" in table.out
    rows = list(csv.DictReader(run(*words, "--format", "csv").out.splitlines()))
    assert {"name", "seconds", "flop", "peak_bytes"} == set(rows[0])


def test_proxy(run, refused, card, tmp_path):
    out = tmp_path / "proxy.csv"
    words = ("bench", "proxy", "--model", card, "--data", "digits", "--images", 16)
    words = (*words, "--test-images", 40, "--block", "8x8", "--out", out)
    done = run(*words, "--hw", "quad_32x32", "--budget", "cycles=0.8")
    assert done.code == 0, done.err
    assert "simulator" in done.out
    assert [row["hardware"] for row in csv.DictReader(out.read_text().splitlines())] == [
        "quad_32x32"
    ]
    mixed = run(*words, "--hw", "quad_32x32", "--budget", "macs=0.8,0.01")
    assert mixed.code == 0
    assert "left out: quad_32x32: budget macs=0.01: with every block removed" in mixed.err
    assert "no chip can meet" in refused(*words, "--hw", "quad_32x32", "--budget", "macs=0.01")
    assert "nochip" in refused(*words, "--hw", "nochip")
    assert "is not a block size" in refused(*words, "--block", "8")

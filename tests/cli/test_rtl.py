import json

import pytest

from tests.rtl.live import needs_verilator

SMALL = ("--hw", "edge_32x32", "--set", "array.rows=4", "--set", "array.cols=4")


@needs_verilator
def test_verify(run, small):
    answer = run("rtl", "verify", *SMALL, "--cases", "6", "--format", "json")
    assert answer.code == 0, answer.err
    data = json.loads(answer.out)
    assert data["schema"] == "lspsim/rtl-verify/v1"
    assert len(data["rows"]) == 6
    for row in data["rows"]:
        assert row["agrees"]
        assert row["rtl_cycles"] == row["event_cycles"]
    table = run(
        *("rtl", "verify", *SMALL, "--cases", "0", "--model", small),
        *("--layer", "blocks.0.mlp.fc1", "--sparsity", "0.5", "--block", "4x4"),
    )
    assert table.code == 0, table.err
    assert "2 cases, 0 with a difference" in table.out
    assert "blocks.0.mlp.fc1 50x64x128, density 0.5, ideal memory" in table.out


def test_verify_says_how_to_install_verilator(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install" in refused("rtl", "verify", *SMALL)


def test_area_says_how_to_install_yosys(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install" in refused("rtl", "area", *SMALL)


def test_layers_and_models_go_together(refused, small):
    assert "go together" in refused("rtl", "verify", *SMALL, "--layer", "x")
    message = refused("rtl", "verify", *SMALL, "--model", small, "--layer", "nothing")
    assert "has no stored weights named nothing" in message


@pytest.mark.parametrize("dataflow", ["weight-stationary", "output-stationary"])
def test_generate(run, tmp_path, dataflow):
    out = tmp_path / "core"
    answer = run("rtl", "generate", *SMALL, "--set", f"array.dataflow={dataflow}", "--out", out)
    assert answer.code == 0, answer.err
    assert "files in" in answer.out
    assert {"core.sv", "bench.cpp", "README.md", "Makefile"} <= {p.name for p in out.iterdir()}

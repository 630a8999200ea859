import csv
import dataclasses
import gzip
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lspsim import __version__
from lspsim.hardware import preset_names

ROOT = Path(__file__).resolve().parents[2]
HW = ("--hw", "edge_32x32")
TOTALS = {
    "cycles_total",
    "latency_s",
    "energy_j",
    "power_w",
    "macs_dense",
    "macs_executed",
    "utilization",
    "dram_read_bytes",
    "dram_write_bytes",
}
LAYER = {
    "name",
    "kind",
    "m",
    "k",
    "n",
    "tiles_live",
    "tiles_total",
    "cycles_array",
    "cycles_total",
    "cycles",
    "energy_pj",
    "bound_by",
}


def good(answer):
    assert answer.code == 0, answer.err
    return answer


def one_object(answer):
    """The JSON object that is all there is on stdout, with nothing on stderr."""
    assert good(answer).err == ""
    data = json.loads(answer.out)
    assert isinstance(data, dict)
    return data


def rows(answer):
    return list(csv.DictReader(io.StringIO(good(answer).out)))


def simulated(run, small, *words):
    return one_object(run("simulate", small, *HW, "--format", "json", *words))


def test_version(run):
    assert good(run("--version")).out == f"lspsim {__version__}\n"


@pytest.mark.parametrize(
    "command",
    [(), ("simulate",), ("compare",), ("trace",), ("check",), ("doctor",), ("hardware", "show")],
)
def test_help(run, command):
    assert "Usage: lspsim" in good(run(*command, "--help")).out


def test_examples_name_presets_that_exist():
    pages = [*(ROOT / "lspsim" / "cli").rglob("*.py"), ROOT / "README.md"]
    pages += (ROOT / "docs" / "howto").glob("*.md")
    named = {name for page in pages for name in re.findall(r"\b[a-z]+_\d+x\d+\b", page.read_text())}
    assert "edge_32x32" in named
    assert named <= set(preset_names())


def test_simulate_json_has_the_promised_fields(run, small):
    data = simulated(run, small)
    assert {"schema", "model", "hardware", "engine", "totals", "layers", "provenance"} <= set(data)
    assert set(data["totals"]) >= TOTALS
    assert next(layer["name"] for layer in data["layers"]) == "blocks.0.mlp.fc1"
    for layer in data["layers"]:
        assert set(layer) >= LAYER
    assert sum(layer["cycles_total"] for layer in data["layers"]) == data["totals"]["cycles_total"]


def test_simulate_table_names_every_layer(run, small):
    out = good(run("simulate", small, *HW, "--all-layers")).out
    for name in ("blocks.0.mlp.fc1", "blocks.0.act", "blocks.0.mlp.fc2", "softmax"):
        assert name in out


def test_simulate_csv_has_a_row_per_layer_and_nothing_else(run, small):
    data = simulated(run, small)
    table = rows(run("simulate", small, *HW, "--format", "csv"))
    assert [row["name"] for row in table] == [layer["name"] for layer in data["layers"]]
    assert [int(row["cycles_total"]) for row in table] == [
        layer["cycles_total"] for layer in data["layers"]
    ]


def test_sparsity_removes_that_share_of_tiles(run, small):
    half = simulated(run, small, "--sparsity", "0.5", "--block", "32x32", "--seed", "3")
    for layer in half["layers"]:
        if layer["kind"] == "gemm":
            assert layer["tiles_live"] * 2 == layer["tiles_total"]
            assert layer["density"] == 0.5


def test_seed_decides(run, small):
    digests = [
        simulated(run, small, "--sparsity", "0.5", "--seed", seed)["provenance"]
        for seed in ("1", "1", "2")
    ]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]
    assert [provenance["seed"] for provenance in digests] == [1, 1, 2]


def test_set_changes_the_hardware(run, small):
    data = simulated(run, small, "--set", "array.rows=64", "--set", "clock=500 MHz")
    layer = data["layers"][0]
    assert layer["tiles_total"] == 1 * 4
    totals = data["totals"]
    assert totals["latency_s"] == pytest.approx(totals["cycles_total"] / 500e6)


def test_engines_agree_with_ideal_memory(run, small):
    cycles = {
        engine: simulated(
            run, small, "--engine", engine, "--set", "memory.ideal=true", "--sparsity", "0.5"
        )["totals"]["cycles_total"]
        for engine in ("event", "analytic", "reference")
    }
    assert len(set(cycles.values())) == 1, cycles


def test_out_writes_a_run_directory_that_brings_its_masks(run, small, tmp_path):
    out = tmp_path / "runs" / "half"
    answer = run("simulate", small, *HW, "--sparsity", "0.5", "--out", out, "--format", "json")
    assert good(answer).err == f"written: {out}\n"
    data = json.loads(answer.out)
    assert json.loads((out / "summary.json").read_text()) == data
    files = {path.name for path in out.iterdir()}
    assert files == {
        "summary.json",
        "layers.parquet",
        "hardware.yaml",
        "workload.json",
        "masks.npz",
        "provenance.json",
        "plots",
    }
    again = run(
        *("simulate", small, "--hw", out / "hardware.yaml"),
        *("--masks", out / "masks.npz", "--format", "json"),
    )
    assert one_object(again)["totals"] == data["totals"]
    whole = run(
        *("simulate", out / "workload.json", "--hw", out / "hardware.yaml", "--format", "json"),
    )
    assert one_object(whole)["totals"] == data["totals"]


def test_an_earlier_run_is_replaced_only_when_asked(run, small, refused, tmp_path):
    out = tmp_path / "run"
    words = ("simulate", small, *HW, "--out", out)
    good(run(*words))
    assert str(out) in refused(*words)
    good(run(*words, "--sparsity", "0.5", "--overwrite"))
    assert (out / "masks.npz").is_file()


def test_checkpoint_gives_the_masks(run, tmp_path):
    import torch

    from lspsim.workload import Gemm, Workload
    from lspsim.workload.serialise import save_workload

    weight = torch.ones(64, 96)
    weight[:32, 32:] = 0
    torch.save({"blocks.0.mlp.fc1.weight": weight}, tmp_path / "weights.pt")
    path = tmp_path / "one.json"
    save_workload(path, Workload([Gemm("blocks.0.mlp.fc1", m=50, k=96, n=64)]))
    data = simulated(run, path, "--checkpoint", tmp_path / "weights.pt", "--block", "32x32")
    assert (data["layers"][0]["tiles_live"], data["layers"][0]["tiles_total"]) == (4, 6)


def test_a_timm_model_at_another_size_and_batch(run):
    words = ("simulate", "deit_tiny_patch16_224", *HW, "--format", "json")
    plain = one_object(run(*words))
    large = one_object(run(*words, "--batch", "2", "--image-size", "384"))
    assert plain["model"].startswith("deit_tiny_patch16_224")
    qkv = next(layer for layer in plain["layers"] if layer["name"] == "blocks.0.attn.qkv")
    assert (qkv["m"], qkv["k"], qkv["n"]) == (197, 192, 576)
    qkv = next(layer for layer in large["layers"] if layer["name"] == "blocks.0.attn.qkv")
    assert qkv["m"] == 2 * 577


def test_a_warning_is_one_plain_line_on_stderr(tmp_path):
    (tmp_path / "taken").write_text("mine")
    done = subprocess.run(
        [sys.executable, "-m", "lspsim", "simulate", "deit_tiny_patch16_224", *HW],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"LSPSIM_CACHE_DIR": str(tmp_path / "taken" / "cache")},
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("note: the shapes of deit_tiny_patch16_224 could not be kept")
    assert "LSPSIM_CACHE_DIR" in line


def test_compare_two_configs(run, small):
    words = ("compare", "edge_32x32", "mid_64x64", "--model", small, "--sparsity", "0.5")
    data = one_object(run(*words, "--format", "json"))
    total = {row["name"]: row for row in data["totals"]}["latency_s"]
    assert total["b"] < total["a"]
    assert sum(data["bucket_difference_ns"].values()) == pytest.approx(
        (total["b"] - total["a"]) * 1e9
    )
    assert "blocks.0.mlp.fc1" in good(run(*words)).out
    table = rows(run(*words, "--format", "csv"))
    assert float(table[0]["time_a_ns"]) == pytest.approx(data["layers"][0]["time_a_ns"])


def test_compare_a_variation(run, small):
    words = ("compare", "edge_32x32", "--model", small, "--set", "clock=2 GHz")
    data = one_object(run(*words, "--format", "json"))
    assert data["b"] == "edge_32x32 clock=2 GHz"


def test_compare_runs_and_runs_with_configs(run, small, tmp_path):
    for sparsity in ("0.0", "0.5"):
        out = tmp_path / sparsity
        good(run("simulate", small, *HW, "--sparsity", sparsity, "--out", out))
    runs = one_object(run("compare", tmp_path / "0.0", tmp_path / "0.5", "--format", "json"))
    macs = {row["name"]: row for row in runs["totals"]}["macs_executed"]
    assert macs["b"] * 2 == macs["a"]
    mixed = one_object(run("compare", tmp_path / "0.5", "edge_32x32", "--format", "json"))
    assert all(row["a"] == row["b"] for row in mixed["totals"])


def test_trace_writes_a_timeline(run, small, tmp_path):
    out = tmp_path / "trace.json.gz"
    good(run("trace", small, *HW, "--out", out, "--sparsity", "0.5"))
    events = json.loads(gzip.decompress(out.read_bytes()))["traceEvents"]
    whole = [event for event in events if event["ph"] == "X"]
    assert whole
    good(run("trace", small, *HW, "--out", out, "--layer", "blocks.0.mlp.fc2"))
    events = json.loads(gzip.decompress(out.read_bytes()))["traceEvents"]
    part = [event for event in events if event["ph"] == "X"]
    assert 0 < len(part) < len(whole)


def test_trace_draws_what_it_writes(run, small, tmp_path):
    plot = tmp_path / "fc2"
    words = ("--layer", "blocks.0.mlp.fc2", "--out", tmp_path / "t.json.gz", "--plot", plot)
    answer = good(run("trace", small, *HW, *words))
    assert all(f"written: {plot}{suffix}" in answer.err for suffix in (".png", ".svg"))
    assert plot.with_suffix(".png").stat().st_size > 5_000
    assert plot.with_suffix(".svg").read_text().startswith("<?xml")


def test_trace_refuses_a_time_without_a_unit(refused, small):
    assert "unit" in refused("trace", small, *HW, "--from", "20")


@pytest.mark.parametrize("name", preset_names())
def test_check_and_show_every_preset(run, name, tmp_path):
    complete = good(run("hardware", "show", name, "--yaml")).out
    path = tmp_path / "copy.yaml"
    path.write_text(complete)
    assert ": ok (" in good(run("check", path)).out
    paths = [row["path"] for row in rows(run("hardware", "show", name, "--format", "csv"))]
    assert {"clock", "array.rows", "memory.dram.energy"} <= set(paths)
    assert one_object(run("hardware", "show", name, "--format", "json"))["name"] == name


def test_hardware_list_has_every_preset(run):
    listed = one_object(run("hardware", "list", "--format", "json"))["presets"]
    assert [row["name"] for row in listed] == preset_names()
    table = good(run("hardware", "list")).out
    assert all(name in table for name in preset_names())


def test_validate_scalesim(run):
    data = one_object(run("validate", "scalesim", "--format", "json"))
    assert {row["dataflow"] for row in data["rows"]} == {"ws", "os", "is"}
    assert all(row["agrees"] for row in data["rows"])
    table = rows(run("validate", "scalesim", "--engine", "analytic", "--format", "csv"))
    assert [int(row["lspsim_cycles"]) for row in table] == [
        row["lspsim_cycles"] for row in data["rows"]
    ]
    assert "By convention" in good(run("validate", "scalesim")).out


def test_validate_scalesim_fails_where_a_row_disagrees(run, monkeypatch):
    from lspsim.validate import scalesim

    right = scalesim.validate_scalesim()
    wrong = dataclasses.replace(right.entries[0], agrees=False)
    report = dataclasses.replace(right, entries=(wrong, *right.entries[1:]))
    monkeypatch.setattr(scalesim, "validate_scalesim", lambda engine: report)
    answer = run("validate", "scalesim", "--format", "csv")
    assert answer.code == 1
    assert [row["agrees"] for row in csv.DictReader(io.StringIO(answer.out))].count("False") == 1


def test_validate_chips(run):
    data = one_object(run("validate", "chips", "--format", "json"))
    chips = {row["chip"].partition(",")[0] for row in data["rows"]}
    assert {"ViTA", "TPUv1", "arXiv 2510.14393"} <= chips
    assert "ViTA power" in good(run("validate", "chips")).out


def test_doctor(run):
    answer = run("doctor", "--format", "json")
    findings = {row["subject"]: row for row in json.loads(answer.out)["findings"]}
    problems = [row for row in findings.values() if row["state"] == "problem"]
    assert answer.code == bool(problems)
    assert findings["numpy"]["state"] == "ok"
    assert {"python", "torch", "numba cache", "verilator"} <= set(findings)
    assert "numpy" in run("doctor").out

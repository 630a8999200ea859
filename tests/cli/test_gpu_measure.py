import csv
import io
import json

import pytest
import torch

from lspsim.gpu.kernels import tuning
from lspsim.gpu.measure.timing import Plan
from lspsim.models.load import load_model
from lspsim.workload.generate import random_masks
from lspsim.workload.mask_io import save_masks

MODEL = "lspsim/deit_digits"
CPU = ("gpu", "measure", "--device", "cpu", "--model", MODEL)
TINY = (*CPU, "--batch", "1", "--block", "32", "--sparsity", "0.5", "--energy-points", "1")


@pytest.fixture(autouse=True)
def short_plan(monkeypatch):
    """Measure as little as can be."""
    plan = Plan(replays=1, repeats=2, burst_warm_up_s=0.0, window_s=0.01, warm_up_s=0.0)
    monkeypatch.setattr("lspsim.gpu.measure.campaign.Plan", lambda: plan)
    monkeypatch.setattr(tuning, "_current", [])


def test_a_campaign_and_its_second_run(run, tmp_path):
    out = tmp_path / "rows.jsonl"
    first = run(*TINY, "--quick", "--out", out)
    assert first.code == 0, first.err
    assert "CPU timings: they say nothing about a GPU" in first.out
    assert "block-sparse 32x32" in first.out
    assert "no energy: a CPU has no energy counter" in first.err
    assert f"cpu, torch {torch.__version__}, " in first.err
    assert " s  lspsim/deit_digits blocks.1.mlp.fc2, batch 1, 32x32 50% removed" in first.err
    assert "7 cases measured, 0 finished before" in first.err
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["kind"] for row in rows} == {"cpu-layer", "cpu-model"}
    again = run(*TINY, "--quick", "--out", out, "--format", "json")
    assert "0 cases measured, 7 finished before" in again.err
    data = json.loads(again.out)
    assert data["schema"] == "lspsim/gpu-measure/v1"
    assert [row["key"] for row in data["rows"]] == [row["key"] for row in rows]
    table = run(*TINY, "--quick", "--out", out, "--format", "csv")
    assert [row["key"] for row in csv.DictReader(io.StringIO(table.out))] == [
        row["key"] for row in rows
    ]


def test_rows_of_another_version_are_named(run, tmp_path):
    out = tmp_path / "rows.jsonl"
    layers = (*TINY, "--parts", "layers", "--out", out)
    run(*layers)
    out.write_text(out.read_text().replace(torch.__version__, "1.0"))
    answer = run(*layers)
    assert "holds rows of torch 1.0; finished ones are not measured again" in answer.err
    assert "4 finished before" in answer.err


def test_no_time_at_all(run, tmp_path):
    out = tmp_path / "rows.jsonl"
    answer = run(*TINY, "--minutes", "0", "--out", out)
    assert answer.code == 0
    assert "0 cases measured, 0 finished before, 7 did not fit into the time" in answer.err
    assert not out.exists()


def test_a_pruned_checkpoint_brings_its_masks(run, tmp_path):
    from safetensors.torch import save_file

    from lspsim.models.extract import workload_from_model

    model = load_model(MODEL)
    masks = random_masks(workload_from_model(model), sparsity=0.75, block_out=16, block_in=32)
    with torch.no_grad():
        for name, mask in masks.items():
            weight = model.get_submodule(name).weight
            keep = torch.from_numpy(mask.keep.copy())
            weight.mul_(keep.repeat_interleave(16, 0).repeat_interleave(32, 1))
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    save_masks(tmp_path / "masks.npz", masks)
    common = (*CPU, "--batch", "1", "--sparsity", "0.5", "--block", "16x32", "--parts", "models")
    weights = ("--checkpoint", tmp_path / "weights.safetensors")
    for number, more in enumerate(((), ("--masks", tmp_path / "masks.npz"))):
        out = tmp_path / f"{number}.jsonl"
        answer = run(*common, *weights, *more, "--out", out, "--format", "json")
        assert answer.code == 0, answer.err
        rows = json.loads(answer.out)["rows"]
        assert [row["density"] for row in rows] == pytest.approx([1.0, 0.25, 0.5], abs=0.01)
        assert [row["sparsity"] for row in rows] == [0.0, None, 0.5]
        assert "checkpoint sha256:" in rows[0]["provenance"]["weights"]


def test_what_went_wrong_ends_with_an_error(run, tmp_path, monkeypatch):
    monkeypatch.setattr("lspsim.gpu.measure.campaign.check", lambda prepared: "it is wrong")
    answer = run(*TINY, "--parts", "layers", "--out", tmp_path / "rows.jsonl")
    assert answer.code == 2
    assert "incorrect" in answer.out
    assert "4 cases could not be measured" in answer.message
    assert "it is wrong" in answer.message


def test_ctrl_c(run, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lspsim.gpu.measure.campaign.burst", stop)
    answer = run(*TINY, "--out", tmp_path / "rows.jsonl")
    assert answer.code == 130


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(refused):
    assert "sees no CUDA device" in refused("gpu", "measure")
    assert "--device cpu" in refused("gpu", "measure")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--batch", "0"), "'0' is not a number of images"),
        (("--block", "32y16"), "is not a block size"),
        (("--sparsity", "50"), "for 50 per cent write 0.5"),
        (("--parts", "layers,heads"), "must name some of layers, models, energy"),
        (("--model", ","), "at least one model"),
        (("--dtype", "int8"), "int8"),
    ],
)
def test_bad_options(run, words, message):
    answer = run(*TINY, *words)
    assert answer.code == 2
    assert message in answer.message


def test_unsupported_blocks_become_rows(run, tmp_path):
    answer = run(*TINY, "--block", "8", "--parts", "layers", "--out", tmp_path / "rows.jsonl")
    assert answer.code == 0
    assert "unsupported" in answer.out
    assert "4 rows are unsupported: block 8x8 is not supported" in answer.message


def test_rows_of_another_device(refused, tmp_path):
    out = tmp_path / "rows.jsonl"
    out.write_text(
        json.dumps(
            {
                "schema": "lspsim/gpu-measurement/v1",
                "key": "a",
                "kind": "layer",
                "gpu": "NVIDIA H200",
                "status": "ok",
            }
        )
        + "\n"
    )
    assert "holds rows of 'NVIDIA H200', this is 'cpu'" in refused(*TINY, "--out", out)

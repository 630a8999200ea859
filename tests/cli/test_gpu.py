"""`lspsim gpu predict|calibrate|breakeven|list`, `validate gpu`, and GPUs in `prune`."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import typer

from lspsim.allocate.budgets import parse_budgets
from lspsim.cli.shared.inputs import check_gpu_gain, target_of
from lspsim.errors import LspsimError
from lspsim.gpu.config.load import load_gpu, load_parameters
from lspsim.gpu.fit.fit_dense import predicted
from lspsim.gpu.fit.gemm_table import GemmTable
from lspsim.gpu.model.dense import DenseRates, chip_of
from lspsim.prune.recipe import WHOLE, PruneRecipe
from lspsim.simulate.cost import CostModel
from lspsim.workload import Gemm, Workload
from lspsim.workload.generate import random_masks
from lspsim.workload.mask_io import save_masks
from lspsim.workload.serialise import load_workload, save_workload


@pytest.fixture
def network(tmp_path):
    """A workload file of one large block."""
    ops = [
        Gemm("blocks.0.attn.qkv", m=12608, k=768, n=2304, bias=True),
        Gemm("blocks.0.mlp.fc1", m=12608, k=768, n=3072, bias=True),
    ]
    path = tmp_path / "network.json"
    save_workload(path, Workload(ops, model="network", batch=64))
    return path


def test_predict_prints_layers_rooflines_and_totals(run, network):
    answer = run("gpu", "predict", network, "--gpu", "h200")
    assert answer.code == 0
    for word in ("blocks.0.attn.qkv", "bound by", "roofline", "images/s", "energy"):
        assert word in answer.out


def test_predict_json_adds_up_and_is_written(run, network, tmp_path):
    words = ("gpu", "predict", network, "--gpu", "a100", "--format", "json")
    out = tmp_path / "p.json"
    data = json.loads(run(*words, "--sparsity", "0.9", "--block", "64x64", "--out", out).out)
    assert data == json.loads(out.read_text())
    assert {layer["kind"] for layer in data["layers"]} == {"sparse"}
    total = sum(layer["latency_s"] for layer in data["layers"])
    assert data["totals"]["latency_s"] == pytest.approx(total)
    assert data["totals"]["latency_s"] < json.loads(run(*words).out)["totals"]["latency_s"]
    header = run(*words[:-1], "csv").out.splitlines()[0]
    assert header.startswith("name,kind,latency_s,bound_by,energy_j")


def test_predict_says_that_half_of_32x32_gains_nothing(run, network):
    answer = run("gpu", "predict", network, "--gpu", "h200", "--sparsity", "0.5")
    said = " ".join(answer.out.split())
    assert "2 of 2 masked layers stay dense: the block-sparse kernel would not be faster" in said
    words = ("--gpu", "h200", "--sparsity", "0.5", "--block", "24x24")
    answer = run("gpu", "predict", network, *words)
    said = " ".join(answer.out.split())
    assert "stay dense: the block-sparse kernel takes only blocks whose sides" in said


def test_predict_says_that_it_predicts_and_what_energies_rest_on(run, network):
    words = ("gpu", "predict", network, "--gpu", "h200")
    said = " ".join(run(*words).out.split())
    assert said.startswith("Predicted: network on h200, batch 64")
    assert "energy (assumed: idle power, energy per operation, energy per DRAM byte)" in said
    assert json.loads(run(*words, "--format", "json").out)["energy_basis"].startswith("assumed")
    assert run(*words, "--format", "csv").out.splitlines()[0].endswith(",energy_basis")


def test_predict_refuses_what_it_does_not_know(refused, network, tmp_path):
    assert "did you mean 'h200'" in refused("gpu", "predict", network, "--gpu", "h201")
    message = refused("gpu", "predict", network, "--gpu", "h200", "--framework", "tensorrt")
    assert "there is no framework 'tensorrt'" in message
    words = ("--sparsity", "0.9", "--block", "8x8", "--kernels", "sparse")
    assert "powers of two" in refused("gpu", "predict", network, "--gpu", "h200", *words)


def test_list_names_what_predictions_rest_on(run):
    data = json.loads(run("gpu", "list", "--format", "json").out)
    by_name = {gpu["name"]: gpu for gpu in data["gpus"]}
    assert "held out" in by_name["h200"]["dense_source"]
    assert by_name["a100"]["sms"] == 108
    assert by_name["h200"]["sparse_source"].startswith("assumed")
    shown = {line.split()[0]: line for line in run("gpu", "list").out.splitlines() if line}
    assert shown["a100"].split()[-1] == "fitted"
    assert shown["rtx4090"].split()[-1] == "assumed"


@pytest.fixture
def table(tmp_path):
    """A GEMM table that the model has made, in a CSV file."""
    sides = [256, 768, 2048, 4096]
    grid = [(m, n, k) for m in (128, 1024, 8192) for n in sides for k in sides]
    m, n, k = np.array(grid, dtype=float).T
    chip = chip_of(load_gpu("a100"), "bf16")
    rates = DenseRates(0.8, 0.9, 0.7, 0.2, 2.5, 0.3, 0.5e-6, 3e-6, 2e-6)
    latency_s = predicted(chip, rates, GemmTable(m, n, k, m, "made"))
    path = tmp_path / "gemm.csv"
    pd.DataFrame({"m": m, "n": n, "k": k, "latency": latency_s * 1e3}).to_csv(path, index=False)
    return path


def test_calibrate_writes_what_predict_reads(run, table, network, tmp_path):
    out = tmp_path / "mine.yaml"
    words = ("gpu", "calibrate", "--gpu", "a100", "--table", table, "--out", out, "--name", "mine")
    answer = run(*words)
    assert answer.code == 0
    assert "dense GEMM" in answer.out
    found = load_parameters(load_gpu("a100"), out)
    assert found.name == "mine"
    assert "gemm.csv" in found.dense.source
    predicted_ = run("gpu", "predict", network, "--gpu", "a100", "--parameters", out)
    assert "mine" in predicted_.out
    data = json.loads(run(*words[:-4], "--format", "json").out)
    assert data["findings"][0]["mean_error"] < 0.02


def test_calibrate_says_what_is_missing(refused, table, tmp_path):
    assert "give measurements" in refused("gpu", "calibrate", "--gpu", "a100")
    pair = ("gpu", "calibrate", "--gpu", "a100", "--gpu", "h200", "--table", table)
    assert "give each table its GPU" in refused(*pair)
    bad = tmp_path / "bad.csv"
    bad.write_text("m,n,depth,latency\n1,2,3,4\n")
    message = refused("gpu", "calibrate", "--gpu", "a100", "--table", bad)
    assert "no column 'k'" in message
    assert "nothing was fitted" in refused("gpu", "calibrate", "--gpu", "l40s", "--public")
    missing = refused("gpu", "calibrate", "--gpu", "a100", "--table", tmp_path / "no.parquet")
    assert "no.parquet: there is no such file" in missing
    other = refused("gpu", "calibrate", "--gpu", "h200", "--overhead", "aitemplate")
    assert "they are there for a100-40gb" in other
    words = ("gpu", "calibrate", "--gpu", "a100", "--overhead", "superblock", "--out")
    assert "only prints a number" in refused(*words, tmp_path / "o.yaml")
    words = ("gpu", "calibrate", "--gpu", "a100", "--public")
    assert "give one" in refused(*words, "--hold-out", "deit_tiny_patch16_224")
    assert "--name is empty" in refused(*words, "--name", "")


def test_an_overhead_is_printed_in_every_format(run):
    words = ("gpu", "calibrate", "--gpu", "a100", "--overhead", "superblock", "--format")
    data = json.loads(run(*words, "json").out)
    assert (data["gpu"], data["framework"]) == ("a100", "superblock")
    assert data["overhead"] == pytest.approx(1.14, rel=0.01)
    assert run(*words, "csv").out.splitlines()[0] == "gpu,framework,overhead"


def test_breakeven_of_a_layer(run, tmp_path):
    plot = tmp_path / "be"
    words = ("gpu", "breakeven", "--gpu", "a100", "--layer", "768x3072", "--batch", "1,64")
    answer = run(*words, "--block", "32x32,64x64", "--plot", plot, "--format", "json")
    rows = json.loads(answer.out)["rows"]
    assert [(row["batch"], row["block_out"]) for row in rows] == [
        (1, 32),
        (1, 64),
        (64, 32),
        (64, 64),
    ]
    assert all(0.2 < row["break_even_sparsity"] < 0.9 for row in rows)
    assert plot.with_suffix(".png").stat().st_size > 10_000
    assert plot.with_suffix(".svg").exists()
    assert "break-even" in run(*words).out


def test_breakeven_refuses_bad_lists(refused):
    words = ("gpu", "breakeven", "--gpu", "h200", "--layer", "768x768")
    for nowhere in ("", "."):
        message = refused(*words, "--block", "64x64", "--batch", "1", "--plot", nowhere)
        assert "names no file" in message
    assert "'0' is not a batch size" in refused(*words, "--batch", "0")
    assert "powers of two" in refused(*words, "--block", "24x24")
    assert "exclude each other" in refused(*words, "--model", "deit_tiny_patch16_224")
    assert "needs at least" in refused(*words, "--batch", "1" + 20 * "0")
    assert "--tokens goes with --layer" in refused(*words[:-2], "--tokens", "5")


def test_masks_are_taken_from_the_directory_of_a_point(run, network, tmp_path):
    workload = load_workload(network)
    point = tmp_path / "latency=0.8"
    point.mkdir()
    masks = random_masks(workload, sparsity=0.9, block_out=64, block_in=64)
    save_masks(point / "masks.npz", masks)
    words = ("gpu", "predict", network, "--gpu", "a100", "--format", "json", "--masks")
    found = [json.loads(run(*words, path).out) for path in (point, point / "masks.npz")]
    assert found[0] == found[1]
    assert {layer["kind"] for layer in found[0]["layers"]} == {"sparse"}


def test_masks_of_another_model_are_refused(refused, tmp_path):
    wide, narrow = (
        Workload([Gemm("blocks.0.mlp.fc1", 197, k, 4 * k)], model="m") for k in (384, 192)
    )
    save_workload(tmp_path / "narrow.json", narrow)
    masks = random_masks(wide, sparsity=0.5, block_out=64, block_in=64)
    save_masks(tmp_path / "masks.npz", masks)
    words = ("gpu", "predict", tmp_path / "narrow.json", "--gpu", "a100", "--masks")
    message = refused(*words, tmp_path / "masks.npz")
    assert "covers a 1536x384 weight (N x K), but this weight is 768x192" in message


def test_a_gpu_stands_for_a_chip(capsys):
    target = target_of("gpu:h200", None)
    said = capsys.readouterr().err
    assert "costs on gpu:h200 are predicted; energy (assumed: idle power" in said
    assert target.name == "gpu:h200"
    assert isinstance(target.cost, CostModel)
    assert target.digest != target_of("gpu:h100", None).digest
    with pytest.raises(typer.BadParameter, match="--set changes simulated chips"):
        target_of("gpu:h200", ["array.rows=4"])
    assert target_of("edge_32x32", ["array.rows=16"]).array.rows == 16


@pytest.mark.parametrize(("tokens", "limit", "met"), [(65, 0.9, False), (12608, 0.6, True)])
def test_budgets_that_no_block_meets_are_refused(tokens, limit, met):
    ops = [Gemm("blocks.0.mlp.fc1", tokens, 768, 3072), Gemm("blocks.0.mlp.fc2", tokens, 3072, 768)]
    target = target_of("gpu:h200", None)
    study = SimpleNamespace(hardware=target, fast=target.cost, workload=Workload(ops))
    budgets = [parse_budgets([f"latency={limit}"])]
    if met:
        check_gpu_gain(study, PruneRecipe(64, 64), budgets)
        check_gpu_gain(study, PruneRecipe(8, 8, more_sizes=((64, 64),)), budgets)
        return
    with pytest.raises(LspsimError, match=r"cannot be met on gpu:h200.*lspsim gpu breakeven"):
        check_gpu_gain(study, PruneRecipe(64, 64), budgets)
    with pytest.raises(LspsimError, match="with --block 16xall every layer would run dense"):
        check_gpu_gain(study, PruneRecipe(16, WHOLE), budgets)

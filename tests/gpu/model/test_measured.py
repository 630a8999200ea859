import itertools
import json

import pytest

from lspsim.errors import ResultError
from lspsim.gpu.config.edit import with_values
from lspsim.gpu.config.load import load_gpu, load_parameters
from lspsim.gpu.fit.calibrate import Given, calibrate
from lspsim.gpu.fit.fit_energy import fit_energy
from lspsim.gpu.fit.fit_sparse import fit_sparse_layers, predicted_layer_s
from lspsim.gpu.fit.measured import SCHEMA, dense_table, gpu_of_device, read_measurements
from lspsim.gpu.model.gpu_model import GpuModel
from lspsim.hardware import presets

MODEL, LAYER = "deit_tiny_patch16_224", "blocks.6.mlp.fc1"
SHAPE = (768, 192)
NUMBERS = itertools.count()


def line(sparsity=0.0, block=None, latency_s=1e-4, batch=64, **changes):
    """A row as `lspsim gpu measure` writes it."""
    data = {
        "schema": SCHEMA,
        "key": f"row {next(NUMBERS)}",
        "kind": "layer",
        "gpu": "NVIDIA H200",
        "dtype": "bf16",
        "model": MODEL,
        "layer": LAYER,
        "batch": batch,
        "m": 197 * batch,
        "n": SHAPE[0],
        "k": SHAPE[1],
        "block_out": block,
        "block_in": block,
        "sparsity": sparsity,
        "density": 1 - (sparsity or 0),
        "variant": "dense" if block is None else "block-sparse",
        "regime": "burst",
        "latency_s": latency_s,
        "energy_j": None,
        "status": "ok",
        "provenance": {"seed": 0, "mask_digest": None},
    }
    return json.dumps(data | changes)


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA L40S", "l40s"),
        ("AMD Instinct MI300X", None),
    ],
)
def test_which_description_a_device_means(device, name):
    assert gpu_of_device(device) == name


def test_rows_that_are_no_result_are_skipped(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(
        "\n".join(
            [
                line(),
                line(status="incorrect", latency_s=None),
                line(kind="cpu-layer", gpu="cpu"),
                line(0.5, 32),
                line(None, 32),
            ]
        )
        + "\n"
    )
    dense, sparse = read_measurements([path])
    assert (dense.gpu, dense.block, dense.m) == ("h200", None, 197 * 64)
    assert (sparse.block, sparse.sparsity) == ((32, 32), 0.5)
    assert len(dense_table([dense, sparse], "m")) == 1
    assert "32x32 50 % removed" in sparse.label


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "m.jsonl:1: no row of lspsim gpu measure"),
        (line(schema="other/v1"), "its schema is 'other/v1'"),
        (line(gpu="MI300X"), "'MI300X' has no description in hw_configs/gpu"),
        (line(dtype="fp8"), "number format 'fp8'"),
        (line(m="many"), "invalid literal"),
        (line(latency_s=0.0), "latency_s is 0.0, not above 0"),
        (line(latency_s=float("nan")), "latency_s is nan, not above 0"),
        (line(energy_j=-1.0), "energy_j is -1.0, not above 0"),
        (line(energy_j="x"), "could not convert string to float: 'x'"),
        (line(provenance={"idle_power_w": 0.0}), "idle_power_w is 0.0, not above 0"),
        (line(1.5, 32), "sparsity is 1.5, not within 0..1"),
        (line(0.5, 0), "block_out is 0, not at least 1"),
        (line(m=0), "m is 0, not at least 1"),
        (line(batch=0), "batch is 0, not at least 1"),
        (line(layer=None), "a row of kind 'layer' names no layer"),
        (line(kind="kernel"), "kind is 'kernel', not layer or model"),
        (line(regime="idle"), "regime is 'idle', not burst or sustained"),
    ],
)
def test_what_is_no_row_is_named(tmp_path, text, message):
    path = tmp_path / "m.jsonl"
    path.write_text(text + "\n")
    with pytest.raises(ResultError, match=message):
        read_measurements([path])


def own_h200(tmp_path):
    """An H200 of half the speed and little L2, that keeps its name."""
    text = (presets.config_dir() / "gpu" / "h200.yaml").read_text()
    changed = {"989.5 TFLOP/s": "494.7 TFLOP/s", "4.8 TB/s": "2.4 TB/s", "50 MiB": "256 KiB"}
    for was, now in changed.items():
        text = text.replace(was, now)
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return load_gpu(path)


def made_rows(tmp_path, truth, gpu=None):
    """Rows that a model with these efficiencies would have measured."""
    start = load_parameters(load_gpu("h200"))
    values = {f"sparse.efficiency_{side}": value for side, value in truth.items()}
    model = GpuModel(gpu or load_gpu("h200"), "bf16", with_values(start, values))
    path = tmp_path / "m.jsonl"
    texts = [
        line(sparsity, side, batch=batch)
        for side in truth
        for sparsity in (0.5, 0.7, 0.9)
        for batch in (64, 256)
    ]
    path.write_text("\n".join(texts) + "\n")
    rows = read_measurements([path])
    latencies = [predicted_layer_s(row, model) for row in rows]
    lines = [json.loads(text) | {"latency_s": t} for text, t in zip(texts, latencies, strict=True)]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path, start


def test_of_equal_keys_the_last_good_row_counts(tmp_path):
    path = tmp_path / "m.jsonl"
    rows = [(1e-4, "ok"), (2e-4, "ok"), (None, "failed")]
    path.write_text(
        "".join(line(key="same", latency_s=s, status=status) + "\n" for s, status in rows)
    )
    (found,) = read_measurements([path])
    assert found.latency_s == 2e-4


def test_sparse_efficiencies_are_found_again(tmp_path):
    path, start = made_rows(tmp_path, {32: 0.11, 64: 0.22})
    found = fit_sparse_layers(read_measurements([path]), start)
    assert float(found.parameters.sparse.efficiency_32) == pytest.approx(0.11, rel=0.02)
    assert float(found.parameters.sparse.efficiency_64) == pytest.approx(0.22, rel=0.02)
    assert found.parameters.sparse.efficiency_16 == start.sparse.efficiency_16
    assert found.held_out is not None
    assert (found.fitted.rows, found.held_out.rows) == (8, 4)
    assert found.held_out.mean < 0.01
    assert "held out" in found.parameters.sparse.source


def test_only_held_out_rows_cannot_be_fitted(tmp_path):
    path, start = made_rows(tmp_path, {32: 0.11})
    held = [row for row in read_measurements([path]) if row.sparsity == 0.7]
    with pytest.raises(ResultError, match="held-out 70%"):
        fit_sparse_layers(held, start)


def test_other_masks_than_the_seeds_are_noticed(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(line(0.5, 32, provenance={"seed": 0, "mask_digest": "0" * 64}) + "\n")
    path.write_text(path.read_text() + line(0.5, 32, n=384) + "\n")
    for row in read_measurements([path]):
        with pytest.raises(ResultError, match="was measured with other masks"):
            row.masks()


def energy_rows(tmp_path, few=False, own=None):
    """Rows whose energy is 100 W, 0.4 pJ per operation and 60 pJ per DRAM byte."""
    gpu = GpuModel(own or load_gpu("h200"), "bf16")
    origin = {"seed": 0, "mask_digest": None, "idle_power_w": 100.0}
    texts = []
    cases = [(0.0, None), (0.5, 64), (0.7, 64), (0.9, 64)]
    for sparsity, block in cases[: 2 if few else None]:
        for batch in (64,) if few else (64, 1024):
            row = line(sparsity, block, batch=batch, regime="sustained", provenance=origin)
            path = tmp_path / "one.jsonl"
            path.write_text(row + "\n")
            (read,) = read_measurements([path])
            time = (
                gpu.dense_latency(read.m, read.n, read.k)
                if block is None
                else gpu.sparse_latency(read.masks()[LAYER], read.m)
            )
            joules = 100 * 1e-4 + 0.4e-12 * time.flops + 60e-12 * time.dram_bytes
            texts.append(json.dumps(json.loads(row) | {"energy_j": joules}))
    path = tmp_path / "energy.jsonl"
    path.write_text("\n".join(texts) + "\n")
    return path


def test_energies_are_found_again(tmp_path):
    rows = read_measurements([energy_rows(tmp_path)])
    found = fit_energy(rows, load_parameters(load_gpu("h200")))
    assert found.idle_w == 100
    assert found.flop_j == pytest.approx(0.4e-12, rel=0.01)
    assert found.byte_j == pytest.approx(60e-12, rel=0.01)
    assert found.fitted.rows == 6
    assert found.held_out is not None
    assert found.held_out.mean < 0.01
    assert found.lines()[1] == "flop: 0.4 pJ/FLOP"


def test_too_few_energies_are_refused(tmp_path):
    rows = read_measurements([energy_rows(tmp_path, few=True)])
    with pytest.raises(ResultError, match="2 rows have an energy"):
        fit_energy(rows, load_parameters(load_gpu("h200")))


def test_calibrate_takes_measurements_for_a_table(tmp_path):
    path, start = made_rows(tmp_path, {64: 0.22})
    path.write_text(path.read_text() + energy_rows(tmp_path).read_text())
    found = calibrate(Given([(load_gpu("h200"), path)]), start)
    assert float(found.parameters.sparse.efficiency_64) == pytest.approx(0.22, rel=0.02)
    assert found.energy is not None
    assert {finding.part for finding in found.findings} == {
        "block-sparse layer",
        "energy, at measured latencies",
    }
    assert any("too few for the dense parameters" in note for note in found.notes)
    with pytest.raises(ResultError, match="holds rows of h200; give the matching --gpu"):
        calibrate(Given([(load_gpu("a100"), path)]), start)


def test_an_own_description_is_what_is_fitted(tmp_path):
    """Not the shipped one, whose name it keeps."""
    own = own_h200(tmp_path)
    path, start = made_rows(tmp_path, {64: 0.22}, own)
    path.write_text(path.read_text() + energy_rows(tmp_path, own=own).read_text())
    found = calibrate(Given([(own, path)]), start)
    assert float(found.parameters.sparse.efficiency_64) == pytest.approx(0.22, rel=0.02)
    assert found.energy.fitted.mean < 0.01
    shipped = calibrate(Given([(load_gpu("h200"), path)]), start)
    assert float(shipped.parameters.sparse.efficiency_64) < 0.15
    assert shipped.energy.fitted.mean > 0.05


@pytest.mark.parametrize("truth", [0.05, 0.11, 0.2])
def test_a_flat_loss_does_not_mislead_the_search(tmp_path, truth):
    path, start = made_rows(tmp_path, {16: truth})
    found = fit_sparse_layers(read_measurements([path]), start)
    assert float(found.parameters.sparse.efficiency_16) == pytest.approx(truth, rel=0.02)

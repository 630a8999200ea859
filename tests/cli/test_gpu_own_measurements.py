"""What the harness writes is what `validate gpu` and `gpu calibrate` read: from end to end."""

import json

import pytest

from lspsim.gpu.config.edit import with_values
from lspsim.gpu.config.load import load_gpu, load_parameters
from lspsim.gpu.fit.measured import read_measurements
from lspsim.gpu.measure.bench import Prepared
from lspsim.gpu.measure.campaign import Campaign
from lspsim.gpu.measure.networks import Networks, Source
from lspsim.gpu.measure.points import Choice, campaign_points
from lspsim.gpu.measure.store import Store
from lspsim.gpu.measure.timing import Plan
from lspsim.gpu.model.gpu_model import GpuModel
from tests.gpu.measure.fakes import FakeDevice

MODEL = "deit_tiny_patch16_224"
EFFICIENCY_64 = 0.3
PLAN = Plan(replays=2, repeats=3, window_s=0.3, warm_up_s=0.1, burst_warm_up_s=0.0)


class ModelledBench:
    """A bench on which layers take what a model of an H200 says, 5 % longer under load."""

    dtype = "bf16"

    def __init__(self, device, networks):
        self.device, self.networks = device, networks
        shipped = load_parameters(load_gpu("h200"))
        truth = with_values(shipped, {"sparse.efficiency_64": EFFICIENCY_64})
        self.model = GpuModel(load_gpu("h200"), "bf16", truth)

    def prepare(self, point):
        gemms = self.networks.workload(point.model).gemms
        gemm = next(one for one in gemms if one.name == point.layer)
        m, n, k = gemm.m * point.batch, gemm.n, gemm.k
        masks = self.networks.masks(point) if point.block else {}
        seconds = {"dense": self.model.dense_latency(m, n, k).latency_s}
        if masks:
            seconds["block-sparse"] = self.model.sparse_latency(masks[point.layer], m).latency_s
        names = list(seconds) if point.regime == "burst" else [point.variant]
        slower = 1.0 if point.regime == "burst" else 1.05
        works = {name: self.device.work(name, slower * seconds[name]) for name in names}
        mask = masks.get(point.layer)
        density = mask.density if mask else 1.0
        digest = mask.digest if mask else None
        return Prepared(works, dict.fromkeys(names, 1e-3), 1e-2, (m, n, k), density, digest, {})

    def forget(self):
        pass


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The file of a campaign: two layers, burst and sustained, 50, 70 and 90 % gone."""
    path = tmp_path_factory.mktemp("measured") / "nvidia-h200-bf16.jsonl"
    device = FakeDevice(idle_w=75.0, load_w=lambda now: 400.0)
    device.name = "NVIDIA H200"
    networks = Networks(Source(MODEL))
    choice = Choice(
        (MODEL,),
        batches=(64,),
        blocks=((64, 64),),
        sparsities=(0.9, 0.5, 0.7),
        parts=("layers", "energy"),
        energy_points=12,
    )
    points = [
        point
        for point in campaign_points(choice, {MODEL: networks.workload(MODEL)})
        if point.kind == "layer"
    ]
    Campaign(device, ModelledBench(device, networks), Store(path, device.name), PLAN).run(points)
    return path


def test_the_campaign_has_what_a_calibration_needs(measured):
    rows = read_measurements([measured])
    assert {row.gpu for row in rows} == {"h200"}
    assert {row.sparsity for row in rows if row.block} >= {0.5, 0.7, 0.9}
    assert sum(row.energy_j is not None for row in rows) >= 3
    assert all(row.idle_w == pytest.approx(75, rel=0.02) for row in rows if row.energy_j)


def test_validate_reports_them(run, measured):
    answer = run("validate", "gpu", "--measurements", measured, "--format", "json")
    rows = {(r["what"], r["quantity"]): r for r in json.loads(answer.out)["rows"]}
    dense = rows["h200 bf16, own layers, dense, burst", "latency (s)"]
    assert dense["mean_error"] < 1e-3
    held = rows["h200 bf16, own layers, block-sparse, held out, burst", "latency (s)"]
    assert held["role"] == "held out"
    assert held["mean_error"] > 0.02  # measured with another efficiency than the shipped one
    energies = [row for row in rows.values() if row["quantity"] == "energy (J)"]
    assert energies
    assert all(row["roofline_error"] is None for row in energies)


def test_calibrate_fits_them_and_reports_what_was_held_out(run, measured, tmp_path):
    out = tmp_path / "mine.yaml"
    words = ("gpu", "calibrate", "--gpu", "h200", "--table", measured)
    data = json.loads(run(*words, "--out", out, "--format", "json").out)
    found = {(row["part"], row["rows"]): row for row in data["findings"]}
    assert found["block-sparse layer", "fitted"]["count"] == 8
    held = found["block-sparse layer", "held out: 70% sparsity"]
    assert held["count"] == 4
    assert held["mean_error"] < 0.01
    assert data["power"]["idle_w"] == pytest.approx(75, rel=0.02)
    fitted = load_parameters(load_gpu("h200"), out)
    assert float(fitted.sparse.efficiency_64) == pytest.approx(EFFICIENCY_64, rel=0.05)
    assert "nvidia-h200-bf16.jsonl" in fitted.sparse.source
    shown = run(*words).out
    assert "power (for the GPU's own file): idle: 75" in shown


def test_a_row_that_was_cut_off_does_not_hide_the_others(measured, tmp_path):
    whole = measured.read_text()
    torn = tmp_path / "torn.jsonl"
    torn.write_text(whole[:-40])
    assert len(read_measurements([torn])) == len(read_measurements([measured])) - 1


def test_files_without_a_gpu_row_are_named(run, measured, tmp_path):
    path = tmp_path / "cpu.jsonl"
    row = json.loads(measured.read_text().splitlines()[0])
    path.write_text(json.dumps(row | {"kind": "cpu-layer"}) + "\n")
    said = run("validate", "gpu", "--measurements", path).out
    assert "the given files hold no finished row of a GPU" in said


def test_a_missing_key_is_named(refused, tmp_path):
    path = tmp_path / "other.jsonl"
    path.write_text("{}\n")
    message = refused("validate", "gpu", "--measurements", path)
    assert "other.jsonl:1: no row of lspsim gpu measure (no key 'schema')" in message

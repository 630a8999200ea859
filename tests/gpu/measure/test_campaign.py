import json
import math

import pytest
import torch
from safetensors.torch import save_file

from lspsim.errors import LspsimError, MissingDependencyError
from lspsim.gpu.kernels import linear
from lspsim.gpu.kernels import tuning as tunings
from lspsim.gpu.kernels.adapter import plain_product
from lspsim.gpu.kernels.tuning import NoTileError
from lspsim.gpu.measure import bench as benches
from lspsim.gpu.measure import campaign as campaigns
from lspsim.gpu.measure.bench import Bench, Prepared, check, weight_copies
from lspsim.gpu.measure.campaign import Campaign
from lspsim.gpu.measure.device import CpuDevice
from lspsim.gpu.measure.networks import Networks, Source
from lspsim.gpu.measure.points import Choice, Point, campaign_points
from lspsim.gpu.measure.store import Store, read_rows
from lspsim.gpu.measure.timing import Plan, Work
from lspsim.models.load import load_model
from lspsim.workload.mask_io import save_masks
from tests.gpu.measure.fakes import QUICK, FakeDevice

MODEL = "lspsim/deit_digits"
LAYER = "blocks.1.mlp.fc1"
SPARSE = Point("layer", MODEL, 1, "burst", LAYER, (32, 32), 0.5)


@pytest.fixture(scope="module")
def networks():
    return Networks(Source(MODEL))


def campaign(path, networks, device=None, plan=QUICK, **more):
    device = device or CpuDevice()
    bench = Bench(device, networks, "fp32")
    return Campaign(device, bench, Store(path, device.name), plan, **more)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.jsonl"


def test_a_whole_campaign_on_a_cpu(path, networks):
    choice = Choice((MODEL,), batches=(1,), blocks=((32, 64),), sparsities=(0.5,), energy_points=2)
    points = campaign_points(choice, {MODEL: networks.workload(MODEL)})
    outcome = campaign(path, networks).run(points)
    assert (outcome.measured, outcome.done_before, outcome.postponed) == (8, 0, 0)
    rows = read_rows(path)
    assert len(rows) == 4 * 2 + 2 + 2
    assert {row["kind"] for row in rows} == {"cpu-layer", "cpu-model"}
    assert {row["gpu"] for row in rows} == {"cpu"}
    for row in rows:
        assert row["status"] == "ok"
        assert row["latency_s"] > 0
        assert row["latency_iqr_s"] >= 0
        assert row["energy_j"] is None
        assert row["correct_max_error"] < 1e-5
        sparse = row["variant"] == "block-sparse"
        assert (row["block_out"], row["block_in"]) == ((32, 64) if sparse else (None, None))
        assert row["density"] == pytest.approx(0.5, abs=0.01) if sparse else row["density"] == 1
        assert (row["m"] is None) == (row["kind"] == "cpu-model")
        if sparse and row["regime"] == "burst":
            assert row["speedup"] == row["dense_latency_s"] / row["latency_s"]
    first = rows[0]
    assert (first["m"], first["n"], first["k"]) == (65, 576, 192)
    provenance = rows[1]["provenance"]
    assert provenance["weights"] == "shipped"
    (mask,) = networks.masks(points[0]).values()
    assert provenance["mask_digest"] == mask.digest
    assert rows[0]["provenance"]["mask_digest"] is None
    assert provenance["seed"] == 0
    assert provenance["repeats"] == QUICK.repeats
    assert {"torch", "lspsim_version", "git_commit", "measured_at", "tuning"} <= set(provenance)
    load = rows[-1]
    assert (load["regime"], load["variant"]) == ("sustained", "block-sparse")
    assert load["speedup"] == pytest.approx(rows[-2]["latency_s"] / load["latency_s"])
    assert "energy counter" in load["provenance"]["energy_missing"]


def test_finished_points_are_skipped(path, networks):
    other = Point("layer", MODEL, 1, "burst", "blocks.1.mlp.fc2", (32, 32), 0.5)
    campaign(path, networks).run([SPARSE])
    before = path.read_bytes()
    outcome = campaign(path, networks).run([SPARSE, other])
    assert (outcome.measured, outcome.done_before) == (1, 1)
    assert path.read_bytes().startswith(before)


def test_ctrl_c_keeps_what_is_finished(path, networks, monkeypatch):
    running = campaign(path, networks)
    times = iter([None, KeyboardInterrupt])

    def prepare(point, original=running.bench.prepare):
        if (error := next(times)) is not None:
            raise error
        return original(point)

    monkeypatch.setattr(running.bench, "prepare", prepare)
    with pytest.raises(KeyboardInterrupt):
        running.run([SPARSE, Point("model", MODEL, 1, "burst")])
    assert [row["status"] for row in read_rows(path)] == ["ok", "ok"]
    again = campaign(path, networks).run([SPARSE, Point("model", MODEL, 1, "burst")])
    assert (again.measured, again.done_before) == (1, 1)


def test_other_settings_are_other_points(networks):
    def key(point=SPARSE, dtype="fp32", seed=0):
        source = Networks(Source(MODEL, seed=seed))
        device = FakeDevice()
        return Campaign(device, Bench(device, source, dtype), None, QUICK).key(point)

    points = (
        SPARSE,
        SPARSE.dense,
        Point("layer", MODEL, 2, "burst", LAYER, (32, 32), 0.5),
        Point("layer", MODEL, 1, "burst", LAYER, (32, 64), 0.5),
        Point("layer", MODEL, 1, "burst", LAYER, (32, 32), 0.6),
        Point("layer", MODEL, 1, "sustained", LAYER, (32, 32), 0.5),
        Point("model", MODEL, 1, "burst", "", (32, 32), 0.5),
    )
    keys = [key(point) for point in points] + [key(dtype="fp16"), key(seed=1)]
    assert len(set(keys)) == len(keys)


def test_what_is_wrong_is_not_timed(path, networks, monkeypatch):
    right = linear.block_sparse_linear

    def wrong(*arguments):
        y = right(*arguments)
        y[3, 5] += 0.01 * y.abs().max()  # one value, by a hundredth
        return y

    monkeypatch.setattr(linear, "block_sparse_linear", wrong)
    monkeypatch.setattr(campaigns, "burst", lambda *_: pytest.fail("it was timed"))
    outcome = campaign(path, networks).run([SPARSE])
    (row,) = outcome.rows
    assert row["status"] == "incorrect"
    assert row["latency_s"] is None
    assert row["correct_max_error"] == pytest.approx(0.01, rel=0.2)
    assert "block-sparse differs" in row["error"]


def test_not_a_number_is_wrong(path, networks, monkeypatch):
    right = linear.block_sparse_linear
    monkeypatch.setattr(linear, "block_sparse_linear", lambda *a: right(*a) * math.nan)
    (row,) = campaign(path, networks).run([SPARSE]).rows
    assert row["status"] == "incorrect"
    assert row["correct_max_error"] is None


def test_errors_become_rows(path, networks, monkeypatch):
    running = campaign(path, networks)

    def full(point):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 4 GiB\nmore")

    monkeypatch.setattr(running.bench, "prepare", full)
    (row,) = running.run([SPARSE]).rows
    assert row["status"] == "out-of-memory"
    assert row["error"] == "CUDA out of memory. Tried to allocate 4 GiB"
    block = Point("layer", MODEL, 1, "burst", LAYER, (8, 8), 0.5)
    (row,) = campaign(path, networks).run([block]).rows
    assert row["status"] == "unsupported"
    assert "8x8 is not supported" in row["error"]


def test_a_device_out_of_order_ends_the_run(path, networks, monkeypatch):
    running = campaign(path, networks)

    def broken(point):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(running.bench, "prepare", broken)
    points = [Point("model", MODEL, batch, "burst") for batch in range(1, 9)]
    with pytest.raises(LspsimError, match=r"3 measurements failed .*illegal memory access"):
        running.run(points)
    rows = read_rows(path)
    assert [row["status"] for row in rows] == ["failed"] * 3
    outcome = campaign(path, networks).run(points[:1])  # failed ones are tried again
    assert (outcome.measured, outcome.done_before) == (1, 0)


def test_a_kernel_that_runs_with_no_tile_is_tried_again(path, networks, monkeypatch):
    running = campaign(path, networks)

    def refused(point):
        raise NoTileError("no tile runs on this GPU; the first was: an illegal memory access")

    monkeypatch.setattr(running.bench, "prepare", refused)
    (row,) = running.run([SPARSE]).rows
    assert row["status"] == "failed"
    assert campaign(path, networks).run([SPARSE]).measured == 1


class Replayed(FakeDevice):
    """Knows which tile was last timed; products themselves take no time."""

    def captured(self, run):
        run()
        return run

    def seconds(self, run):
        run()
        self.now += 1e-3
        return 1e-3 * self.last.tokens


def test_tuning_takes_no_tile_that_is_wrong(tmp_path, networks, monkeypatch):
    device = Replayed()
    bench = Bench(device, networks, "fp32")
    monkeypatch.setattr(tunings, "_current", [tunings.Tunings(tmp_path / "tuning.json")])
    weights = {}

    def product(x, crow, col, values, bias, n, tile):
        device.last = tile
        y = plain_product(x, crow, col, values, bias, n)
        weights[tile.tokens] = y
        return y * 1.5 if tile.tokens == 16 else y

    monkeypatch.setattr(benches, "kernel_product", product)
    prepared = bench.prepare(SPARSE)
    assert 16 in weights
    assert prepared.details["tuning"]["tokens"] == 32


def test_a_point_that_breaks_the_device_does_not_stop_the_next_run(path, networks, monkeypatch):
    device = FakeDevice()
    points = [Point("model", MODEL, batch, "burst") for batch in (1, 2)]
    message = "CUDA error: an illegal memory access was encountered\nmore"

    def broken(*_):
        raise RuntimeError(message)

    running = scripted(path, networks, device, broken)
    monkeypatch.setattr(device, "free", broken)
    with pytest.raises(LspsimError, match=r"out of order after .* illegal memory access was .*; f"):
        running.run(points)
    assert [row["status"] for row in read_rows(path)] == ["failed"]
    again = scripted(path, networks, FakeDevice()).run(points)
    assert [row["batch"] for row in again.rows] == [2, 1]


def test_without_triton_it_ends_at_once(path, networks, monkeypatch):
    running = campaign(path, networks)

    def missing(point):
        raise MissingDependencyError("the block-sparse kernel needs Triton")

    monkeypatch.setattr(running.bench, "prepare", missing)
    with pytest.raises(MissingDependencyError):
        running.run([SPARSE])
    assert not path.exists()


class Scripted:
    """A bench whose points take made-up times."""

    dtype = "bf16"

    def __init__(self, device, networks, seconds):
        self.device, self.networks, self.seconds = device, networks, seconds

    def prepare(self, point):
        self.device.now += self.seconds(point)
        names = ["dense", "block-sparse"] if point.block else ["dense"]
        if point.regime == "sustained":
            names = [point.variant]
        launch = {"dense": 2e-3, "block-sparse": 1e-3}
        works = {name: self.device.work(name, launch[name]) for name in names}
        return Prepared(works, dict.fromkeys(names, 1e-3), 1e-2, (1, 2, 3), 0.5, "ab", {})

    def forget(self):
        pass


def scripted(path, networks, device, seconds=lambda point: 0.0, plan=None):
    return Campaign(device, Scripted(device, networks, seconds), Store(path, device.name), plan)


def test_it_stops_before_the_time_is_over(path, networks):
    device = FakeDevice()
    points = [Point("model", MODEL, batch, "burst") for batch in range(1, 40)]
    outcome = scripted(path, networks, device, lambda point: 25.0).run(points, until_s=480.0)
    assert device.now <= 480.0
    assert outcome.measured >= 17
    assert outcome.measured + outcome.postponed == 39


def test_smaller_points_fill_the_time_that_is_left(path, networks):
    device = FakeDevice()
    large = [Point("model", MODEL, batch, "burst") for batch in range(1, 5)]
    small = [Point("layer", MODEL, batch, "burst", LAYER) for batch in range(1, 5)]
    running = scripted(path, networks, device, lambda point: 40.0 if point.kind == "model" else 1.0)
    outcome = running.run(large + small, until_s=100.0)
    assert [row["kind"] for row in outcome.rows] == ["model"] * 2 + ["layer"] * 4
    assert device.now <= 100.0


def test_more_images_are_expected_to_take_longer(path, networks):
    device = FakeDevice()
    points = [Point("model", MODEL, batch, "burst") for batch in (64, 256)]
    outcome = scripted(path, networks, device, lambda point: 15.0).run(points, until_s=60.0)
    assert [row["batch"] for row in outcome.rows] == [64]
    outcome = scripted(path, networks, device).run(points, until_s=device.now + 81.0)
    assert [row["batch"] for row in outcome.rows] == [256]


def test_what_failed_before_comes_last(path, networks):
    device = FakeDevice()
    points = [Point("model", MODEL, batch, "burst") for batch in range(1, 8)]

    def broken(point):
        if point.batch <= 2:
            raise RuntimeError("CUDA error")
        return 0.0

    first = scripted(path, networks, device, broken).run(points[:3])
    assert [row["status"] for row in first.rows] == ["failed", "failed", "ok"]
    again = scripted(path, networks, device, broken).run(points)
    assert [row["batch"] for row in again.rows] == [4, 5, 6, 7, 1, 2]


def test_energy_is_measured_as_soon_as_there_is_a_meter(path, networks):
    point = Point("layer", MODEL, 64, "sustained", LAYER)
    blind = FakeDevice()
    blind.meter, blind.meter_problem = None, "nvidia-ml-py is not installed"
    (row,) = scripted(path, networks, blind).run([point]).rows
    assert (row["status"], row["energy_j"]) == ("ok", None)
    assert scripted(path, networks, blind).run([point]).done_before == 1
    (row,) = scripted(path, networks, FakeDevice()).run([point]).rows
    assert row["energy_j"] == pytest.approx(0.6, rel=0.01)
    assert scripted(path, networks, FakeDevice()).run([point]).done_before == 1


def test_energy_gross_and_net(path, networks):
    device = FakeDevice(idle_w=60.0)
    points = [
        Point("layer", MODEL, 64, "sustained", LAYER),
        Point("layer", MODEL, 64, "sustained", LAYER, (64, 64), 0.9),
    ]
    dense, sparse = scripted(path, networks, device).run(points).rows
    assert dense["kind"] == "layer"
    assert dense["power_w"] == pytest.approx(300.0, rel=0.01)
    assert dense["energy_j"] == pytest.approx(0.6, rel=0.01)
    assert dense["energy_net_j"] == pytest.approx(0.6 - 60.0 * 2e-3, rel=0.01)
    assert dense["energy_variation"] < 0.03
    assert dense["provenance"]["idle_power_w"] == pytest.approx(60.0, rel=0.01)
    assert sparse["speedup"] == pytest.approx(2.0)
    assert sparse["energy_j"] == pytest.approx(0.3, rel=0.01)
    assert dense["provenance"]["state_before"]["throttle_reasons"] == []


def test_unsteady_energy_is_rejected_and_tried_again(path, networks):
    point = Point("layer", MODEL, 64, "sustained", LAYER)
    device = FakeDevice(load_w=lambda now: 200.0 + 5.0 * now)
    (row,) = scripted(path, networks, device).run([point]).rows
    assert row["status"] == "unstable-energy"
    assert row["energy_j"] is row["energy_net_j"] is row["power_w"] is None
    assert row["energy_variation"] > 0.03
    assert row["latency_s"] == pytest.approx(2e-3)
    (row,) = scripted(path, networks, FakeDevice()).run([point]).rows
    assert row["status"] == "ok"
    assert [row["status"] for row in read_rows(path)] == ["unstable-energy", "ok"]


def test_given_masks(tmp_path, path, networks):
    masks = networks.masks(Point("model", MODEL, 1, "burst", "", (32, 32), 0.75))
    save_masks(tmp_path / "masks.npz", masks)
    mine = Networks(Source(MODEL, masks=tmp_path / "masks.npz"))
    assert mine.mask_block == (32, 32)
    point = Point("model", MODEL, 1, "burst", "", (32, 32))
    dense, sparse = campaign(path, mine).run([point]).rows
    assert sparse["sparsity"] is None
    assert sparse["density"] == pytest.approx(0.25)
    assert "masks:" in sparse["key"]
    assert dense["density"] == 1.0


def test_masks_of_another_model(tmp_path, networks):
    masks = networks.masks(Point("model", MODEL, 1, "burst", "", (32, 32), 0.5))
    save_masks(tmp_path / "masks.npz", masks, "deit_small_patch16_224")
    with pytest.raises(LspsimError, match=f"belongs to deit_small_patch16_224, not to {MODEL}"):
        Networks(Source(MODEL, masks=tmp_path / "masks.npz"))


def test_a_checkpoint_with_its_own_classes(tmp_path):
    name = "vit_tiny_patch16_224"
    save_file(load_model(name, num_classes=3).state_dict(), tmp_path / "own.safetensors")
    mine = Networks(Source(name, checkpoint=tmp_path / "own.safetensors"))
    assert mine.dense(name).head.weight.shape == (3, 192)
    assert mine.workload(name).gemms[-1].n == 3
    assert mine.workload("deit_tiny_patch16_224").gemms[-1].n == 1000


def test_masks_of_two_sizes(tmp_path, networks):
    masks = networks.masks(Point("model", MODEL, 1, "burst", "", (32, 32), 0.5))
    masks |= networks.masks(Point("layer", MODEL, 1, "burst", LAYER, (16, 16), 0.5))
    save_masks(tmp_path / "masks.npz", masks)
    with pytest.raises(LspsimError, match="blocks of 2 sizes"):
        Networks(Source(MODEL, masks=tmp_path / "masks.npz"))


def test_weights_come_from_the_seed():
    name = "vit_tiny_patch16_224"
    first, again, other = (Networks(Source(name, seed=seed)).dense(name) for seed in (0, 0, 1))
    weights = [model.blocks[0].mlp.fc1.weight for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert weights[0].count_nonzero() == weights[0].numel()


def test_layers_read_what_the_network_gives_them(networks):
    device = torch.device("cpu")
    found = networks.layer_inputs(MODEL, (LAYER,), 2, device, torch.float32)
    seen = []
    model = networks.dense(MODEL)
    hook = model.get_submodule(LAYER).register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    with torch.no_grad():
        model(networks.images(MODEL, 2))
    hook.remove()
    assert torch.equal(found[LAYER], seen[0].flatten(0, -2))
    assert found[LAYER].shape == (2 * 65, 192)
    assert found[LAYER].count_nonzero() > 0.99 * found[LAYER].numel()


@pytest.mark.parametrize(
    ("weight", "other", "l2", "count"),
    [
        (10, 0, 0, 1),
        (10, 0, 50, 10),
        (10, 60, 50, 4),
        (10, 200, 50, 1),
        (1, 0, 10**6, 1024),
    ],
)
def test_copies_leave_the_cache(weight, other, l2, count):
    assert weight_copies(weight, other, l2) == count
    if 1 < count < benches.MOST_COPIES:
        assert count * weight + other >= 2 * l2


def test_a_light_weight_needs_few_copies():
    assert weight_copies(10, 1000, 10**6) == 1024
    assert weight_copies(10, 1001, 10**6) == benches.MOST_LIGHT_COPIES


def test_copies_are_used_in_turn(networks):
    device = FakeDevice()
    device.l2_bytes = 2_000_000
    prepared = Bench(device, networks, "fp32", tuning=False).prepare(SPARSE)
    details = prepared.details
    assert prepared.works["dense"].launches == details["copies_dense"] > 1
    assert details["copies_block-sparse"] > details["copies_dense"]


def test_the_check_names_the_variant():
    works = {"dense": Work(lambda: None)}
    right = Prepared(works, {"dense": 1e-3}, 1e-2, None, 1.0, None, {})
    assert check(right) == ""
    wrong = Prepared(works, {"dense": 1e-3, "block-sparse": 0.5}, 1e-2, None, 1.0, None, {})
    assert "block-sparse differs from the float32 reference by 5.00e-01" in check(wrong)


def test_rows_are_json(path, networks):
    campaign(path, networks, plan=Plan(1, 2, 0.0, 0.01, 0.0)).run([SPARSE])
    for line in path.read_text().splitlines():
        assert json.loads(line)["schema"] == "lspsim/gpu-measurement/v1"

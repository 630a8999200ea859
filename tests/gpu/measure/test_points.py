import pytest

from lspsim.gpu.measure.points import Choice, Point, campaign_points, typical_layers
from lspsim.models.cache import cached_workload

BASE, SMALL, TINY = (f"deit_{size}_patch16_224" for size in ("base", "small", "tiny"))


@pytest.fixture(scope="module")
def workloads():
    return {name: cached_workload(name) for name in (BASE, SMALL, TINY)}


@pytest.fixture(scope="module")
def points(workloads):
    return campaign_points(Choice((BASE, SMALL, TINY)), workloads)


def test_the_four_shapes(workloads):
    gemms = {gemm.name: (gemm.m, gemm.n, gemm.k) for gemm in workloads[BASE].gemms}
    layers = typical_layers(workloads[BASE])
    assert [gemms[name] for name in layers] == [
        (197, 2304, 768),
        (197, 768, 768),
        (197, 3072, 768),
        (197, 768, 3072),
    ]
    assert {name.split(".")[1] for name in layers} == {"6"}


def test_most_valuable_first(points):
    first = points[:72]
    assert {point.kind for point in first} == {"layer"}
    assert [point.batch for point in first] == [64] * 36 + [1] * 36
    assert [point.block[0] for point in first[:36]] == [64] * 12 + [32] * 12 + [16] * 12
    assert [point.sparsity for point in first[:12]] == [0.9] * 4 + [0.5] * 4 + [0.7] * 4
    networks = points[72:83]
    assert {(point.kind, point.batch, point.regime) for point in networks} == {
        ("model", 64, "burst")
    }
    assert networks[0] == Point("model", BASE, 64, "burst")
    cells = {(point.block, point.sparsity) for point in networks if point.block}
    assert cells == {((b, b), s) for b in (64, 32) for s in (0.5, 0.7, 0.8, 0.9)}
    assert [point.model for point in networks[-2:]] == [SMALL, TINY]
    energy = points[83:98]
    assert {point.regime for point in energy} == {"sustained"}
    assert [point.regime for point in points[98:]] == ["burst"] * len(points[98:])
    assert {point.batch for point in points[98:170]} == {256, 16}


def test_every_point_once(points):
    assert len(points) == len(set(points)) == 144 + 15 + 4 * 11
    layers = {
        (p.layer, p.batch, p.block, p.sparsity)
        for p in points
        if (p.kind, p.regime) == ("layer", "burst")
    }
    assert len(layers) == 4 * 4 * 3 * 3


def test_dense_load_comes_before_its_sparse_one(points):
    seen = set()
    for point in points:
        if point.regime == "sustained":
            seen.add(point)
            assert point.dense in seen


def test_what_is_asked_for(workloads):
    choice = Choice(
        (BASE,),
        batches=(2,),
        blocks=((32, 64),),
        sparsities=(0.25,),
        parts=("models", "energy"),
        energy_points=3,
        mask_block=(16, 16),
    )
    given = Point("model", BASE, 2, "burst", "", (16, 16))
    points = campaign_points(choice, workloads)
    assert points[:3] == (given.dense, given, Point("model", BASE, 2, "burst", "", (32, 64), 0.25))
    assert [point.regime for point in points[3:]] == ["sustained"] * 3


def test_labels():
    assert Point("layer", "m", 4, "burst", "blocks.0.mlp.fc1", (32, 64), 0.9).label == (
        "m blocks.0.mlp.fc1, batch 4, 32x64 90% removed, burst"
    )
    assert Point("model", "m", 4, "burst", "", (32, 64)).label.endswith("given masks, burst")

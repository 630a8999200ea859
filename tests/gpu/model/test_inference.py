import json

import pytest

from lspsim.errors import WorkloadError
from lspsim.gpu.inference import predict
from lspsim.gpu.load import load_framework
from lspsim.gpu.roofline import derated_roofline_s, roofline_s
from lspsim.gpu.tables import group_kernels, prediction_table, totals_table
from tests.gpu.model.gpu_cases import model, random_mask, transformer


def masks_for(workload, block, sparsity):
    return {
        gemm.name: random_mask(gemm.n, gemm.k, block, sparsity)
        for gemm in workload.gemms
        if gemm.name.startswith("blocks") and gemm.rhs == "weight"
    }


def test_the_parts_sum_to_the_whole():
    found = predict(transformer(), model())
    assert found.latency_s == pytest.approx(sum(layer.time.latency_s for layer in found.layers))
    assert found.energy_j == pytest.approx(sum(layer.energy_j for layer in found.layers))
    assert sum(layer.time.flops for layer in found.layers) == 2 * transformer().macs_dense
    data = json.loads(json.dumps(found.to_dict()))
    assert data["totals"]["latency_s"] == found.latency_s
    assert data["totals"]["images_per_s"] == pytest.approx(64 / found.latency_s)
    assert len(data["layers"]) == len(found.layers)


def test_power_stays_between_idle_and_twice_the_limit():
    for gpu in ("h200", "a100", "rtx4090"):
        chosen = model(gpu)
        found = predict(transformer(), chosen)
        power = found.energy_j / found.latency_s
        assert chosen.idle_w < power < float(chosen.gpu.power.limit.value)


def test_best_takes_the_faster_kernel_of_every_layer():
    workload = transformer()
    workload = workload.with_masks(masks_for(workload, (64, 64), 0.7))
    runs = {
        kind: predict(workload, model("a100"), kernels=kind) for kind in ("best", "sparse", "dense")
    }
    for best, sparse, dense in zip(*(runs[kind].layers for kind in runs), strict=True):
        assert best.time.latency_s == min(sparse.time.latency_s, dense.time.latency_s)
    assert runs["dense"].latency_s == pytest.approx(predict(transformer(), model("a100")).latency_s)


def test_layers_that_gain_nothing_stay_dense_and_are_named():
    workload = transformer()
    masks = masks_for(workload, (32, 32), 0.5)
    found = predict(workload.with_masks(masks), model())
    assert set(found.kept_dense) == set(masks)
    assert found.latency_s == predict(workload, model()).latency_s


def test_blocks_that_no_kernel_takes_run_dense_unless_sparse_is_demanded():
    workload = transformer()
    masked = workload.with_masks(masks_for(workload, (8, 8), 0.9))
    assert predict(masked, model()).latency_s == predict(workload, model()).latency_s
    with pytest.raises(WorkloadError, match="powers of two"):
        predict(masked, model(), kernels="sparse")


def test_a_full_mask_is_dense():
    workload = transformer()
    full = workload.with_masks(masks_for(workload, (32, 32), 0.0))
    assert {layer.kind for layer in predict(full, model(), kernels="sparse").layers} == {
        layer.kind for layer in predict(workload, model()).layers
    }


def test_overhead_falls_on_everything_but_gemms_and_the_host_sets_a_floor():
    plain = load_framework()
    slow = plain.model_copy(update={"overhead": 2})
    for a, b in zip(
        predict(transformer(), model(), plain).layers,
        predict(transformer(), model(), slow).layers,
        strict=True,
    ):
        factor = 1 if a.kind == "gemm" else 2
        assert b.time.latency_s == pytest.approx(factor * a.time.latency_s)
    host = plain.model_copy(update={"host": 1e-3})
    found = predict(transformer(images=1), model(), host)
    assert all(layer.time.latency_s == 1e-3 for layer in found.layers)
    assert {layer.time.bound_by for layer in found.layers} == {"launch"}


def test_what_does_not_fit_into_memory_is_refused():
    with pytest.raises(
        WorkloadError, match=r"at batch 40000 needs at least \d+ GB, rtx3090 has 24"
    ):
        predict(transformer(images=40_000), model("rtx3090"))


def test_rooflines():
    chosen = model("a100")
    time = chosen.dense_latency(8192, 4096, 4096)
    raw = roofline_s(chosen.gpu, "bf16", time)
    assert raw == pytest.approx(2 * 8192 * 4096 * 4096 / 312e12)
    assert derated_roofline_s(chosen.gpu, "bf16", time) == pytest.approx(raw / 0.8 + 3e-6)
    assert raw < time.latency_s


def test_tables_hold_every_kernel_once():
    found = predict(transformer(blocks=3), model())
    groups = group_kernels(found)
    assert sum(len(group.members) for group in groups) == len(found.layers)
    assert "blocks.*.mlp.fc1" in {group.name for group in groups}
    assert len(group_kernels(found, collapse=False)) == len(found.layers)
    assert prediction_table(found).row_count == len(groups)
    assert totals_table(found).row_count == 8

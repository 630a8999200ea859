import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lspsim.errors import WorkloadError
from lspsim.gpu.config.load import framework_names, gpu_names, load_framework, load_gpu
from lspsim.gpu.model.inference import predict, weights_stay
from lspsim.gpu.model.roofline import derated_roofline_s, roofline_s
from lspsim.gpu.model.tables import group_kernels, prediction_table, totals_table
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


@pytest.mark.parametrize("gpu", ["h200", "h100", "a100", "l40s", "rtx4090", "rtx3090"])
@pytest.mark.parametrize("images", [1, 256])
def test_power_stays_between_idle_and_the_limit(gpu, images):
    chosen = model(gpu)
    found = predict(transformer(images), chosen)
    limit_w = float(chosen.gpu.power.limit.value)
    assert chosen.idle_w < found.power_w <= limit_w * (1 + 1e-12)
    assert found.power_limited == (found.energy_j > limit_w * found.latency_s)


def test_a_long_product_slows_down_to_the_power_limit():
    chosen = model("h200")
    time = chosen.dense_latency(8192, 8192, 65536)
    burst_j = chosen.energy_j(time)
    sustained_s, sustained_j = chosen.under_load(time.latency_s, burst_j)
    assert sustained_j / sustained_s == pytest.approx(700)
    assert sustained_j - burst_j == pytest.approx(116 * (sustained_s - time.latency_s))
    # ai-dynamo/aiconfigurator's table: 12.51 ms, 703 TFLOP/s; the constant was taken from there
    assert sustained_s == pytest.approx(12.51e-3, rel=0.05)
    assert time.latency_s < 0.9 * sustained_s


def test_work_below_the_limit_does_not_slow_down():
    assert model("h200").under_load(1e-3, 0.2) == (1e-3, pytest.approx(0.2))


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
    assert {layer.dense_because for layer in found.layers} == {None, "slower"}
    assert found.latency_s == predict(workload, model()).latency_s


def test_blocks_that_no_kernel_takes_run_dense_unless_sparse_is_demanded():
    workload = transformer()
    masked = workload.with_masks(masks_for(workload, (8, 8), 0.9))
    found = predict(masked, model())
    assert found.latency_s == predict(workload, model()).latency_s
    assert {layer.dense_because for layer in found.layers} == {None, "block"}
    with pytest.raises(WorkloadError, match="powers of two"):
        predict(masked, model(), kernels="sparse")


def test_a_full_mask_is_dense():
    workload = transformer()
    full = workload.with_masks(masks_for(workload, (32, 32), 0.0))
    assert {layer.kind for layer in predict(full, model(), kernels="sparse").layers} == {
        layer.kind for layer in predict(workload, model()).layers
    }


def test_overhead_falls_on_gemms_alone_and_the_host_sets_a_floor():
    plain = load_framework()
    slow = plain.model_copy(update={"overhead": 2})
    for a, b in zip(
        predict(transformer(), model(), plain).layers,
        predict(transformer(), model(), slow).layers,
        strict=True,
    ):
        factor = 2 if a.kind == "gemm" else 1
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


def test_what_does_not_fit_is_refused_before_any_kernel_is_laid_out():
    workload = transformer(images=10**12)
    masked = workload.with_masks(masks_for(workload, (64, 64), 0.9))
    with pytest.raises(WorkloadError, match=r"at batch 1000000000000 needs at least"):
        predict(masked, model("a100"), kernels="sparse")


def test_slower_clocks_under_lasting_load_are_said():
    found = predict(transformer(images=256), model("rtx3090"))
    assert found.to_dict()["totals"]["power_limit_w"] == 350
    assert "limit" not in shown(totals_table(found))
    limited = dataclasses.replace(found, sustained_s=1.1 * found.latency_s)
    assert "under lasting load" in shown(totals_table(limited))


@pytest.mark.parametrize("gpu", gpu_names())
@pytest.mark.parametrize("framework", ["cuda-graph", "aitemplate"])
def test_more_images_never_take_less_time_and_throughput_saturates(gpu, framework):
    chosen, runs_it = model(gpu), load_framework(framework)
    found = {
        images: predict(transformer(images=images), chosen, runs_it)
        for images in (*range(1, 20), 64, 65, 256, 512)
    }
    latencies = [one.latency_s for one in found.values()]
    assert latencies == sorted(latencies)
    rates = {images: images / one.latency_s for images, one in found.items()}
    assert rates[64] > 2 * rates[1]
    assert rates[512] == pytest.approx(rates[256], rel=0.05)


@given(
    gpu=st.sampled_from(gpu_names()),
    dtype=st.sampled_from(["bf16", "fp16", "tf32", "fp32"]),
    framework=st.sampled_from(framework_names()),
    kernels=st.sampled_from(["best", "sparse", "dense"]),
    images=st.integers(1, 40),
    tokens=st.integers(1, 400),
    width=st.integers(1, 20),
    block=st.tuples(*[st.sampled_from([16, 32, 64, 128])] * 2),
    sparsity=st.floats(0, 1),
)
def test_no_kernel_beats_the_hardware(
    gpu, dtype, framework, kernels, images, tokens, width, block, sparsity
):
    """Any shape, ragged edges included: neither operations nor bytes outrun the data sheet."""
    chosen = model(gpu, dtype)
    workload = transformer(images, tokens, 12 * width, 12, blocks=1)
    workload = workload.with_masks(masks_for(workload, block, sparsity))
    found = predict(workload, chosen, load_framework(framework), kernels)
    for layer in found.layers:
        time = layer.time
        assert time.latency_s >= time.flops / chosen.chip.peak_flop_per_s
        assert time.latency_s >= time.dram_bytes / chosen.chip.dram_bytes_per_s
        assert 0 <= time.dram_bytes <= time.bytes
        assert layer.energy_j >= chosen.idle_w * time.latency_s
    assert found.latency_s == pytest.approx(sum(layer.time.latency_s for layer in found.layers))
    json.dumps(found.to_dict(), allow_nan=False)


def shown(table):
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


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


def test_few_sequences_do_not_fill_a_gpu_with_whole_ones():
    chosen = model("a100")
    split, whole = (chosen.flash_attention(12, 197, 64, split=split) for split in (True, False))
    launch_s = chosen.rates.launch_s
    assert whole.latency_s - launch_s == pytest.approx(2 * (split.latency_s - launch_s), rel=0.05)
    # 64 images of 12 heads: 15 waves of halves, or 8 of whole sequences
    many = [chosen.flash_attention(768, 197, 64, split=split) for split in (True, False)]
    assert many[1].latency_s == pytest.approx(16 / 15 * many[0].latency_s, rel=0.02)


def test_weights_stay_in_l2_where_all_of_them_fit():
    chosen = model("h200")
    small, large = (transformer(images=1, width=width, blocks=2) for width in (192, 768))
    fits = {width: weights_stay(w, chosen) for width, w in ((192, small), (768, large))}
    assert fits == {192: True, 768: False}
    assert sum(layer.time.dram_bytes for layer in predict(small, chosen).layers) == 0
    found = {layer.name: layer for layer in predict(large, chosen).layers}
    assert found["blocks.0.mlp.fc1"].time.dram_bytes == 2 * 3072 * 768


def test_energies_name_the_constants_that_are_assumed():
    assert predict(transformer(), model("a100")).energy_basis == "assumed: energy per operation"
    power = load_gpu("a100").power
    measured = {name: getattr(power, name) for name in ("idle", "flop", "byte")}
    measured = {
        name: value.model_copy(update={"source": "measured"}) for name, value in measured.items()
    }
    assert power.model_copy(update=measured).basis == "no constant is assumed"
    assert predict(transformer(), model("a100")).to_dict()["energy_basis"].startswith("assumed")

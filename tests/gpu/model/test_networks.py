"""Published networks: the targets of docs/gpu.md, with the parameters as shipped."""

import dataclasses
import re

import numpy as np
import pytest

from lspsim.gpu.config.load import load_framework, load_gpu, load_parameters
from lspsim.gpu.fit.fit_networks import (
    accuracy_of,
    fit_networks,
    fit_overhead,
    fit_sparse,
    with_efficiency_64,
)
from lspsim.gpu.fit.networks import network_rows, predict_row

ROWS = network_rows()


def rows(**wanted):
    return [row for row in ROWS if all(getattr(row, k) == v for k, v in wanted.items())]


def test_every_row_says_where_it_comes_from():
    assert len(ROWS) == 78
    for row in ROWS:
        assert re.search(r" at [0-9a-f]{10}$|examples/04_vit", row.source)
        assert row.latency_s > 1e-4
        assert bool(row.pruned) == (row.block is not None) == (row.sparsity > 0)


@pytest.mark.parametrize("gpu", ["rtx3090", "rtx4090"])
def test_deit_s_was_held_out(gpu):
    found = accuracy_of(rows(gpu=gpu, model="deit_small_patch16_224", batch=1024))
    assert found.mean <= 0.10


def test_the_3090_tells_of_the_4090():
    parameters = load_parameters(load_gpu("rtx3090"))
    deits = [row for row in rows(gpu="rtx4090", batch=1024) if row.model.startswith("deit_")]
    assert accuracy_of(deits, parameters).mean <= 0.20


def test_shipped_network_parameters_come_from_the_command():
    start = load_parameters(load_gpu("rtx3090"), "default")
    chosen = [row for row in rows(gpu="rtx3090") if row.model.startswith("deit_")]
    found = fit_networks(chosen, start).parameters
    shipped = load_parameters(load_gpu("rtx3090"))
    assert float(found.dense.compute_efficiency) == pytest.approx(
        float(shipped.dense.compute_efficiency), rel=0.01
    )
    assert float(found.vector.dram_efficiency) == pytest.approx(
        float(shipped.vector.dram_efficiency), rel=0.01
    )


def test_one_network_of_fastertransformer_tells_of_the_others():
    # 224 pixels run its fused attention, 384 pixels the unfused one
    mine = rows(framework="fastertransformer")
    assert len(mine) == 16
    fitted = rows(framework="fastertransformer", model="vit_base_patch16_224", batch=32)
    overhead = fit_overhead(mine, load_framework("fastertransformer")).overhead
    assert float(overhead) == float(load_framework("fastertransformer").overhead)
    assert accuracy_of([row for row in mine if row not in fitted]).mean <= 0.10


def superblock():
    mine = rows(framework="superblock", model="vit_base_patch16_224")
    return mine[0], mine[1:]


def test_superblock_speedups_leaving_one_out():
    dense, pruned = superblock()
    parameters = load_parameters(load_gpu("a100"))
    found = fit_sparse(pruned, dense, parameters, load_framework("superblock"))
    np.testing.assert_allclose(found.predicted, found.measured, rtol=0.10)
    assert found.left_out.mean < 0.10
    assert found.parameters.sparse.efficiency_64 == pytest.approx(
        parameters.sparse.efficiency_64, rel=0.02
    )


def test_each_speedup_is_predicted_without_itself_and_without_the_shipped_fit():
    dense, pruned = superblock()
    parameters, framework = load_parameters(load_gpu("a100")), load_framework("superblock")
    found = fit_sparse(pruned, dense, parameters, framework)
    spoilt = [dataclasses.replace(pruned[0], latency_s=pruned[0].latency_s / 2), *pruned[1:]]
    other = fit_sparse(spoilt, dense, with_efficiency_64(parameters, 0.1), framework)
    assert other.predicted[0] == pytest.approx(found.predicted[0], rel=1e-3)
    assert other.predicted[1] > 1.05 * found.predicted[1]


def test_an_own_description_is_what_is_fitted():
    """Twice the peaks need half the efficiency; the name is still that of the shipped one."""
    gpu = load_gpu("rtx3090")
    double = {
        name: peak.model_copy(update={"value": 2 * peak.value})
        for name, peak in ((name, getattr(gpu.peak, name)) for name in ("bf16", "fp16"))
    }
    own = gpu.model_copy(update={"peak": gpu.peak.model_copy(update=double)})
    start = load_parameters(gpu, "default")
    chosen = [row for row in rows(gpu="rtx3090") if row.model.startswith("deit_")]
    shipped, found = (fit_networks(chosen, start, given).parameters for given in ((), (own,)))
    assert found.dense.compute_efficiency < 0.7 * shipped.dense.compute_efficiency


def test_speedups_and_overheads_take_the_given_gpu():
    dense, pruned = superblock()
    gpu, framework = load_gpu("a100"), load_framework("superblock")
    parameters = load_parameters(gpu)
    peak = gpu.peak.bf16.model_copy(update={"value": gpu.peak.bf16.value / 2})
    own = gpu.model_copy(update={"peak": gpu.peak.model_copy(update={"bf16": peak, "fp16": peak})})
    shipped, found = (
        fit_overhead([dense], framework, parameters, given).overhead for given in ((), (own,))
    )
    assert found < 0.8 * shipped
    shipped, found = (
        fit_sparse(pruned, dense, parameters, framework, given).predicted for given in ((), (own,))
    )
    assert shipped != found


def test_a_frameworks_overhead_is_fitted_to_its_dense_network():
    dense, pruned = superblock()
    framework = load_framework("superblock")
    changed = fit_overhead([dense, *pruned], framework.model_copy(update={"overhead": 3}))
    assert float(changed.overhead) == pytest.approx(float(framework.overhead), rel=0.01)
    assert predict_row(dense).latency_s == pytest.approx(dense.latency_s, rel=0.01)


def test_two_frameworks_differ_on_the_same_network():
    mine = [
        row
        for gpu in ("a100", "a100-40gb")
        for row in rows(gpu=gpu, batch=256, pruned="")
        if "base" in row.model
    ]
    found = {row.framework: predict_row(row).latency_s for row in mine}
    measured = {row.framework: row.latency_s for row in mine}
    assert measured["superblock"] > 1.25 * measured["aitemplate"]
    assert found == pytest.approx(measured, rel=0.02)


def test_too_few_rows_are_refused():
    from lspsim.errors import ResultError

    dense, pruned = superblock()
    parameters = load_parameters(load_gpu("a100"))
    with pytest.raises(ResultError, match="at least two pruned"):
        fit_sparse(pruned[:1], dense, parameters, load_framework("superblock"))
    with pytest.raises(ResultError, match="networks cannot be fitted"):
        fit_networks([dense], parameters)
    with pytest.raises(ResultError, match=r"no published dense.*are there for a100"):
        fit_overhead([dataclasses.replace(pruned[0])], load_framework("superblock"))

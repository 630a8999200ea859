import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from lspsim.errors import ResultError
from lspsim.gpu.config.load import load_gpu
from lspsim.gpu.fit.accuracy import Accuracy
from lspsim.gpu.fit.fit_dense import BOUNDS, accuracy, fit_dense, predicted
from lspsim.gpu.fit.gemm_table import GemmTable, read_gemm_table
from lspsim.gpu.model.dense import DenseRates, chip_of

DEIT_B = frozenset({(2304, 768), (768, 768), (3072, 768), (768, 3072)})
TRUE = DenseRates(0.72, 0.88, 0.6, 0.3, 3.1, 0.2, 0.6e-6, 3.3e-6, 1.5e-6)


def synthetic(chip, noise=0.0, seed=0):
    """A table that the model itself has made."""
    sides = [256, 512, 768, 1024, 2048, 3072, 4096, 8192]
    grid = np.array(
        [(m, n, k) for m in (128, 200, 512, 1576, 6304) for n in sides for k in sides], dtype=float
    )
    table = GemmTable(*grid.T, np.ones(len(grid)), "synthetic")
    times = predicted(chip, TRUE, table)
    times = times * np.exp(np.random.default_rng(seed).normal(0, noise, times.size))
    return GemmTable(table.m, table.n, table.k, times, "synthetic")


def test_bounds_name_every_parameter_and_cap_efficiencies():
    assert tuple(BOUNDS) == DenseRates._fields
    for name, bound in BOUNDS.items():
        assert bound.low < bound.start < bound.high
        if "efficiency" in name or name in ("l2_share", "overlap_loss"):
            assert bound.high == 1.0


def test_a_fit_finds_what_made_the_table():
    chip = chip_of(load_gpu("a100"), "bf16")
    found = fit_dense([(chip, synthetic(chip))], DEIT_B)
    assert found.fitted.mean < 0.01
    assert found.held_out is not None
    assert found.held_out.mean < 0.02
    assert found.held_out.rows == 15
    assert found.rates.compute_efficiency == pytest.approx(TRUE.compute_efficiency, rel=0.05)


def test_noise_is_not_fitted_away_and_bounds_hold():
    chip = chip_of(load_gpu("a100"), "bf16")
    found = fit_dense([(chip, synthetic(chip, noise=0.1))])
    assert 0.05 < found.fitted.mean < 0.1
    assert found.held_out is None
    for value, bound in zip(found.rates, BOUNDS.values(), strict=True):
        assert bound.low <= value <= bound.high * (1 + 1e-12)


def test_one_set_for_two_gpus():
    chips = [chip_of(load_gpu(name), "bf16") for name in ("a100", "h200")]
    measured = [(chip, synthetic(chip)) for chip in chips]
    found = fit_dense(measured)
    assert found.fitted.rows == 640
    assert accuracy(found.rates, measured).mean == pytest.approx(found.fitted.mean)
    assert found.fitted.mean < 0.02


def test_a_noisy_table_gives_back_what_made_it():
    """5 % noise on every row: latencies without it are met to 2 %, as docs/gpu.md says."""
    chip = chip_of(load_gpu("a100"), "bf16")
    found = fit_dense([(chip, synthetic(chip, noise=0.05))])
    assert accuracy(found.rates, [(chip, synthetic(chip))]).mean < 0.02
    assert found.rates.compute_efficiency == pytest.approx(TRUE.compute_efficiency, rel=0.05)
    assert found.rates.launch_s == pytest.approx(TRUE.launch_s, rel=0.1)


def test_held_out_rows_do_not_touch_the_fit_and_their_error_is_told():
    chip = chip_of(load_gpu("a100"), "bf16")
    table = synthetic(chip)
    held = table.with_weights(DEIT_B)
    spoilt = dataclasses.replace(table, latency_s=np.where(held, 4, 1) * table.latency_s)
    honest, other = (fit_dense([(chip, one)], DEIT_B) for one in (table, spoilt))
    assert honest.rates == other.rates
    assert other.held_out is not None
    assert other.held_out.mean == pytest.approx(0.75, abs=0.01)


def test_what_ends_at_a_bound_is_named():
    chip = chip_of(load_gpu("a100"), "bf16")
    assert fit_dense([(chip, synthetic(chip))]).at_bounds == ()
    table = synthetic(chip)
    slow = dataclasses.replace(table, latency_s=1000 * table.latency_s)
    found = fit_dense([(chip, slow)])
    assert "dense.compute_efficiency (lowest)" in found.at_bounds
    assert "dense.launch (highest)" in found.at_bounds
    assert found.fitted.mean > 0.9


def test_rows_faster_than_the_peak_are_refused():
    chip = chip_of(load_gpu("a100"), "bf16")
    table = synthetic(chip)
    fast = dataclasses.replace(table, latency_s=table.latency_s / 1000)
    with pytest.raises(ResultError, match=r"320 of 320 rows are 1\.25 times .* check the unit"):
        fit_dense([(chip, fast)])


def test_what_cannot_be_fitted_is_refused():
    chip = chip_of(load_gpu("a100"), "bf16")
    table = synthetic(chip)
    with pytest.raises(ResultError, match="no row with M >= 128 has a held-out weight"):
        fit_dense([(chip, table)], {(1, 1)})
    few = table.where(np.arange(len(table)) < 10)
    with pytest.raises(ResultError, match="10 rows have M >= 128"):
        fit_dense([(chip, few)])


def test_accuracy_of_known_errors():
    found = Accuracy.of(np.array([1.1, 1.8, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert found.mean == pytest.approx(0.05)
    assert found.worst == pytest.approx(0.1)
    assert found.spearman == pytest.approx(1.0)
    assert Accuracy.of(np.ones(2), np.ones(2)).spearman is None
    with pytest.raises(ResultError, match="no measurement"):
        Accuracy.of(np.zeros(0), np.zeros(0))


TABLES = {
    "h200": "h200_sxm_gemm_trtllm_1.3.0rc20.parquet",
    "a100": "a100_sxm_gemm_trtllm_1.0.0.parquet",
}


def given_table(gpu):
    """The table that shipped parameters were fitted to; it is not part of the package."""
    folder = os.environ.get("LSPSIM_GPU_TABLES")
    path = Path(folder or "") / TABLES[gpu]
    if not folder or not path.is_file():
        pytest.skip(f"LSPSIM_GPU_TABLES names no folder with {TABLES[gpu]}")
    return chip_of(load_gpu(gpu), "bf16"), read_gemm_table(path)


@pytest.mark.parametrize("gpu", TABLES)
def test_held_out_layers_of_a_given_table(gpu):
    found = fit_dense([given_table(gpu)], DEIT_B)
    assert found.held_out is not None
    assert found.held_out.mean <= 0.10
    assert found.held_out.p90 <= 0.20


@pytest.mark.parametrize(("source", "target"), [("h200", "a100"), ("a100", "h200")])
def test_a_gpu_that_nothing_was_fitted_to(source, target):
    rates = fit_dense([given_table(source)]).rates
    chip, table = given_table(target)
    held = table.where((table.m >= 128) & table.with_weights(DEIT_B))
    assert accuracy(rates, [(chip, held)]).mean <= 0.25

"""The analytic engine against summing the masks' bytes, in one run."""

import numpy as np
import pytest

from lspsim import simulate
from lspsim.kernels.profile import SUMS, profile
from lspsim.kernels.totals import T_SIZE, totals
from lspsim.schedule.lower import chip_of, lower_workload
from lspsim.simulate.analytic import plan_of
from lspsim.simulate.energy import NOMINAL, energy_constants
from lspsim.simulate.sweep import sweep_chips
from tests.benchmarks.conftest import FOUR_CORES, best_of


@pytest.mark.parametrize(("assignment", "bound"), [("round-robin", 0.6), ("longest-first", 3.5)])
def test_new_masks_cost_less_than_reading_them(edge, deit_b, yardstick_s, assignment, bound):
    chip_file = edge.with_values({**FOUR_CORES, "array.assignment": assignment})
    tables = lower_workload(deit_b)
    chip = chip_of(chip_file)
    plan = plan_of(deit_b, tables, chip_file, chip)
    constants = energy_constants(chip_file)
    dynamic = constants.per_count_pj[NOMINAL]
    static = constants.static_pj_per_cycle[NOMINAL].sum()
    size = tables.ops.shape[0]
    sums = np.zeros((size, SUMS), np.int64)
    folds = np.zeros((size, 4), np.int64)
    scratch = np.zeros((size, T_SIZE), np.int64)
    counts = np.zeros(dynamic.size, np.int64)

    def kernel():
        folds[:] = 0
        profile(tables.ops, tables.words, chip, sums, folds)
        cycles = totals(
            tables.ops,
            chip,
            plan.segments,
            plan.rows,
            plan.class_of,
            sums,
            folds,
            scratch,
            counts,
        )
        return cycles, counts @ dynamic + cycles * static

    cycles, energy_pj = kernel()
    result = simulate(deit_b, chip_file, engine="analytic").totals
    assert cycles == result.cycles_total
    assert energy_pj * 1e-12 == pytest.approx(result.energy_j)
    seconds = best_of(kernel, 500)
    print(
        f"\nanalytic kernel, 48 new masks, four cores, {assignment}: {seconds * 1e6:.1f} us = "
        f"{seconds / yardstick_s:.2f} x u8.sum() ({yardstick_s * 1e6:.1f} us)"
    )
    assert seconds <= bound * yardstick_s


def test_a_hardware_variation_costs_a_few_microseconds(edge, deit_b, yardstick_s):
    rng = np.random.default_rng(0)
    chips = np.stack(
        [
            chip_of(
                edge.with_values(
                    {
                        **FOUR_CORES,
                        "memory.dram.bandwidth": f"{rng.integers(5, 200)} GB/s",
                        "memory.dram.latency": f"{rng.integers(10, 300)} ns",
                        "vector.lanes": int(rng.choice([32, 64, 128])),
                        "buffers.activation": f"{rng.choice([1, 2, 4, 8])} MiB",
                        "buffers.weight": f"{rng.choice([256, 512, 1024])} KiB",
                    }
                )
            )
            for _ in range(1000)
        ]
    )
    tables = lower_workload(deit_b)
    cycles, _ = sweep_chips(deit_b, tables, chips)
    assert (cycles > 0).all()
    seconds = best_of(lambda: sweep_chips(deit_b, tables, chips), 3) / len(chips)
    print(f"\none of 1000 variations: {seconds * 1e6:.1f} us = {seconds / yardstick_s:.2f} x sum")
    assert seconds <= 0.4 * yardstick_s


def test_public_simulate(edge, deit_b):
    def whole():
        return simulate(deit_b, edge, engine="analytic")

    with_totals = best_of(lambda: whole().totals, 200)
    with_layers = best_of(lambda: whole().layers, 50)
    print(f"\nsimulate(): {with_totals * 1e6:.0f} us, with layers {with_layers * 1e6:.0f} us")
    assert with_totals < 200e-6
    assert with_layers < 1e-3

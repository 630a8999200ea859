"""Costs and marginal costs against the engines themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lspsim.hardware import load_hardware
from lspsim.simulate import simulate
from lspsim.simulate.cost import (
    Cost,
    CostModel,
    ProportionalCost,
    SimulatorCost,
    cost_variants,
)
from lspsim.workload import BlockMask, Gemm, VectorOp, Workload

EDGE = load_hardware("edge_32x32")
IDEAL = EDGE.with_values({"memory.ideal": True})


def network(masks=(None, None), m=197, width=128):
    """Two layers of 128 x 128 with a GELU between."""
    first, second = masks
    return Workload(
        [
            Gemm("a", m, width, width, mask=first, bias=True),
            VectorOp("gelu", "gelu", m, width),
            Gemm("b", m, width, width, mask=second, bias=True),
        ]
    )


def drawn(seed, density=0.6, shape=(128, 128), block=(32, 32)):
    grid = (-(-shape[0] // block[0]), -(-shape[1] // block[1]))
    keep = np.random.default_rng(seed).random(grid) < density
    return BlockMask(keep, *block, shape)


def without(mask, row, col):
    keep = mask.keep.copy()
    keep[row, col] = False
    return BlockMask(keep, mask.block_out, mask.block_in, mask.shape)


@pytest.mark.parametrize("engine", ["analytic", "event"])
def test_cost_is_what_the_engine_says(engine):
    workload = network((drawn(1), drawn(2)))
    cost = SimulatorCost(EDGE, engine).cost(workload)
    totals = simulate(workload, EDGE, engine).totals
    assert cost.cycles == totals.cycles_total
    assert cost.latency_s == totals.latency_s
    assert cost.energy_pj == pytest.approx(totals.energy_j * 1e12)
    kept = sum(g.mask.kept_weights for g in workload.gemms)
    assert cost.macs == 197 * kept


def test_both_models_satisfy_the_protocol():
    assert isinstance(SimulatorCost(EDGE), CostModel)
    assert isinstance(ProportionalCost(Cost(1, 1, 1, 1)), CostModel)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from(["edge_32x32", "quad_32x32", "mid_64x64"]))
def test_patched_tables_cost_what_rebuilt_ones_do(seed, preset):
    model = SimulatorCost(load_hardware(preset))
    workload = network((drawn(seed), drawn(seed + 1)))
    for new in (
        drawn(seed + 2, 0.3),
        drawn(seed, 1.0),
        drawn(seed, 0.0),
        drawn(3, 0.5, block=(16, 64)),
    ):
        fresh = workload.with_masks({"b": new})
        assert model.cost_with(workload, "b", new) == model.cost(fresh)


def test_variants_of_any_model_are_its_costs():
    workload = network((drawn(1), drawn(2)))
    proxy = ProportionalCost(SimulatorCost(EDGE).cost(network()))
    masks = {0: drawn(5), 7: drawn(6)}
    for model in (proxy, SimulatorCost(EDGE)):
        found = cost_variants(model, workload, "a", masks)
        assert found == {k: model.cost(workload.with_masks({"a": v})) for k, v in masks.items()}


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(0, 15))
def test_marginal_of_a_tile_is_what_its_removal_saves(seed, tile):
    """Ideal memory, one core, block = tile: cycles to the cycle, energy but for who reads sums."""
    mask = drawn(seed)
    row, col = divmod(tile, 4)
    if not mask.keep[row, col] or mask.keep[row].sum() < 2:
        return
    workload = network((None, mask))
    model = SimulatorCost(IDEAL)
    marginal = model.marginal(workload)["b"]
    dense, less = (
        model.cost(workload),
        model.cost(workload.with_masks({"b": without(mask, row, col)})),
    )
    assert marginal.cycles[row, col] == dense.cycles - less.cycles == 197
    assert marginal.energy_pj[row, col] == pytest.approx(dense.energy_pj - less.energy_pj, rel=0.05)


@pytest.mark.parametrize("preset", ["edge_32x32", "mid_64x64", "quad_32x32"])
@pytest.mark.parametrize("block", [(32, 32), (16, 16), (32, 64), (64, 32), (48, 16)])
def test_blocks_add_up_to_what_removing_all_of_them_saves(preset, block):
    hardware = load_hardware(preset).with_values({"memory.ideal": True})
    mask = drawn(3, 0.8, (256, 256), block)
    # behind another layer, so that its input is on chip
    workload = Workload([Gemm("a", 197, 256, 256), Gemm("g", 197, 256, 256, mask=mask)])
    model = SimulatorCost(hardware)
    empty = BlockMask(np.zeros_like(mask.keep), *block, mask.shape)
    saved = model.cost(workload).energy_pj - model.cost(workload.with_masks({"g": empty})).energy_pj
    cycles = model.cost(workload).cycles - model.cost(workload.with_masks({"g": empty})).cycles
    marginal = model.marginal(workload)["g"]
    assert (marginal.energy_pj[~mask.keep] == 0).all()
    assert (marginal.energy_pj[mask.keep] > 0).all()
    assert marginal.energy_pj.sum() == pytest.approx(saved, rel=0.12)
    assert marginal.cycles.sum() == pytest.approx(cycles, rel=0.25)


def test_a_tile_is_split_over_its_blocks():
    """Four 16x16 blocks share a 32x32 tile; a lone one in another tile bears it alone."""
    keep = np.zeros((4, 4), np.bool_)
    keep[:2, :2] = True
    keep[2, 2] = True
    workload = Workload([Gemm("g", 100, 64, 64, mask=BlockMask(keep, 16, 16, (64, 64)))])
    cycles = SimulatorCost(IDEAL).marginal(workload)["g"].cycles
    assert cycles[:2, :2] == pytest.approx(cycles[2, 2] / 4)
    assert cycles[2, 2] > 0


def test_a_layer_that_waits_for_results_saves_energy_but_no_cycle():
    """Results cross a channel slower than the array, and no tile changes that."""
    hardware = EDGE.with_values(
        {
            "memory.channels": "separate",
            "memory.shares": {"weights": 0.8, "activations": 0.1, "writeback": 0.1},
            "buffers.activation": "16 KiB",
            "memory.prefetch_across_layers": False,
        }
    )
    full = BlockMask(np.ones((8, 8), np.bool_), 32, 32, (256, 256))
    workload = network((without(full, 0, 1), without(full, 1, 2)), m=512, width=256)
    for engine in ("analytic", "event"):
        model = SimulatorCost(hardware, engine)
        marginal = model.marginal(workload)["b"]
        mask = workload.ops[2].mask
        row, col = np.argwhere(mask.keep)[0]
        one = model.cost(workload.with_masks({"b": without(mask, row, col)}))
        assert model.cost(workload).cycles - one.cycles <= 40  # of 512 per tile
        assert marginal.cycles[mask.keep].max() <= 40
        assert marginal.energy_pj[mask.keep].min() > 0


def test_only_the_slowest_core_saves_cycles():
    """Two cores, block rows dealt in turn: even ones hold more, so only they count."""
    hardware = load_hardware("quad_32x32").with_values({"memory.ideal": True, "cores": 2})
    keep = np.ones((4, 4), np.bool_)
    keep[1::2, 1:] = False
    mask = BlockMask(keep, 32, 32, (128, 128))
    workload = Workload([Gemm("g", 197, 128, 128, mask=mask)])
    model = SimulatorCost(hardware)
    marginal = model.marginal(workload)["g"]
    assert (marginal.cycles[1::2] == 0).all()
    assert (marginal.cycles[::2] == 197).all()
    assert (marginal.energy_pj[keep] > 0).all()
    dense = model.cost(workload).cycles
    assert dense - model.cost(workload.with_masks({"g": without(mask, 0, 0)})).cycles == 197
    assert dense == model.cost(workload.with_masks({"g": without(mask, 1, 0)})).cycles


def test_balanced_cores_share_the_credit():
    hardware = load_hardware("quad_32x32").with_values({"memory.ideal": True})
    full = BlockMask(np.ones((8, 8), np.bool_), 32, 32, (256, 256))
    full = without(full, 0, 0)
    workload = Workload([Gemm("g", 197, 256, 256, mask=full)])
    cycles = SimulatorCost(hardware).marginal(workload)["g"].cycles
    # one block short on core 0: the three others tie
    assert (cycles[::4] == 0).all()
    assert cycles[1:4] == pytest.approx(cycles[1, 0])
    assert cycles[1, 0] > 0


def test_hardware_that_skips_nothing_saves_no_cycle():
    hardware = EDGE.with_values({"array.sparsity": "none"})
    mask = drawn(1)
    marginal = SimulatorCost(hardware).marginal(network((mask, None)))["a"]
    assert (marginal.cycles == 0).all()
    assert (marginal.energy_pj[mask.keep] > 0).all()  # gated multipliers
    off = hardware.with_values({"array.zero_gating": False})
    assert (SimulatorCost(off).marginal(network((mask, None)))["a"].energy_pj == 0).all()


@pytest.mark.parametrize("dataflow", ["output-stationary", "weight-stationary"])
def test_gathered_blocks_cost_their_height(dataflow):
    """Output-stationary and k-compact: a block saves its rows of K, whatever its tile."""
    hardware = IDEAL.with_values(
        {
            "array.dataflow": dataflow,
            "array.packing": "k-compact",
            "array.fold_overlap": "double-buffered",
        }
    )
    mask = drawn(4, 0.7, (128, 512), (32, 16))
    workload = Workload([Gemm("a", 64, 512, 512), Gemm("g", 64, 512, 128, mask=mask)])
    marginal = SimulatorCost(hardware).marginal(workload)["g"]
    assert (marginal.energy_pj[mask.keep] > 0).all()
    empty = BlockMask(np.zeros_like(mask.keep), 32, 16, mask.shape)
    model = SimulatorCost(hardware)
    saved = model.cost(workload).energy_pj - model.cost(workload.with_masks({"g": empty})).energy_pj
    assert marginal.energy_pj.sum() == pytest.approx(saved, rel=0.25)


def test_proxy_counts_surviving_work():
    dense = SimulatorCost(EDGE).cost(network())
    proxy = ProportionalCost(dense)
    half = np.zeros((4, 4), np.bool_)
    half[:2] = True
    mask = BlockMask(half, 32, 32, (128, 128))
    cost = proxy.cost(network((mask, mask)))
    assert cost.cycles == pytest.approx(dense.cycles / 2)
    assert cost.macs == dense.macs / 2
    marginal = proxy.marginal(network((mask, None)))["a"]
    assert marginal.cycles.sum() == pytest.approx(dense.cycles / 4)

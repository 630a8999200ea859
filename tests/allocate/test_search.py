"""From curves and budgets to masks: every budget met by the event engine, one of them tightly."""

import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lspsim.allocate import search, uniform
from lspsim.allocate.budgets import parse_budgets
from lspsim.allocate.curves import LayerCurve
from lspsim.allocate.judge import Judge
from lspsim.allocate.menus import Choice, group_curves, masks_of, tabulate
from lspsim.allocate.path import lower_hull
from lspsim.allocate.repair import BINDS_WITHIN, repair
from lspsim.allocate.search import _ALLOCATORS
from lspsim.errors import LspsimError
from lspsim.hardware import load_hardware
from lspsim.simulate import simulate
from lspsim.simulate.cost import Cost, ProportionalCost, SimulatorCost, cost_variants
from lspsim.workload import Gemm, VectorOp, Workload

repair_module = sys.modules["lspsim.allocate.repair"]
search_module = sys.modules["lspsim.allocate.search"]

SMALL = load_hardware("edge_32x32").with_values({"array.rows": 8, "array.cols": 8})
SLOW_MEMORY = SMALL.with_values({"memory.dram.bandwidth": "1 GB/s"})
MANY_CORES = load_hardware("quad_32x32").with_values({"array.rows": 8, "array.cols": 8})
CHIPS = {"compute-bound": SMALL, "memory-bound": SLOW_MEMORY, "many cores": MANY_CORES}

WORKLOAD = Workload(
    [
        Gemm("fc1", 65, 64, 256, bias=True),
        VectorOp("gelu", "gelu", 65, 256),
        Gemm("fc2", 65, 256, 64, bias=True),
        Gemm("wide", 9, 64, 256),  # few rows: it waits for its weights
        Gemm("back", 9, 256, 64),
    ]
)


def curve(name, shape, seed, block=(8, 8), unit="nats"):
    rng = np.random.default_rng(seed)
    blocks = -(-shape[0] // block[0]) * -(-shape[1] // block[1])
    each = np.sort(rng.random(blocks) ** 4) * rng.uniform(0.3, 3) / blocks
    loss = np.concatenate([[0.0], np.cumsum(each)])
    return LayerCurve(name, shape, *block, rng.permutation(blocks), loss, unit)


def curves(block=(8, 8), seed=0):
    return [curve(g.name, (g.n, g.k), seed + i, block) for i, g in enumerate(WORKLOAD.gemms)]


def flattened(curve, steps):
    """Raise the loss to that of the next of `steps` counts: stairs, as a running maximum has."""
    counts = np.arange(curve.blocks + 1)
    corners = np.rint(np.linspace(0, curve.blocks, steps + 1)).astype(int)
    return replace(curve, loss=curve.loss[corners[np.searchsorted(corners, counts)]])


def stairs(steps=3):
    return [flattened(curve, steps) for curve in curves()]


def run(chip, budgets, curves=curves, **options):
    options = {"rounds": 2, "points": 33} | options
    model, exact = SimulatorCost(chip), SimulatorCost(chip, "event")
    return search(curves(), WORKLOAD, parse_budgets(budgets), model, exact, **options)


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
@pytest.mark.parametrize("method", ["uniform", "lagrangian", "greedy", "knapsack"])
@pytest.mark.parametrize("budgets", [["cycles=0.5"], ["energy=0.7", "macs=0.6", "latency=0.8"]])
@pytest.mark.parametrize("curves", [curves, stairs])
def test_all_budgets_are_met_and_one_binds(chip, method, budgets, curves):
    found = run(chip, budgets, curves, method=method)
    dense = simulate(WORKLOAD, chip).totals
    pruned = simulate(WORKLOAD.with_masks(dict(found.masks)), chip).totals
    assert found.cost.cycles == pruned.cycles_total
    assert found.cost.energy_pj == pytest.approx(pruned.energy_j * 1e12)
    shares = {
        "cycles": pruned.cycles_total / dense.cycles_total,
        "latency": pruned.latency_s / dense.latency_s,
        "energy": pruned.energy_j / dense.energy_j,
        "macs": found.cost.macs / found.dense.macs,
    }
    parsed = parse_budgets(budgets)
    used = [shares[b.kind] / float(b.limit) for b in parsed]
    assert max(used) <= 1 + 1e-12
    assert max(used) >= 0.995
    assert found.binding
    assert found.used[found.binding[0]] == pytest.approx(max(used), rel=0.005)
    by_name = {c.name: c for c in curves()}
    assert found.loss == pytest.approx(
        sum(by_name[n].loss[c.removed] for n, c in found.choice.items())
    )
    for name, mask in found.masks.items():
        assert mask == by_name[name].mask(found.choice[name].removed)


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
@pytest.mark.parametrize("curves", [curves, stairs])
def test_knapsack_never_loses_more_than_a_rival(chip, curves):
    """After repair, to the last bit: each rival's own search is among the candidates."""
    found = run(chip, ["cycles=0.5"], curves)
    for method in ("greedy", "lagrangian", "uniform"):
        assert found.loss <= run(chip, ["cycles=0.5"], curves, method=method).loss
    model, exact = ProportionalCost(found.dense), SimulatorCost(chip, "event")
    budgets = parse_budgets(["cycles=0.5"])
    proxy = search(curves(), WORKLOAD, budgets, model, exact, rounds=2, points=33)
    assert found.loss <= proxy.loss == found.proxy.loss
    assert found.proxy.used["cycles"] <= 1
    assert found.used["cycles"] <= 1


def test_the_outcome_names_the_candidate_that_won(monkeypatch):
    """Where the knapsack is made useless a rival is chosen, and said to be."""
    assert run(SMALL, ["cycles=0.5"], method="greedy").candidate == "greedy"
    worst = {"knapsack": uniform} | {m: a for m, a in _ALLOCATORS.items() if m != "knapsack"}
    monkeypatch.setattr(search_module, "_ALLOCATORS", worst)
    alone = {m: run(SMALL, ["cycles=0.5"], method=m).loss for m in ("greedy", "lagrangian")}
    found = run(SMALL, ["cycles=0.5"], beat_proxy=False)
    assert found.candidate == min(alone, key=alone.get)
    assert found.loss == min(alone.values())


def test_a_rival_that_gets_stuck_is_no_candidate(monkeypatch):
    def stuck(menus, curves):
        raise LspsimError("stuck")

    free = run(SMALL, ["cycles=0.5"])
    monkeypatch.setattr(search_module, "_ALLOCATORS", _ALLOCATORS | {"uniform": stuck})
    assert run(SMALL, ["cycles=0.5"]).loss == free.loss
    with pytest.raises(LspsimError, match="stuck"):
        run(SMALL, ["cycles=0.5"], method="uniform")


def test_the_simulator_beats_the_proxy_where_layers_differ():
    """On slow memory a block of the short layers costs as much as one of the long ones."""
    found = run(SLOW_MEMORY, ["cycles=0.6"])
    assert found.loss < 0.8 * found.proxy.loss


def test_the_same_input_gives_the_same_masks():
    first, second = (run(SMALL, ["cycles=0.6", "energy=0.7"]) for _ in range(2))
    assert first.choice == second.choice


def test_a_budget_that_dense_meets_removes_nothing():
    found = run(SMALL, ["latency=1 s"])
    assert found.loss == 0
    assert found.binding == ()
    assert all(mask.keep.all() for mask in found.masks.values())


@pytest.mark.parametrize("method", ["uniform", "knapsack"])
def test_an_unreachable_budget_names_the_least(method):
    with pytest.raises(
        LspsimError, match=r"budget cycles=0.01: with every block removed.*of dense"
    ):
        run(SMALL, ["cycles=0.01"], method=method)
    with pytest.raises(LspsimError, match=r"energy=1 nJ.*are left; ask for at least that"):
        run(SMALL, ["energy=1 nJ"], method=method)


def test_at_most_the_given_fraction_goes():
    found = run(SMALL, ["cycles=0.5"], most=0.75)
    assert all(mask.density >= 0.25 for mask in found.masks.values())
    with pytest.raises(LspsimError, match="ask for at least"):
        run(SMALL, ["cycles=0.3"], most=0.5)


def test_block_sizes_may_differ_by_layer():
    """The curve that loses less for the same blocks is taken, layer by layer."""
    fine, coarse = curves((8, 8)), curves((16, 16), seed=10)
    model, exact = SimulatorCost(SMALL), SimulatorCost(SMALL, "event")
    budgets = parse_budgets(["cycles=0.5"])
    both = search([*fine, *coarse], WORKLOAD, budgets, model, exact, rounds=1, points=17)
    one = search(fine, WORKLOAD, budgets, model, exact, rounds=1, points=17)
    assert both.loss <= one.loss
    assert {mask.block_out for mask in both.masks.values()} == {8, 16}
    assert both.used["cycles"] <= 1


def test_menus_are_the_cost_models_own_differences():
    model = SimulatorCost(SMALL)
    grouped = group_curves(curves(), WORKLOAD)
    current = {name: Choice(0, 20) for name in grouped}
    budgets = parse_budgets(["cycles=0.5", "energy=0.5"])
    ceilings = np.array([1e6, 1e9])
    menus = tabulate(grouped, WORKLOAD, model, budgets, ceilings, current, points=9, reach=0.2)
    here = model.cost(WORKLOAD.with_masks(masks_of(grouped, current)))
    assert menus.base.tolist() == [here.cycles, here.energy_pj]
    for menu in menus.layers:
        assert Choice(0, 20) in menu.choices
        for choice, cost, loss in zip(menu.choices, menu.cost, menu.loss, strict=True):
            moved = {**current, menu.name: choice}
            there = model.cost(WORKLOAD.with_masks(masks_of(grouped, moved)))
            assert cost[0] == there.cycles - here.cycles
            assert cost[1] == pytest.approx(there.energy_pj - here.energy_pj)
            assert loss == grouped[menu.name][0].loss[choice.removed]


def test_repair_mends_any_start():
    """From dense and from empty it ends at a met, binding point."""
    grouped = group_curves(curves(), WORKLOAD)
    exact = SimulatorCost(SMALL, "event")
    dense = exact.cost(WORKLOAD)
    budgets = parse_budgets(["cycles=0.5"])
    ceilings = np.array([budgets[0].ceiling(dense)])
    middle = {name: Choice(0, options[0].blocks // 2) for name, options in grouped.items()}
    menus = tabulate(grouped, WORKLOAD, SimulatorCost(SMALL), budgets, ceilings, middle, points=33)
    losses = []
    for fraction in (0, 0.5, 1):
        start = {n: Choice(0, int(fraction * o[0].blocks)) for n, o in grouped.items()}
        judge = Judge(grouped, WORKLOAD, exact, budgets)
        found = repair(judge, menus, start)
        assert 0.995 <= found.cost.cycles / ceilings[0] <= 1
        assert judge.simulations < 300
        losses.append(found.loss)
    assert losses[0] <= min(losses) * 1.1  # removing along the best path from dense


FOUR = Workload([Gemm(name, 1, 40, 1) for name in "abcd"])
"""Layers of 40 blocks (1x1) whose MACs are the number of kept blocks."""


def repaired(losses, removed, ceiling, dead=(0, 0, 0, 0)):
    """Repair a start at `removed` blocks per layer of `FOUR` under a ceiling of MACs."""
    grouped = {
        name: (LayerCurve(name, (1, 40), 1, 1, np.arange(40), np.array(loss), dead=first),)
        for name, loss, first in zip("abcd", losses, dead, strict=True)
    }
    start = {name: Choice(0, at) for name, at in zip(grouped, removed, strict=True)}
    exact = ProportionalCost(Cost(160, 1.0, 1.0, 160))
    budgets, ceilings = parse_budgets([f"macs={ceiling} MACs"]), np.array([float(ceiling)])
    menus = tabulate(grouped, FOUR, exact, budgets, ceilings, start, points=5)
    return repair(Judge(grouped, FOUR, exact, budgets), menus, start), grouped, exact


def test_blocks_on_a_flat_stretch_come_back_when_all_gains_are_too_dear():
    """Each layer gains only from 30 blocks at once, more than the room of 22."""
    stair = np.where(np.arange(41) > 10, 1.0, 0.0)
    found, _, _ = repaired([stair] * 4, [40] * 4, 22)
    assert found.loss == 4
    assert found.cost.macs == 22


def test_dead_blocks_stay_away_whatever_room_there_is():
    stair = np.where(np.arange(41) > 10, 1.0, 0.0)
    found, _, _ = repaired([stair] * 4, [40, 40, 40, 5], 150, dead=(0, 5, 10, 5))
    assert [found.choice[name].removed for name in "abcd"] == [0, 5, 10, 5]
    assert found.loss == 0
    assert found.cost.macs == 140


def test_gains_come_before_flat_stretches():
    """The last layer alone gains; what it leaves of the room goes to the first."""
    flat, slope = np.where(np.arange(41) > 0, 1.0, 0.0), np.arange(41) / 20
    found, _, _ = repaired([flat, flat, flat, slope], [40, 40, 40, 40], 50)
    assert found.choice["d"].removed == 0
    assert found.choice["a"].removed == 30
    assert found.cost.macs == 50


@st.composite
def starts(draw):
    """Draw four curves with flat stretches and dips, a start, and a ceiling of MACs."""
    rise = st.sampled_from(draw(st.sampled_from([(0, 0, 0, 0, 1, 5), (0, 0, 0, 0, 1, 5, -1)])))
    rises = st.lists(rise, min_size=40, max_size=40)
    losses = [np.cumsum([0, *draw(rises)]) / 8 for _ in "abcd"]
    removed = [draw(st.integers(0, 40)) for _ in "abcd"]
    return losses, removed, draw(st.integers(1, 170))


@settings(max_examples=150)
@given(starts())
def test_flat_stretches_leave_no_block_that_fits(case):
    """A budget binds, or no layer can take any back without a rise of the loss."""
    losses, removed, ceiling = case
    found, grouped, exact = repaired(losses, removed, ceiling)
    assert found.cost.macs <= ceiling
    if found.cost.macs >= (1 - BINDS_WITHIN) * ceiling:
        return
    for name, at in found.choice.items():
        loss = grouped[name][0].loss
        for count in np.flatnonzero(loss[: at.removed] <= loss[at.removed]).tolist():
            moved = masks_of(grouped, {**found.choice, name: Choice(0, count)})
            assert exact.cost(FOUR.with_masks(moved)).macs > ceiling


@settings(max_examples=60)
@given(starts())
def test_flat_moves_never_raise_the_loss(case):
    losses, removed, ceiling = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repair_module, "_flat_moves", lambda judge, choice: choice)
        without, _, _ = repaired(losses, removed, ceiling)
    found, _, _ = repaired(losses, removed, ceiling)
    assert found.loss <= without.loss
    assert found.cost.macs >= without.cost.macs


@pytest.mark.parametrize("seed", range(20))
def test_hull_is_convex_and_below_every_point(seed):
    rng = np.random.default_rng(seed)
    cost = -np.cumsum(rng.integers(0, 3, 30)).astype(float)
    loss = np.cumsum(rng.normal(0.3, 1, 30))
    loss[0] = 0
    steps = lower_hull(cost, loss)
    if not steps:
        assert cost[-1] == cost[0]
        return
    assert steps[0][0] == 0
    assert cost[steps[-1][1]] == cost[-1]
    ratios = [(loss[b] - loss[a]) / (cost[a] - cost[b]) for a, b in steps]
    assert all(x <= y + 1e-12 for x, y in pairwise(ratios))
    corners = [0, *(b for _, b in steps)]
    beyond = cost < cost[0]
    below = np.interp(-cost, -cost[corners], loss[corners])
    assert (below[beyond] <= loss[beyond] + 1e-9).all()


def test_curves_that_do_not_fit_are_refused():
    with pytest.raises(LspsimError, match="no weight GEMM of that name"):
        group_curves([curve("nope", (8, 8), 0)], WORKLOAD)
    with pytest.raises(LspsimError, match="64x64 weight, but the workload's is 256x64"):
        group_curves([curve("fc1", (64, 64), 0)], WORKLOAD)
    mixed = [curve("fc1", (256, 64), 0), curve("fc2", (64, 256), 0, unit="weight")]
    with pytest.raises(LspsimError, match="nats and weight"):
        group_curves(mixed, WORKLOAD)
    with pytest.raises(LspsimError, match="no curve"):
        group_curves([], WORKLOAD)


def test_options_are_checked():
    for wrong in ({"rounds": 0}, {"points": 1}, {"most": 0.0}, {"most": 1.5}):
        with pytest.raises(LspsimError, match="need at least 1 round"):
            run(SMALL, ["cycles=0.5"], **wrong)
    with pytest.raises(LspsimError, match="unknown allocator 'best'"):
        run(SMALL, ["cycles=0.5"], method="best")


def test_another_cost_model_can_stand_in():
    """Only the protocol is used: a model that knows nothing of the simulator works."""
    dense = SimulatorCost(SMALL, "event").cost(WORKLOAD)
    proxy = ProportionalCost(dense)
    found = search(
        curves(), WORKLOAD, parse_budgets(["cycles=0.5"]), proxy, proxy, rounds=1, points=17
    )
    assert 0.995 <= found.used["cycles"] <= 1
    assert found.proxy is None
    assert cost_variants(proxy, WORKLOAD, "fc1", {}) == {}

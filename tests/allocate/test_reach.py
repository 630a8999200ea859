"""The floor under budgets: what `search` refuses at, known without a curve."""

import numpy as np
import pytest

from lspsim.allocate import least_reachable, search
from lspsim.allocate.budgets import parse_budgets
from lspsim.errors import LspsimError
from lspsim.simulate.cost import SimulatorCost
from lspsim.workload import Gemm, Workload
from tests.allocate.test_search import CHIPS, WORKLOAD, curve

KINDS = ("cycles", "energy", "latency", "macs")
NETWORK = Workload([*WORKLOAD.ops, Gemm("scores", 9, 64, 9, rhs="activation")])
"""Something is left when every block is removed."""


def weights(workload):
    return [gemm for gemm in workload.gemms if gemm.rhs == "weight"]


def reach_of(chip, workload=NETWORK, block=(8, 8), most=1.0):
    sizes = dict.fromkeys((gemm.name for gemm in weights(workload)), block)
    return least_reachable(workload, sizes, SimulatorCost(chip, "event"), most)


def refusal(chip, text, workload=NETWORK, block=(8, 8), most=1.0, seed=0):
    """Return what `search` says of a budget; None where it meets it."""
    curves = [curve(g.name, (g.n, g.k), seed, block) for g in weights(workload)]
    model, exact = SimulatorCost(chip), SimulatorCost(chip, "event")
    budgets = parse_budgets([text])
    try:
        search(curves, workload, budgets, model, exact, "lagrangian", rounds=1, points=9, most=most)
    except LspsimError as error:
        return str(error)
    return None


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_where_search_refuses_and_in_the_same_words(chip, kind) -> None:
    reach = reach_of(chip)
    (whole,) = parse_budgets([f"{kind}=1"])
    floor = whole.of(reach.least) / whole.of(reach.dense)
    above, below = f"{kind}={floor * 1.001 + 1e-6:.9f}", f"{kind}={floor * 0.999 + 1e-9:.9f}"
    reach.check(parse_budgets([above]))
    assert refusal(chip, above) is None
    with pytest.raises(LspsimError) as error:
        reach.check(parse_budgets([below]))
    assert str(error.value) == refusal(chip, below)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_with_a_cap_no_budget_that_can_be_met_is_refused(kind, seed) -> None:
    """Ragged blocks: 4 x 1 at the edges, of which the cap may leave any."""
    workload = Workload([Gemm("one", 20, 33, 20), Gemm("two", 7, 20, 33)])
    chip = CHIPS["compute-bound"]
    reach = reach_of(chip, workload, most=0.7)
    met = 0
    for share in np.linspace(0.3, 0.9, 13):
        text = f"{kind}={share:.4f}"
        if refusal(chip, text, workload, most=0.7, seed=seed) is None:
            reach.check(parse_budgets([text]))
            met += 1
    assert met > 0


def test_macs_with_a_cap_are_those_of_the_smallest_blocks() -> None:
    workload = Workload([Gemm("one", 2, 10, 8)])  # blocks of 8 x 8 and 8 x 2
    reach = reach_of(CHIPS["compute-bound"], workload, most=0.5)
    assert reach.dense.macs == 2 * 80
    assert reach.least.macs == 2 * 16


def test_the_first_of_several_budgets_that_is_out_of_reach_is_named() -> None:
    reach = reach_of(CHIPS["compute-bound"])
    with pytest.raises(LspsimError, match=r"budget macs=0.001: .*ask for at least that"):
        reach.check(parse_budgets(["cycles=0.9", "macs=0.001"]))


def test_nothing_left_is_a_floor_of_nought_that_search_reaches() -> None:
    assert reach_of(CHIPS["compute-bound"], WORKLOAD).least.macs == 0
    assert refusal(CHIPS["compute-bound"], "macs=0.000001", WORKLOAD) is None

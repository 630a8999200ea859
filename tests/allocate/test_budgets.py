"""Budgets: what may be written, what it means, what is refused and how."""

from fractions import Fraction

import pytest

from lspsim.allocate.budgets import Budget, parse_budget, parse_budgets
from lspsim.errors import LspsimError
from lspsim.simulate.cost import Cost

DENSE = Cost(cycles=1000, energy_pj=8e12, latency_s=4e-3, macs=500)


@pytest.mark.parametrize(
    ("text", "ceiling"),
    [
        ("cycles=0.5", 500),
        ("macs=50%", 250),
        ("macs = 1/4", 125),
        ("energy=0.6", 4.8e12),
        ("latency=1", 4e-3),
        ("latency=2ms", 2e-3),
        ("latency=2 ms", 2e-3),
        ("energy=12 mJ", 12e9),
        ("cycles=4.5 Mcycles", 4.5e6),
        ("macs=2.3GMACs", 2.3e9),
    ],
)
def test_ceiling_in_the_units_of_cost(text, ceiling):
    assert parse_budget(text).ceiling(DENSE) == pytest.approx(ceiling, rel=1e-12)


@pytest.mark.parametrize("text", ["cycles=0.5", "energy=12 mJ", "latency=2 ms", "macs=2.3 GMACs"])
def test_a_budget_reads_what_it_writes(text):
    assert str(parse_budget(text)) == text
    assert parse_budget(str(parse_budget(text))) == parse_budget(text)


def test_limits_are_exact():
    assert parse_budget("cycles=0.1") == Budget("cycles", Fraction(1, 10), relative=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cycles", "has no value.*cycles=0.5"),
        ("cycles=", "has no value"),
        ("cycle=0.5", "did you mean 'cycles'"),
        ("flops=0.5", "did you mean 'macs'"),
        ("accuracy=0.5", "known are cycles, energy, latency, macs"),
        ("cycles=1.5", "at most 1.*cycles=4.5Mcycles"),
        ("cycles=0", "above 0"),
        ("energy=-0.5", "above 0"),
        ("macs=120%", "at most 1"),
        ("latency=2 parsecs", "'parsecs' is not a unit of time"),
        ("latency=fast", "is not a time"),
        ("energy=2 ms", "'ms' is not a unit of energy"),
        ("energy=0 mJ", "leaves nothing"),
        ("cycles=nan", "is not a cycle count"),
    ],
)
def test_what_is_wrong_is_said_with_its_cure(text, says):
    with pytest.raises(LspsimError, match=says):
        parse_budget(text)


def test_several_budgets():
    assert [b.kind for b in parse_budgets(["cycles=0.5", "energy=0.6"])] == ["cycles", "energy"]
    with pytest.raises(LspsimError, match="given twice"):
        parse_budgets(["cycles=0.5", "cycles=0.4"])
    with pytest.raises(LspsimError, match="nothing would be pruned"):
        parse_budgets([])


def test_costs_are_shown_with_units():
    assert parse_budget("energy=0.5").show(2.345678e9) == "2346 uJ"
    assert parse_budget("cycles=0.5").show(9891981) == "9892 kcycles"
    assert parse_budget("latency=0.5").show(1.234567e-3) == "1235 us"

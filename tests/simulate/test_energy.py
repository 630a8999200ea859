"""Energy: constants laid out once, against sums written out by hand."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lspsim.hardware import Hardware, load_hardware
from lspsim.hardware.technology import adder, multiplier, pico
from lspsim.simulate import energy
from lspsim.simulate.area import area_mm2, footprint
from lspsim.simulate.columns import COUNTS
from lspsim.simulate.energy import (
    COMPONENTS,
    HIGH,
    LOW,
    NOMINAL,
    energy_bounds_pj,
    energy_components_pj,
    energy_constants,
    energy_totals_pj,
)

EDGE = load_hardware("edge_32x32")


def one(**counts: int) -> np.ndarray:
    """One operator's counts; all others 0."""
    return np.array([[counts.get(name, 0) for name in COUNTS]], dtype=np.int64)


def dynamic(hardware: Hardware, **counts: int) -> dict[str, float]:
    """Nonzero pJ by component of one operator that takes no time."""
    names, table = energy_components_pj(one(**counts), np.zeros(1, dtype=np.int64), hardware)
    return {name: float(x) for name, x in zip(names, table[0], strict=True) if x}


def test_mac_is_a_multiplication_and_an_addition() -> None:
    table = EDGE.technology.arithmetic
    multiply, add = multiplier(table, "int", (8, 8)).value, adder(table, "int", 32).value
    spent = dynamic(EDGE, macs_executed=1000, macs_effectual=600)
    assert spent == {"mac": pytest.approx(600 * multiply + 1000 * add)}
    assert multiply + add == pytest.approx(0.2266, abs=1e-3)


def test_without_zero_gating_every_mac_multiplies() -> None:
    gated = dynamic(EDGE, macs_executed=1000, macs_effectual=1000)
    plain = EDGE.with_values({"array.zero_gating": False})
    assert dynamic(plain, macs_executed=1000, macs_effectual=600) == {
        "mac": pytest.approx(gated["mac"])
    }


def test_registers_move_words_of_their_own_width() -> None:
    move = pico(EDGE.technology.registers.move).value
    spent = dynamic(EDGE, weight_register_shifts=3, activation_hops=5, partial_sum_hops=7)
    assert spent == {"array_registers": pytest.approx(move * (3 * 8 + 5 * 8 + 7 * 32))}


def test_a_buffer_access_costs_what_its_bank_costs() -> None:
    """32 bytes a cycle come from four 64-bit banks of a quarter of the buffer each."""
    per_64 = EDGE.technology.sram_access(512 * 1024 / 4).energy_pj.value
    assert dynamic(EDGE, weight_buffer_read_bytes=16) == {
        "weight_buffer": pytest.approx(2 * per_64)
    }
    per_64 = EDGE.technology.sram_access(2 * 1024 * 1024 / 4).energy_pj.value
    assert dynamic(EDGE, activation_buffer_read_bytes=8, activation_buffer_write_bytes=8) == {
        "activation_buffer": pytest.approx(2 * per_64)
    }


def test_accumulators_count_words() -> None:
    per_64 = EDGE.technology.sram_access(256 * 4).energy_pj.value
    spent = dynamic(EDGE, accumulator_reads=10, accumulator_writes=11)
    assert spent == {"accumulator": pytest.approx(21 * per_64 / 2)}
    assert "accumulators" in energy_constants(EDGE).extrapolated
    assert "weight buffer" not in energy_constants(EDGE).extrapolated


def test_dram_energy_is_the_hardware_files_and_not_the_nodes() -> None:
    per_byte = 8e12 * float(EDGE.memory.dram.energy.value)
    for node in ("45nm", "28nm", "7nm"):
        spent = dynamic(
            EDGE.with_values({"technology": node}), dram_read_bytes=64, dram_write_bytes=36
        )
        assert spent == {"dram": pytest.approx(100 * per_byte)}


def test_index_vector_and_noc() -> None:
    lookup = EDGE.technology.sram.small.access.value * 10**12
    assert dynamic(EDGE, index_bytes=8) == {"index": pytest.approx(float(lookup))}
    table = EDGE.technology.arithmetic
    lane = multiplier(table, "float", (32, 32)).value + adder(table, "float", 32).value
    assert dynamic(EDGE, vector_lane_ops=2) == {"vector": pytest.approx(2 * lane)}
    assert dynamic(EDGE, noc_bytes=2) == {
        "noc": pytest.approx(16 * pico(EDGE.technology.noc).value)
    }


def test_gather_costs_only_where_there_is_one() -> None:
    assert dynamic(EDGE, gather_mux_words=100) == {}
    packed = EDGE.with_values({"array.packing": "k-compact"})
    per_bit = pico(EDGE.technology.multiplexer).value
    assert dynamic(packed, gather_mux_words=100) == {"index": pytest.approx(100 * 8 * 2 * per_bit)}


def test_static_energy_is_power_times_time() -> None:
    names, table = energy_components_pj(one(), np.array([EDGE.clock_hz]), EDGE)
    spent = dict(zip(names, table[0], strict=True))
    bits, clock = footprint(EDGE).register_bits, EDGE.technology.registers.clock
    watts = bits * EDGE.clock_hz * float(clock.value)
    assert spent["clock"] == pytest.approx(1e12 * watts)
    leak = float(EDGE.technology.leakage.value) * 1e-6 * area_mm2(EDGE)["total"].value
    assert spent["leakage"] == pytest.approx(1e12 * leak)
    assert energy_constants(EDGE).static_w[NOMINAL].sum() == pytest.approx(watts + leak)
    assert sum(spent.values()) == pytest.approx(1e12 * (watts + leak))


def test_static_energy_per_cycle_does_not_hide_the_clock() -> None:
    """At half the clock a cycle leaks twice, and is clocked once, as before."""
    slow = EDGE.with_values({"clock": "500 MHz"})
    fast, late = (energy_constants(h).static_pj_per_cycle[NOMINAL] for h in (EDGE, slow))
    at_clock, at_leak = COMPONENTS.index("clock"), COMPONENTS.index("leakage")
    assert late[at_clock] == pytest.approx(fast[at_clock])
    assert late[at_leak] == pytest.approx(2 * fast[at_leak])


COUNT_ROWS = st.lists(
    st.lists(st.integers(0, 10**9), min_size=len(COUNTS), max_size=len(COUNTS)),
    min_size=1,
    max_size=4,
)


@given(rows=COUNT_ROWS, node=st.sampled_from(["45nm", "28nm", "7nm"]))
def test_every_form_agrees_and_bounds_are_ordered(rows: list[list[int]], node: str) -> None:
    hardware = EDGE.with_values({"technology": node, "array.packing": "k-compact"})
    counts = np.array(rows, dtype=np.int64)
    cycles = counts[:, 0] // 7
    names, table = energy_components_pj(counts, cycles, hardware)
    by_name = {name: counts[:, i] for i, name in enumerate(COUNTS)}
    assert names == COMPONENTS
    np.testing.assert_allclose(energy_components_pj(by_name, cycles, hardware)[1], table)
    bounds = energy_bounds_pj(counts, cycles, hardware)
    np.testing.assert_allclose(bounds[NOMINAL], table)
    assert (bounds[LOW] <= bounds[NOMINAL] * (1 + 1e-12)).all()
    assert (bounds[NOMINAL] <= bounds[HIGH] * (1 + 1e-12)).all()
    totals = energy_totals_pj(counts, int(cycles.sum()), hardware)
    np.testing.assert_allclose(totals, bounds.sum(axis=(1, 2)))
    quick = counts @ energy_constants(hardware).per_count_pj[NOMINAL]
    np.testing.assert_allclose(quick, table[:, : energy.DYNAMIC].sum(axis=1))


@pytest.mark.parametrize("packing", ["none", "k-compact"])
@pytest.mark.parametrize("node", ["45nm", "28nm", "7nm"])
def test_an_action_never_yields_energy(node: str, packing: str) -> None:
    """So removing a block, which only removes actions, never raises dynamic energy."""
    hardware = EDGE.with_values({"technology": node, "array.packing": packing})
    constants = energy_constants(hardware)
    assert (constants.dynamic_pj >= 0).all()
    per_count = constants.per_count_pj[NOMINAL]
    free = {name for name, pj in zip(COUNTS, per_count, strict=True) if not pj}
    assert free == ({"gather_mux_words"} if packing == "none" else set())


def test_float_hardware_uses_float_arithmetic() -> None:
    bf16 = EDGE.with_values(
        {
            "precision": {
                "number": "float",
                "weight_bits": 16,
                "activation_bits": 16,
                "accumulator_bits": 32,
            },
            "technology": "7nm",
        }
    )
    spent = dynamic(bf16, macs_executed=1, macs_effectual=1)
    assert spent == {"mac": pytest.approx(0.21 + 0.38)}


def test_constants_are_made_once_per_hardware_and_dropped_with_it() -> None:
    hardware = EDGE.with_values({"array.rows": 64})
    constants = energy_constants(hardware)
    assert energy_constants(hardware) is constants
    key = id(hardware)
    assert key in energy._CACHE
    del hardware
    gc.collect()
    assert key not in energy._CACHE


def test_constants_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        energy_constants(EDGE).per_count_pj[NOMINAL, 0] = 1.0

"""Area: parts sum up, and each grows with what it holds."""

from __future__ import annotations

import pytest

from lspsim.hardware import load_hardware
from lspsim.hardware.technology import adder, multiplier, pico
from lspsim.simulate.area import COMPONENTS, area_mm2, footprint

EDGE = load_hardware("edge_32x32")


def test_parts_sum_to_the_total() -> None:
    areas = area_mm2(EDGE)
    assert tuple(areas) == (*COMPONENTS, "total")
    for bound in range(3):
        parts = [areas[name][bound] for name in COMPONENTS]
        assert areas["total"][bound] == pytest.approx(sum(parts))


@pytest.mark.parametrize("node", ["45nm", "28nm", "7nm"])
def test_bounds_are_ordered(node: str) -> None:
    for low, value, high in area_mm2(EDGE.with_values({"technology": node})).values():
        assert 0 <= low <= value <= high


def test_a_processing_element_by_hand() -> None:
    area = EDGE.technology.area
    cell = (
        multiplier(area.arithmetic, "int", (8, 8)).value
        + adder(area.arithmetic, "int", 32).value
        + (8 + 2 * 8 + 32) * pico(area.register_bit).value
    )
    assert area_mm2(EDGE)["processing_elements"].value == pytest.approx(1024 * cell * 1e-6)


def test_sram_by_hand() -> None:
    stored, bit = footprint(EDGE), pico(EDGE.technology.area.sram_bit).value * 1e-6
    assert stored.weight_buffer_bits == 512 * 1024 * 8
    assert stored.activation_buffer_bits == 2 * 1024 * 1024 * 8
    assert stored.accumulator_bits == 2 * 256 * 32 * 32
    areas = area_mm2(EDGE)
    assert areas["weight_buffer"].value == pytest.approx(stored.weight_buffer_bits * bit)
    assert areas["activation_buffer"].value == pytest.approx(stored.activation_buffer_bits * bit)
    assert areas["accumulators"].value == pytest.approx(stored.accumulator_bits * bit)


def test_cores_multiply_everything_but_the_network() -> None:
    single, two, four = (area_mm2(EDGE.with_values({"cores": n})) for n in (1, 2, 4))
    for name in set(COMPONENTS) - {"noc"}:
        assert four[name].value == pytest.approx(4 * single[name].value)
    assert single["noc"].value == 0  # one core has nobody to talk to
    assert four["noc"].value == pytest.approx(2 * two["noc"].value)
    assert two["noc"].value > 0


def test_skipping_and_gathering_cost_area() -> None:
    dense = EDGE.with_values({"array.sparsity": "none"})
    packed = EDGE.with_values({"array.packing": "k-compact"})
    sizes = [area_mm2(h)["index"].value for h in (dense, EDGE, packed)]
    assert sizes[0] == 0 < sizes[1] < sizes[2]
    assert footprint(dense).register_bits < footprint(EDGE).register_bits

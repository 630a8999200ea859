"""Technologies: published points, what is derived from them, and bad files."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from lspsim.errors import ConfigError
from lspsim.hardware.presets import technology_names, technology_path
from lspsim.hardware.sourced import Sourced
from lspsim.hardware.technology import (
    Band,
    Technology,
    adder,
    load_technology,
    log_log,
    multiplier,
)

PUBLISHED_PJ = {
    "45nm": {  # Horowitz, ISSCC 2014
        "int8_multiply": 0.2,
        "int8_add": 0.03,
        "int32_add": 0.1,
        "fp16_multiply": 1.1,
        "fp32_multiply": 3.7,
        "fp32_add": 0.9,
    },
    "7nm": {  # Jouppi et al., ISCA 2021, table 2
        "int8_multiply": 0.07,
        "int8_add": 0.007,
        "int32_add": 0.03,
        "bf16_multiply": 0.21,
        "bf16_add": 0.11,
        "fp16_multiply": 0.34,
        "fp32_add": 0.38,
    },
}
PUBLISHED_SRAM_PJ = {"45nm": (10, 20, 100), "7nm": (7.5, 8.5, 14)}
PUBLISHED_UM2 = {
    "int8_multiply": 282,
    "int8_add": 36,
    "int32_add": 137,
    "fp16_multiply": 1640,
    "fp32_add": 4184,
}


def constants(technology: Technology) -> dict[str, Sourced[Any]]:
    """Every sourced constant of a technology, by attribute path."""
    found: dict[str, Sourced[Any]] = {}

    def walk(record: Any, path: str) -> None:
        for name in type(record).model_fields:
            value = getattr(record, name)
            if isinstance(value, Sourced):
                found[path + name] = value
            elif hasattr(type(value), "model_fields"):
                walk(value, f"{path}{name}.")

    walk(technology, "")
    return found


@pytest.mark.parametrize("node", ["45nm", "7nm"])
def test_published_energies(node: str) -> None:
    technology = load_technology(node)
    for name, pj in PUBLISHED_PJ[node].items():
        constant = getattr(technology.arithmetic, name)
        assert constant.value == Fraction(str(pj)) / 10**12, name
        assert not constant.source.startswith("derived"), name
    sram = [float(point.access.value * 10**12) for point in technology.sram.points]
    assert sram == list(PUBLISHED_SRAM_PJ[node])
    assert [p.capacity_bytes for p in technology.sram.points] == [8192, 32768, 1 << 20]


def test_published_areas() -> None:
    area = load_technology("45nm").area.arithmetic
    for name, um2 in PUBLISHED_UM2.items():
        assert getattr(area, name).value == Fraction(um2, 10**12), name


def test_28nm_is_recomputed_from_the_published_nodes() -> None:
    """Every energy: log-log in feature size; every logic area: an ideal shrink."""
    old, mid, new = (constants(load_technology(n)) for n in ("45nm", "28nm", "7nm"))
    checked = 0
    for path, constant in mid.items():
        if path.startswith("area."):
            if path != "area.sram_bit":
                expected = float(old[path].value) * (28 / 45) ** 2
                assert float(constant.value) == pytest.approx(expected, rel=1e-3), path
                checked += 1
        elif path != "leakage":
            expected = log_log(28, (45, float(old[path].value)), (7, float(new[path].value)))
            assert float(constant.value) == pytest.approx(expected, rel=1e-3), path
            checked += 1
    assert checked == 8 + 3 + 4 + 10


def test_28nm_agrees_with_the_rounded_published_derivation() -> None:
    a, sram = load_technology("28nm").arithmetic, load_technology("28nm").sram
    found = [float(x.value * 10**12) for x in (a.int8_multiply, a.int8_add, a.int32_add)]
    assert found == pytest.approx([0.153, 0.021, 0.074], abs=5.1e-4)
    assert [float(p.access.value * 10**12) for p in sram.points] == pytest.approx(
        [9.3, 16.1, 60.6], abs=0.05
    )


@pytest.mark.parametrize("name", technology_names())
def test_every_constant_names_its_source_and_lies_in_its_band(name: str) -> None:
    technology = load_technology(name)
    found = constants(technology)
    assert len(found) == 8 + 3 + 4 + 1 + 11
    for path, constant in found.items():
        low, value, high = constant.band
        assert 0 < low <= value <= high, path
        assert len(constant.source) > 10, path
    assert float(technology.node_m) == pytest.approx(float(name.removesuffix("nm")) * 1e-9)


def test_uncertain_constants_carry_bounds() -> None:
    technology = load_technology("28nm")
    clock = technology.registers.clock
    assert [float(x * 10**15) for x in (clock.band[0], clock.band[2])] == [5, 10]
    assert technology.leakage.band[0] < technology.leakage.value < technology.leakage.band[2]


def test_sram_access_passes_through_its_points_and_grows() -> None:
    technology = load_technology("28nm")
    for point in technology.sram.points:
        access = technology.sram_access(point.capacity_bytes)
        assert access.energy_pj.value == pytest.approx(float(point.access.value) * 1e12)
        assert not access.extrapolated
    sizes = [256 << i for i in range(18)]
    values = [technology.sram_access(size).energy_pj.value for size in sizes]
    assert values == sorted(values)
    assert [technology.sram_access(size).extrapolated for size in sizes] == [
        not 8192 <= size <= 1 << 20 for size in sizes
    ]


def test_extrapolated_bands_stay_ordered() -> None:
    for name in technology_names():
        for size in (16, 1024, 1 << 30):
            low, value, high = load_technology(name).sram_access(size).energy_pj
            assert low <= value <= high


def test_log_log_is_a_power_law() -> None:
    assert log_log(4, (1, 1), (16, 256)) == pytest.approx(16)


def test_arithmetic_scales_with_width() -> None:
    table = load_technology("45nm").arithmetic
    assert multiplier(table, "int", (8, 8)).value == pytest.approx(0.2)
    assert multiplier(table, "int", (4, 8)).value == pytest.approx(0.1)
    assert multiplier(table, "float", (16, 16)).value == pytest.approx(0.6794)
    assert multiplier(table, "float", (32, 32)).value == pytest.approx(3.7)
    assert adder(table, "int", 32).value == pytest.approx(0.1)
    assert adder(table, "int", 8).value == pytest.approx(0.03)
    assert adder(table, "int", 16).value == pytest.approx(0.05)
    assert adder(table, "float", 32).value == pytest.approx(0.9)
    assert adder(table, "float", 16).value == pytest.approx(0.2605)


def test_band_arithmetic() -> None:
    assert Band(1, 2, 3).plus(Band(10, 20, 30)).times(2) == Band(22, 44, 66)


def test_same_file_gives_the_same_object_and_a_changed_one_does_not(tmp_path: Path) -> None:
    assert load_technology("28nm") is load_technology("28nm")
    text = technology_path("28nm").read_text()
    copy = tmp_path / "own.yaml"
    copy.write_text(text)
    first = load_technology(copy)
    assert first == load_technology("28nm")
    copy.write_text(text.replace("name: 28nm", "name: own"))
    assert load_technology(str(copy)).name == "own"


def test_unknown_name_suggests() -> None:
    with pytest.raises(ConfigError, match=r"no technology '28mn'; did you mean '28nm'\?"):
        load_technology("28mn")


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_technology(tmp_path / "none.yaml")


def test_all_mistakes_at_once_with_their_places(tmp_path: Path) -> None:
    text = technology_path("28nm").read_text()
    text = text.replace("multiplexer: {value:", "multiplexor: {value:", 1)
    text = text.replace('node: "28 nm"', "node: 28")
    text = text.replace('capacity: "8 KiB"', 'capacity: "64 KiB"')
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_technology(file)
    message = str(caught.value)
    assert "3 mistakes" in message
    assert "did you mean 'multiplexer'" in message
    assert f"{file}:4:" in message
    assert "no unit" in message
    assert "do not ascend" in message


def test_free_sram_is_refused(tmp_path: Path) -> None:
    text = technology_path("45nm").read_text()
    file = tmp_path / "free.yaml"
    file.write_text(text.replace('access: {value: "10.0 pJ"', 'access: {value: "0 pJ"'))
    with pytest.raises(ConfigError, match="an SRAM access costs nothing"):
        load_technology(file)


def test_log_log_matches_its_definition() -> None:
    x, (x1, y1), (x2, y2) = 28.0, (45.0, 0.2), (7.0, 0.07)
    slope = (math.log(y2) - math.log(y1)) / (math.log(x2) - math.log(x1))
    expected = math.exp(math.log(y1) + slope * (math.log(x) - math.log(x1)))
    assert log_log(x, (x1, y1), (x2, y2)) == pytest.approx(expected)

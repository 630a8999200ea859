from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lspsim import units
from lspsim.units import QuantityError, format_number, format_quantity, parse_quantity, parse_ratio

TWO = units.Dimension("size", "MB", {"mB": Fraction(1, 10**9), "MB": Fraction(1)}, "1 MB")
DIMENSIONS = [value for value in vars(units).values() if isinstance(value, units.Dimension)]


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("256 KiB", units.SIZE, 262_144),
        ("256 kB", units.SIZE, 256_000),
        ("2 MiB", units.SIZE, 2 * 1024**2),
        ("64B", units.SIZE, 64),
        ("25.6 GB/s", units.BANDWIDTH, 25_600_000_000),
        ("16 Gbit/s", units.BANDWIDTH, 2_000_000_000),
        ("1 GiB/s", units.BANDWIDTH, 1024**3),
        ("1 GHz", units.FREQUENCY, 10**9),
        ("1e9 Hz", units.FREQUENCY, 10**9),
        ("100 ns", units.TIME, Fraction(1, 10**7)),
        ("1/3 ns", units.TIME, Fraction(1, 3 * 10**9)),
        ("0.5 µs", units.TIME, Fraction(1, 2 * 10**6)),
        ("0.153 pJ", units.ENERGY, Fraction(153, 10**15)),
        ("153 fJ", units.ENERGY, Fraction(153, 10**15)),
        ("4 pJ/bit", units.ENERGY_PER_BIT, Fraction(4, 10**12)),
        ("32 pJ/B", units.ENERGY_PER_BIT, Fraction(4, 10**12)),
        ("282 um2", units.AREA, Fraction(282, 10**12)),
        ("331 mm2", units.AREA, Fraction(331, 10**6)),
        ("25 mW", units.POWER, Fraction(25, 1000)),
        ("28 W", units.POWER, 28),
        ("20 mW/mm2", units.POWER_PER_AREA, 20_000),
        ("28 nm", units.LENGTH, Fraction(28, 10**9)),
        ("0.9 V", units.VOLTAGE, Fraction(9, 10)),
    ],
)
def test_parses_exactly(text: str, dimension: units.Dimension, value: Fraction) -> None:
    assert parse_quantity(text, dimension) == value


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda d: d.name)
def test_every_example_parses_and_comes_back(dimension: units.Dimension) -> None:
    value = parse_quantity(dimension.example, dimension)
    assert value > 0
    assert parse_quantity(format_quantity(value, dimension), dimension) == value


@given(st.sampled_from(DIMENSIONS), st.fractions())
def test_formatting_loses_nothing(dimension: units.Dimension, value: Fraction) -> None:
    assert parse_quantity(format_quantity(value, dimension), dimension) == value


@given(st.integers(min_value=1, max_value=2**62))
def test_whole_sizes_come_back(size: int) -> None:
    assert parse_quantity(format_quantity(size, units.SIZE), units.SIZE) == size


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (524_288, units.SIZE, "512 KiB"),
        (25_600_000_000, units.BANDWIDTH, "25.6 GB/s"),
        (10**9, units.FREQUENCY, "1 GHz"),
        (Fraction(1, 10**7), units.TIME, "100 ns"),
        (Fraction(3046875, 10**17), units.ENERGY_PER_BIT, "30.46875 pJ/bit"),
        (0, units.TIME, "0 ns"),
    ],
)
def test_writes_the_handy_unit(value: Fraction, dimension: units.Dimension, text: str) -> None:
    assert format_quantity(value, dimension) == text


@pytest.mark.parametrize("value", [256, 1e9, Fraction(1, 2), "256", " 1e9 "])
def test_a_bare_number_is_an_error_with_the_cure(value: object) -> None:
    with pytest.raises(QuantityError, match=r"has no unit.*write it with its unit.*'256 KiB'"):
        parse_quantity(value, units.SIZE)


@pytest.mark.parametrize(
    ("text", "dimension", "meant"),
    [
        ("256 kib", units.SIZE, "did you mean 'KiB'"),
        ("256 KB", units.SIZE, "did you mean 'kB'"),
        ("1 ghz", units.FREQUENCY, "did you mean 'GHz'"),
        ("25.6 GBps", units.BANDWIDTH, "did you mean 'GB/s'"),
        ("1 parsec", units.TIME, "use one of fs, ps, "),
    ],
)
def test_an_unknown_unit_is_an_error_with_a_suggestion(
    text: str, dimension: units.Dimension, meant: str
) -> None:
    with pytest.raises(QuantityError, match=meant):
        parse_quantity(text, dimension)


def test_case_that_fits_two_units_names_both() -> None:
    with pytest.raises(QuantityError, match="did you mean 'mB' or 'MB'"):
        parse_quantity("3 mb", TWO)


@pytest.mark.parametrize("value", ["", "KiB", "many KiB", None, True, [1], "1/0 KiB", "nan KiB"])
def test_what_is_no_quantity_is_an_error(value: object) -> None:
    with pytest.raises(QuantityError):
        parse_quantity(value, units.SIZE)


def test_a_huge_exponent_is_refused_before_it_is_computed() -> None:
    with pytest.raises(QuantityError):
        parse_quantity("1e999999999 B", units.SIZE)


@pytest.mark.parametrize(
    ("value", "ratio"),
    [(0.8, Fraction(4, 5)), (0.1, Fraction(1, 10)), ("1/3", Fraction(1, 3)), (1, Fraction(1))],
)
def test_ratios_are_the_decimals_they_look_like(value: object, ratio: Fraction) -> None:
    assert parse_ratio(value) == ratio


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_finite_float_is_a_ratio(value: float) -> None:
    assert float(parse_ratio(value)) == value


@pytest.mark.parametrize("value", ["half", "", None, True, float("nan"), float("inf"), "0.5 GB"])
def test_what_is_no_ratio_is_an_error(value: object) -> None:
    with pytest.raises(QuantityError, match="is not a number"):
        parse_ratio(value)


@given(st.fractions())
def test_numbers_are_written_exactly(value: Fraction) -> None:
    assert Fraction(format_number(value)) == value


def test_decimals_are_preferred_where_they_end() -> None:
    assert format_number(Fraction(-1, 8)) == "-0.125"
    assert format_number(Fraction(1, 3)) == "1/3"
    assert format_number(7) == "7"

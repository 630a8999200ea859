"""Quantities with units, read and written exactly.

`parse_quantity("25.6 GB/s", BANDWIDTH)` is the fraction 25 600 000 000 (bytes per
second); `format_quantity` writes it back, and nothing is lost on the way. Decimal
prefixes are powers of 1000 (SI), `Ki`, `Mi`, ... powers of 1024 (IEC 80000-13);
upper and lower case differ, as they do there.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from lspsim.errors import LspsimError

_NUMBER = re.compile(
    r"""[+-]?(?:
        \d{1,400}/\d{1,400}                                        # 1/3
        |(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][+-]?\d{1,2})?  # 25.6, 1e9
    )""",
    re.VERBOSE,
)


class QuantityError(LspsimError, ValueError):
    """A text is not the quantity that is needed.

    Parameters
    ----------
    what
        What is wrong with it.
    cure
        How to mend it.
    """

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(f"{what}; {cure}")
        self.what = what
        self.cure = cure


@dataclass(frozen=True, slots=True, eq=False)
class Dimension:
    """A kind of quantity and the units it may be written in."""

    name: str
    """What is measured, in words: `bandwidth`."""
    base: str
    """The unit that parsed numbers are in: `B/s`."""
    units: Mapping[str, Fraction]
    """Accepted unit -> its size in the base unit; the first of equals is preferred."""
    example: str
    """A well-formed quantity, for error messages."""


def _prefixed(symbol: str, prefixes: str) -> dict[str, Fraction]:
    """`symbol` under the given SI prefixes (`-` = none)."""
    power = {"f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "-": 0, "k": 3, "M": 6, "G": 9, "T": 12}
    return {
        ("" if prefix == "-" else prefix) + symbol: Fraction(10) ** power[prefix]
        for prefix in prefixes
    }


def _per(
    numerators: Mapping[str, Fraction], denominators: Mapping[str, int | Fraction]
) -> dict[str, Fraction]:
    """Every numerator unit over every denominator unit."""
    return {
        f"{above}/{below}": size / part
        for below, part in denominators.items()
        for above, size in numerators.items()
    }


_BINARY = {f"{p}iB": Fraction(1024) ** n for n, p in enumerate("KMGT", start=1)}
_BYTES = {"B": Fraction(1), **_BINARY, **_prefixed("B", "kMGT")}
_ENERGY = _prefixed("J", "fpnum-k")
_AREA = {"um2": Fraction(1, 10**12), "mm2": Fraction(1, 10**6), "nm2": Fraction(1, 10**18)}
_POWER = _prefixed("W", "fpnum-k")
_BIT = {"bit": 1, "B": 8}

SIZE = Dimension("size", "B", _BYTES, "256 KiB")
TIME = Dimension("time", "s", _prefixed("s", "fpnum-"), "100 ns")
FREQUENCY = Dimension("frequency", "Hz", _prefixed("Hz", "-kMGT"), "1 GHz")
BANDWIDTH = Dimension(
    "bandwidth",
    "B/s",
    {
        **_per(_BYTES, {"s": 1}),
        **{f"{bits}/s": size / 8 for bits, size in _prefixed("bit", "-kMGT").items()},
    },
    "25.6 GB/s",
)
ENERGY = Dimension("energy", "J", _ENERGY, "0.153 pJ")
ENERGY_PER_BIT = Dimension("energy per bit", "J/bit", _per(_ENERGY, _BIT), "4 pJ/bit")
AREA = Dimension("area", "m2", {**_AREA, "m2": Fraction(1)}, "282 um2")
AREA_PER_BIT = Dimension("area per bit", "m2/bit", _per(_AREA, _BIT), "0.3 um2/bit")
POWER = Dimension("power", "W", _POWER, "25 mW")
POWER_PER_AREA = Dimension("power per area", "W/m2", _per(_POWER, _AREA), "20 mW/mm2")
POWER_PER_BIT = Dimension("power per bit", "W/bit", _per(_POWER, _BIT), "10 pW/bit")
LENGTH = Dimension("length", "m", _prefixed("m", "num-"), "28 nm")
VOLTAGE = Dimension("voltage", "V", _prefixed("V", "m-"), "0.9 V")


@lru_cache(maxsize=4096)
def _parse(text: str, dimension: Dimension) -> Fraction:
    stripped = text.strip()
    match = _NUMBER.match(stripped)
    if match is None:
        raise QuantityError(
            f"{text!r} is not a {dimension.name}",
            f"write a number and a unit, such as {dimension.example!r}",
        )
    unit = stripped[match.end() :].strip().replace("µ", "u").replace("μ", "u")
    if not unit:
        raise QuantityError(
            f"{text!r} has no unit, and a {dimension.name} needs one",
            f"write it with its unit, such as {dimension.example!r}",
        )
    size = dimension.units.get(unit)
    if size is None:
        raise QuantityError(f"{unit!r} is not a unit of {dimension.name}", _advice(unit, dimension))
    return _number(match.group()) * size


def _number(text: str) -> Fraction:
    try:
        return Fraction(text)
    except ZeroDivisionError:
        raise QuantityError(f"{text!r} divides by zero", "write a finite number") from None


def _advice(unit: str, dimension: Dimension) -> str:
    """Which unit was meant: another case first, then the closest spelling."""
    same = [known for known in dimension.units if known.casefold() == unit.casefold()]
    near = same or difflib.get_close_matches(unit, list(dimension.units), n=2, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(repr(known) for known in near)}?"
    return f"use one of {', '.join(dimension.units)}"


def parse_quantity(value: object, dimension: Dimension) -> Fraction:
    """Read a quantity.

    Parameters
    ----------
    value
        A text of a number and a unit, such as `"256 KiB"`; the number may also be a
        ratio (`"1/3 ns"`).
    dimension
        What is being measured.

    Returns
    -------
    Fraction
        The exact value in `dimension.base`.

    Raises
    ------
    QuantityError
        If the text is malformed, its unit is unknown, or a number came without a unit.
    """
    if isinstance(value, str):
        return _parse(value, dimension)
    if isinstance(value, int | float | Fraction) and not isinstance(value, bool):
        raise QuantityError(
            f"the bare number {value} has no unit, and a {dimension.name} needs one",
            f"write it with its unit, such as {dimension.example!r}",
        )
    raise QuantityError(
        f"{value!r} is not a {dimension.name}",
        f"write a number and a unit, such as {dimension.example!r}",
    )


def parse_ratio(value: object) -> Fraction:
    """Read a plain number exactly: an int, a Fraction, or a decimal such as 0.8 or `"1/3"`.

    A float is taken for the shortest decimal that denotes it (0.1 is one tenth).

    Raises
    ------
    QuantityError
        If it is not a finite plain number.
    """
    if isinstance(value, int | Fraction) and not isinstance(value, bool):
        return Fraction(value)
    if isinstance(value, str):
        text = value.strip()
    elif isinstance(value, float):
        text = repr(value)
    else:
        text = ""
    if _NUMBER.fullmatch(text) is not None:
        return _number(text)
    if isinstance(value, float) and math.isfinite(value):
        return Fraction(text)
    raise QuantityError(f"{value!r} is not a number", "write a plain number, such as 0.8 or '1/3'")


def format_number(value: int | Fraction) -> str:
    """Write a number exactly: as a decimal where that ends, else as `p/q`."""
    fraction = Fraction(value)
    rest, twos, fives = fraction.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    digits = max(twos, fives)
    if rest != 1 or digits > 40:
        return f"{fraction.numerator}/{fraction.denominator}"
    if digits == 0:
        return str(fraction.numerator)
    scaled = abs(fraction.numerator) * 10**digits // fraction.denominator
    text = str(scaled).rjust(digits + 1, "0")
    return f"{'-' if fraction < 0 else ''}{text[:-digits]}.{text[-digits:]}"


@lru_cache(maxsize=4096)
def format_quantity(value: int | Fraction, dimension: Dimension) -> str:
    """Write a quantity exactly, with the unit that gives the handiest number.

    That is one from 1 to 9999 where there is one, and of those the shortest; per bit,
    per second, ... as in the dimension's example.

    Parameters
    ----------
    value
        In `dimension.base`.
    dimension
        What is being measured.

    Returns
    -------
    str
        Such that `parse_quantity` gives `value` back.
    """
    if value == 0:
        return f"0 {dimension.example.split()[1]}"
    exact = Fraction(value)
    best = ""
    best_rank = (True, 0, True)
    below = "".join(dimension.example.partition("/")[1:])
    for unit, size in dimension.units.items():
        if not unit.endswith(below):
            continue
        number = format_number(exact / size)
        rank = (not 1 <= abs(exact / size) < 10_000, len(number), abs(exact) < size)
        if not best or rank < best_rank:
            best, best_rank = f"{number} {unit}", rank
    return best

"""Field types of the configuration files: quantities, ratios, sourced constants.

Use them as annotations of pydantic models:

>>> class Multiplier(Record):
...     energy: Sourced[Energy] = Field(description="Energy of one multiplication")

A `Quantity` is written as text with a unit and held as an exact number in SI base
units; a `Sourced` quantity also says where its value comes from and, where that is
uncertain, between which bounds it lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from lspsim import units
from lspsim.units import Dimension, QuantityError


class Record(BaseModel):
    """Base of everything read from a configuration file: frozen, no unknown keys.

    Attributes carry their unit in their name where the file's key does not
    (`clock_hz` is the key `clock`); the key is the field's alias.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_alias=True, validate_by_name=False
    )


@dataclass(frozen=True, slots=True)
class Unit:
    """Annotation of a field that is written as a bare number of one fixed unit."""

    name: str
    """The unit, as docs and tables print it: `cycles`."""


class Quantity:
    """Annotation of a field that is written as a number with a unit.

    Parameters
    ----------
    dimension
        What is measured; the field holds it in `dimension.base`.
    whole
        The field is an int: fractions of the base unit are an error.
    positive
        Zero is an error; below zero always is.
    high
        Largest value accepted, as a quantity.
    """

    def __init__(
        self,
        dimension: Dimension,
        *,
        whole: bool = False,
        positive: bool = False,
        high: str | None = None,
    ) -> None:
        self.dimension = dimension
        self.whole = whole
        self.positive = positive
        self.high = None if high is None else units.parse_quantity(high, dimension)

    def parse(self, value: object) -> int | Fraction:
        """Read and check one value (`QuantityError` if it is not accepted)."""
        number = units.parse_quantity(value, self.dimension)
        name = self.dimension.name
        if number < 0 or (self.positive and number == 0):
            bound = "more than" if self.positive else "at least"
            raise QuantityError(f"{value} is out of range", f"a {name} here is {bound} 0")
        if self.high is not None and number > self.high:
            raise QuantityError(
                f"{value} is out of range",
                f"a {name} here is at most {units.format_quantity(self.high, self.dimension)}",
            )
        if not self.whole:
            return number
        if number.denominator != 1:
            raise QuantityError(
                f"{value} is not a whole number of {self.dimension.base}",
                f"round it to whole {self.dimension.base}",
            )
        return number.numerator

    def format(self, value: int | Fraction) -> str:
        """Write a value back with its unit."""
        return units.format_quantity(value, self.dimension)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Let pydantic call `parse` and `format`."""
        return core_schema.no_info_plain_validator_function(
            self.parse, serialization=core_schema.plain_serializer_function_ser_schema(self.format)
        )


class Ratio:
    """Annotation of a plain number that is kept exact: 0.8 is four fifths.

    Parameters
    ----------
    high
        Largest value accepted; the smallest is anything above 0.
    """

    def __init__(self, high: int) -> None:
        self.high = high

    def parse(self, value: object) -> Fraction:
        """Read and check one value (`QuantityError` if it is not accepted)."""
        number = units.parse_ratio(value)
        if not 0 < number <= self.high:
            raise QuantityError(
                f"{value} is out of range", f"it must be more than 0 and at most {self.high}"
            )
        return number

    def format(self, value: int | Fraction) -> float | str:
        """Write a value back: as a decimal where that is exact, else as `"p/q"`."""
        decimal = float(value)
        return decimal if units.parse_ratio(decimal) == value else units.format_number(value)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Let pydantic call `parse` and `format`."""
        return core_schema.no_info_plain_validator_function(
            self.parse, serialization=core_schema.plain_serializer_function_ser_schema(self.format)
        )


Bytes = Annotated[int, Quantity(units.SIZE, whole=True, positive=True, high="1024 TiB")]
"""int, bytes."""
Hertz = Annotated[int, Quantity(units.FREQUENCY, whole=True, positive=True, high="1 THz")]
"""int, Hz."""
BytesPerSecond = Annotated[
    int, Quantity(units.BANDWIDTH, whole=True, positive=True, high="1000 TB/s")
]
"""int, bytes per second."""
Seconds = Annotated[Fraction, Quantity(units.TIME, high="1 s")]
"""Fraction, s."""
Share = Annotated[Fraction, Ratio(high=1)]
"""Fraction in (0, 1]."""
Energy = Annotated[Fraction, Quantity(units.ENERGY)]
"""Fraction, J."""
EnergyPerBit = Annotated[Fraction, Quantity(units.ENERGY_PER_BIT)]
"""Fraction, J per bit."""
Area = Annotated[Fraction, Quantity(units.AREA)]
"""Fraction, m2."""
AreaPerBit = Annotated[Fraction, Quantity(units.AREA_PER_BIT)]
"""Fraction, m2 per bit."""
Power = Annotated[Fraction, Quantity(units.POWER)]
"""Fraction, W."""
PowerPerArea = Annotated[Fraction, Quantity(units.POWER_PER_AREA)]
"""Fraction, W per m2."""
PowerPerBit = Annotated[Fraction, Quantity(units.POWER_PER_BIT)]
"""Fraction, W per bit."""
Length = Annotated[Fraction, Quantity(units.LENGTH, positive=True)]
"""Fraction, m."""
Voltage = Annotated[Fraction, Quantity(units.VOLTAGE, positive=True)]
"""Fraction, V."""

Q = TypeVar("Q", bound=Fraction)


class Sourced(Record, Generic[Q]):
    """A constant, where it comes from, and how uncertain it is."""

    value: Q = Field(description="The value that is used")
    low: Q | None = Field(default=None, description="Lower bound, where the value is uncertain")
    high: Q | None = Field(default=None, description="Upper bound, where the value is uncertain")
    source: str = Field(min_length=1, description="Where the value comes from")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, value, high = self.band
        if not low <= value <= high:
            raise QuantityError(
                "the value does not lie between low and high", "make it low <= value <= high"
            )
        return self

    @property
    def band(self) -> tuple[Q, Q, Q]:
        """`(low, value, high)`; a bound that is not given is the value itself."""
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        return low, self.value, high

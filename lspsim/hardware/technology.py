"""What one action costs at a process node: energies, areas, leakage.

A technology file (`hw_configs/technology/*.yaml`, schema `lspsim/technology/v1`)
holds published points and what was derived from them, each with its source and,
where it is uncertain, its bounds. docs/energy.md explains every value. Off-chip
memory is no part of it: its energy does not shrink with the node, so it is in
the hardware file (`memory.dram.energy`).
"""

from __future__ import annotations

import itertools
import math
from functools import cached_property, lru_cache
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple

from pydantic import Field

from lspsim.errors import ConfigError
from lspsim.hardware import presets, problems
from lspsim.hardware.files import read_record
from lspsim.hardware.sourced import (
    Area,
    AreaPerBit,
    Bytes,
    Energy,
    EnergyPerBit,
    Length,
    PowerPerArea,
    Q,
    Record,
    Sourced,
)

SCHEMA = "lspsim/technology/v1"
"""What every technology file says in its `schema` key."""

WORD_BITS = 64
"""Width of the SRAM access that the published energies are for."""


class Band(NamedTuple):
    """A value between its bounds, in the unit of the thing it belongs to."""

    low: float
    value: float
    high: float

    def times(self, factor: float) -> Band:
        """Every member times `factor` (>= 0)."""
        return Band(self.low * factor, self.value * factor, self.high * factor)

    def plus(self, other: Band) -> Band:
        """Sum member by member: bounds add up as if all erred the same way."""
        return Band(self.low + other.low, self.value + other.value, self.high + other.high)


ZERO = Band(0.0, 0.0, 0.0)


class Constant(Sourced[Q], Generic[Q]):
    """A sourced constant whose band is read often."""

    @cached_property
    def pico(self) -> Band:
        """Band in 1e-12 of its SI unit: pJ, pJ/bit, um2 or um2/bit."""
        return pico(self)


class Arithmetic(Record, Generic[Q]):
    """One constant per operation: what it takes, or how large its unit is."""

    int8_multiply: Constant[Q] = Field(description="8 x 8 bit integer product")
    int8_add: Constant[Q] = Field(description="8-bit integer sum")
    int32_add: Constant[Q] = Field(description="32-bit integer sum")
    bf16_multiply: Constant[Q] = Field(description="bfloat16 product")
    bf16_add: Constant[Q] = Field(description="bfloat16 sum")
    fp16_multiply: Constant[Q] = Field(description="IEEE half-precision product")
    fp32_multiply: Constant[Q] = Field(description="IEEE single-precision product")
    fp32_add: Constant[Q] = Field(description="IEEE single-precision sum")


class SramPoint(Record):
    """One published SRAM access energy."""

    capacity_bytes: Bytes = Field(alias="capacity", description="Capacity of the bank")
    access: Constant[Energy] = Field(description="One 64-bit read or write")


class Sram(Record):
    """Published points of the energy of one SRAM bank, capacities ascending."""

    small: SramPoint = Field(description="Smallest published bank")
    medium: SramPoint = Field(description="A bank between the two others")
    large: SramPoint = Field(description="Largest published bank")

    @property
    def points(self) -> tuple[SramPoint, ...]:
        """The points, capacities ascending."""
        return self.small, self.medium, self.large


class Registers(Record):
    """Energy of a flip-flop, per bit."""

    move: Constant[EnergyPerBit] = Field(
        description="A pipeline register takes a new bit and drives it to the next cell"
    )
    clock: Constant[EnergyPerBit] = Field(
        description="Flip-flop and clock tree, each clock, whether the bit changes or not"
    )


class Areas(Record):
    """Silicon area of the building blocks."""

    arithmetic: Arithmetic[Area] = Field(description="Multipliers and adders")
    register_bit: Constant[AreaPerBit] = Field(alias="register", description="One flip-flop")
    multiplexer_bit: Constant[AreaPerBit] = Field(
        alias="multiplexer", description="One bit of a 2:1 multiplexer"
    )
    sram_bit: Constant[AreaPerBit] = Field(
        alias="sram", description="One SRAM bit with its share of decoders and wiring"
    )


class SramAccess(NamedTuple):
    """Energy of one 64-bit SRAM access."""

    energy_pj: Band
    extrapolated: bool
    """The capacity lies outside the published points."""


class Technology(Record):
    """Energies and areas at one process node. Get one with `load_technology`."""

    schema_: Literal["lspsim/technology/v1"] = Field(
        alias="schema", description="Version of this format", examples=[SCHEMA]
    )
    name: Annotated[str, Field(strict=True, min_length=1)] = Field(description="Short name")
    description: Annotated[str, Field(strict=True)] = Field(default="", description="What it is")
    node_m: Length = Field(alias="node", description="Feature size", examples=["28 nm"])
    arithmetic: Arithmetic[Energy] = Field(description="Energy of multiplications and additions")
    sram: Sram = Field(description="Energy of a 64-bit access, over the bank's capacity")
    registers: Registers = Field(description="Energy of flip-flops")
    multiplexer: Constant[EnergyPerBit] = Field(
        description="Energy of one bit through one 2:1 multiplexer"
    )
    noc: Constant[EnergyPerBit] = Field(description="Energy from one core to its neighbour")
    leakage: Constant[PowerPerArea] = Field(description="Static power of placed silicon")
    area: Areas = Field(description="Areas")

    def sram_access(self, capacity_bytes: float) -> SramAccess:
        """Energy of one 64-bit access to a bank.

        Log-log in capacity between the two nearest published points, and along the
        outermost segment beyond them.

        Parameters
        ----------
        capacity_bytes
            Capacity of the bank, > 0.

        Returns
        -------
        SramAccess
            Energy in pJ, and whether it was extrapolated.
        """
        points = self.sram.points
        inner = capacity_bytes <= self.sram.medium.capacity_bytes
        below, above = points[:2] if inner else points[1:]
        low, value, high = (
            log_log(
                capacity_bytes, (below.capacity_bytes, e_below), (above.capacity_bytes, e_above)
            )
            for e_below, e_above in zip(below.access.pico, above.access.pico, strict=True)
        )
        energy = Band(min(low, value), value, max(high, value))
        ends = points[0].capacity_bytes, points[-1].capacity_bytes
        return SramAccess(energy, not ends[0] <= capacity_bytes <= ends[1])


def log_log(x: float, first: tuple[float, float], second: tuple[float, float]) -> float:
    """Value at `x` of the power law through two points `(x, y)`, all > 0.

    The rule by which energies are carried between nodes and SRAM capacities.
    """
    (x1, y1), (x2, y2) = first, second
    return float(y1 * math.exp(math.log(y2 / y1) * math.log(x / x1) / math.log(x2 / x1)))


def multiplier(table: Arithmetic[Any], number: str, bits: tuple[int, int]) -> Band:
    """Cost of a multiplication of operands of `bits`: pJ, or um2 from a table of areas.

    Array multipliers grow with the product of their operands' widths: from the 8-bit
    integer, or for floats from bfloat16 up to 16 bits and single precision above.
    """
    if number == "int":
        return table.int8_multiply.pico.times(math.prod(bits) / 64)
    if max(bits) <= 16:
        return table.bf16_multiply.pico.times(math.prod(bits) / 256)
    return table.fp32_multiply.pico.times(math.prod(bits) / 1024)


def adder(table: Arithmetic[Any], number: str, bits: int) -> Band:
    """Cost of an addition of `bits`: pJ, or um2 from a table of areas.

    Adders grow with their width; integers up to 8 bits from the 8-bit sum.
    """
    if number == "int":
        return (
            table.int8_add.pico.times(bits / 8)
            if bits <= 8
            else table.int32_add.pico.times(bits / 32)
        )
    if bits <= 16:
        return table.bf16_add.pico.times(bits / 16)
    return table.fp32_add.pico.times(bits / 32)


def pico(constant: Sourced[Any]) -> Band:
    """Band of any constant in 1e-12 of its SI unit: pJ, pJ/bit, um2 or um2/bit."""
    return Band(*(float(x * 10**12) for x in constant.band))


def _sram_ascends(technology: Technology) -> tuple[str, str] | None:
    """Interpolation in capacity needs ascending capacities."""
    points = technology.sram.points
    if all(a.capacity_bytes < b.capacity_bytes for a, b in itertools.pairwise(points)):
        return None
    return "the SRAM capacities do not ascend", "order them small < medium < large"


def _sram_costs(technology: Technology) -> tuple[str, str] | None:
    """Interpolation in logarithms needs energies above 0."""
    if all(point.access.band[0] > 0 for point in technology.sram.points):
        return None
    return "an SRAM access costs nothing", "write the energy of one 64-bit access"


CHECKS = (
    problems.Check(("sram",), _sram_ascends),
    problems.Check(("sram",), _sram_costs),
)
"""Rules that span several fields of a technology."""


def load_technology(name_or_path: str | PathLike[str]) -> Technology:
    """Read a technology.

    Parameters
    ----------
    name_or_path
        Name of one in `hw_configs/technology` (`28nm`), or the path of a YAML file.

    Returns
    -------
    Technology
        Validated; frozen. The same object for the same unchanged file.

    Raises
    ------
    ConfigError
        If there is no such technology, or if anything in it is wrong: all mistakes are
        named at once, each with file, line and column.
    """
    if isinstance(name_or_path, str):
        path = presets.technology_path(name_or_path)
        if not presets.is_path(name_or_path) and not path.is_file():
            known = presets.technology_names()
            near = problems.suggest(name_or_path, known)
            meant = f"did you mean {near!r}? " if near else ""
            raise ConfigError(
                f"there is no technology {name_or_path!r}; {meant}known: {', '.join(known)}"
            )
    else:
        path = Path(name_or_path)
    return _read(path, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=16)
def _read(path: Path, changed_ns: int) -> Technology:
    """Read and check one file; `changed_ns` tells versions of it apart."""
    return read_record(path, Technology, CHECKS)

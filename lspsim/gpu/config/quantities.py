"""Field types that only GPU files have: compute rates, energy per operation and per byte."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from lspsim.hardware.sourced import Quantity, Ratio
from lspsim.units import (
    BANDWIDTH,
    ENERGY,
    FREQUENCY,
    POWER,
    SIZE,
    TIME,
    Dimension,
)

_TERA = Fraction(10) ** 12

COMPUTE_RATE = Dimension(
    "compute rate",
    "FLOP/s",
    {
        "TFLOP/s": _TERA,
        "PFLOP/s": 1000 * _TERA,
        "GFLOP/s": _TERA / 1000,
        "FLOP/s": Fraction(1),
    },
    "312 TFLOP/s",
)
"""Floating-point operations per second; a multiply-accumulate is two."""
ENERGY_PER_FLOP = Dimension(
    "energy per operation",
    "J/FLOP",
    {f"{unit}/FLOP": size for unit, size in ENERGY.units.items()},
    "0.5 pJ/FLOP",
)
ENERGY_PER_BYTE = Dimension(
    "energy per byte",
    "J/B",
    {f"{unit}/B": size for unit, size in ENERGY.units.items()},
    "48 pJ/B",
)

ComputeRate = Annotated[Fraction, Quantity(COMPUTE_RATE, positive=True)]
"""Fraction, FLOP/s."""
EnergyPerFlop = Annotated[Fraction, Quantity(ENERGY_PER_FLOP)]
"""Fraction, J/FLOP."""
EnergyPerByte = Annotated[Fraction, Quantity(ENERGY_PER_BYTE)]
"""Fraction, J/B."""
Bandwidth = Annotated[Fraction, Quantity(BANDWIDTH, positive=True)]
"""Fraction, B/s."""
Capacity = Annotated[Fraction, Quantity(SIZE, positive=True)]
"""Fraction, B."""
Frequency = Annotated[Fraction, Quantity(FREQUENCY, positive=True)]
"""Fraction, Hz."""
Duration = Annotated[Fraction, Quantity(TIME, high="1 ms")]
"""Fraction, s: what a kernel or a thread block costs besides its work."""
Watts = Annotated[Fraction, Quantity(POWER, positive=True)]
"""Fraction, W."""
Count = Annotated[Fraction, Ratio(high=4096)]
"""Fraction that is a whole number: how many of something a GPU has."""
Efficiency = Annotated[Fraction, Ratio(high=1)]
"""Fraction in (0, 1]: what part of a peak is reached."""
Factor = Annotated[Fraction, Ratio(high=100)]
"""Fraction in (0, 100]."""

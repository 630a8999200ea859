"""Silicon area of a chip: building blocks times their areas (docs/energy.md, "Area")."""

from __future__ import annotations

from dataclasses import dataclass

from lspsim.hardware.schema import Hardware
from lspsim.hardware.technology import ZERO, Band, adder, multiplier

COMPONENTS: tuple[str, ...] = (
    "processing_elements",
    "accumulators",
    "weight_buffer",
    "activation_buffer",
    "vector",
    "noc",
    "index",
)
"""Parts of the chip, in the order of `area_mm2`; `index` is what skipping needs."""

GATHER_WAYS = 4
"""Inputs of a gather multiplexer (docs/model.md, "Live tiles and packing") that `k-compact`
hardware has for sub-blocks of a quarter of the array's height. The finest blocks need
more, blocks of the array's height none: energy takes 2 as its low, `rows` as its high."""

SKIP_ADDERS = 4
SKIP_REGISTER_BITS = 256
"""What one core's index decoder holds besides its buffer: two address generators, a
population count and a tile counter of 32 bits each, and four 64-bit registers. An
estimate of this model, not a published figure."""

LANE_REGISTERS = 3
"""Pipeline registers of a vector lane: two operands and a result."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Storage of a whole chip, in bits."""

    register_bits: int
    """Flip-flops of processing elements, vector lanes, index decoders and NoC stops."""
    accumulator_bits: int
    weight_buffer_bits: int
    activation_buffer_bits: int


def footprint(hardware: Hardware) -> Footprint:
    """Count the chip's storage.

    A processing element has an activation register, a weight register and its shadow
    (weights are double-buffered), and a partial-sum register. Every array column has
    two accumulator banks.
    """
    precision, cores, array = hardware.precision, hardware.cores, hardware.array
    return Footprint(
        register_bits=hardware.macs_per_cycle * _cell_register_bits(hardware)
        + cores * hardware.vector.lanes * LANE_REGISTERS * hardware.vector.bits
        + (cores * SKIP_REGISTER_BITS if array.sparsity == "block" else 0)
        + 2 * _noc_bits(hardware),
        accumulator_bits=cores
        * 2
        * array.accumulator_rows
        * array.cols
        * precision.accumulator_bits,
        weight_buffer_bits=8 * cores * hardware.buffers.weight_bytes,
        activation_buffer_bits=8 * cores * hardware.buffers.activation_bytes,
    )


def area_mm2(hardware: Hardware) -> dict[str, Band]:
    """Area of a chip in mm2, with bounds.

    Parameters
    ----------
    hardware
        The chip; areas come from its technology.

    Returns
    -------
    dict[str, Band]
        One band per entry of `COMPONENTS`, and their sum as `total`. Pads, DRAM
        interface and control processor are left out.
    """
    table, p = hardware.technology.area, hardware.precision
    register, mux = table.register_bit.pico, table.multiplexer_bit.pico
    sram = table.sram_bit.pico
    stored = footprint(hardware)
    operands = (p.weight_bits, p.activation_bits)
    cell = (
        multiplier(table.arithmetic, p.number, operands)
        .plus(adder(table.arithmetic, p.number, p.accumulator_bits))
        .plus(register.times(_cell_register_bits(hardware)))
    )
    bits = hardware.vector.bits
    lane = (
        multiplier(table.arithmetic, "float", (bits, bits))
        .plus(adder(table.arithmetic, "float", bits))
        .plus(register.times(LANE_REGISTERS * bits))
    )
    index = ZERO
    if hardware.array.sparsity == "block":
        index = register.times(SKIP_REGISTER_BITS).plus(
            adder(table.arithmetic, "int", 32).times(SKIP_ADDERS)
        )
    if hardware.array.packing == "k-compact":
        words = hardware.array.rows * p.activation_bits * (GATHER_WAYS - 1)
        index = index.plus(mux.times(words))
    parts = (
        cell.times(hardware.macs_per_cycle),
        sram.times(stored.accumulator_bits),
        sram.times(stored.weight_buffer_bits),
        sram.times(stored.activation_buffer_bits),
        lane.times(hardware.cores * hardware.vector.lanes),
        register.times(2).plus(mux).times(_noc_bits(hardware)),
        index.times(hardware.cores),
    )
    areas = {name: part.times(1e-6) for name, part in zip(COMPONENTS, parts, strict=True)}
    total = ZERO
    for area in areas.values():
        total = total.plus(area)
    return {**areas, "total": total}


def _cell_register_bits(hardware: Hardware) -> int:
    precision = hardware.precision
    return precision.activation_bits + 2 * precision.weight_bits + precision.accumulator_bits


def _noc_bits(hardware: Hardware) -> int:
    """Width of all NoC stops: each passes on its whole bandwidth in every cycle.

    One core has nobody to talk to, and no stop.
    """
    if hardware.noc is None or hardware.cores == 1:
        return 0
    per_clock = -(-hardware.noc.bandwidth_bytes_per_s // hardware.clock_hz)
    return hardware.cores * 8 * per_clock

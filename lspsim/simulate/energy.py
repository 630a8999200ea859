"""Energy: exact action counts times cited constants, plus static power times time.

docs/energy.md gives every constant's source and derivation. All constants of one
chip are laid out once as arrays, so that the energies of a whole network are one
product `counts @ constants`.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lspsim.arrays import FloatArray, IntArray
from lspsim.hardware.schema import Hardware
from lspsim.hardware.technology import (
    WORD_BITS,
    ZERO,
    Band,
    Technology,
    adder,
    multiplier,
    pico,
)
from lspsim.simulate.area import GATHER_WAYS, area_mm2, footprint
from lspsim.simulate.columns import COUNTS

Counts = IntArray | FloatArray | Mapping[str, IntArray]
"""Actions: a matrix in the order of `COUNTS`, or an array per name."""

COMPONENTS: tuple[str, ...] = (
    "mac",
    "array_registers",
    "weight_buffer",
    "activation_buffer",
    "accumulator",
    "vector",
    "index",
    "dram",
    "noc",
    "clock",
    "leakage",
)
"""Where energy goes, in the order of every components axis; the last two are static."""

DYNAMIC = len(COMPONENTS) - 2

LOW, NOMINAL, HIGH = 0, 1, 2
"""Rows of a bounds axis."""


@dataclass(frozen=True, slots=True, eq=False)
class EnergyConstants:
    """All constants of one chip, as arrays. Get them with `energy_constants`."""

    dynamic_pj: FloatArray
    """`[3, len(COUNTS), len(COMPONENTS)]`: pJ per action; all >= 0; static columns are 0."""
    static_w: FloatArray
    """`[3, len(COMPONENTS)]`: watts; dynamic columns are 0."""
    static_pj_per_cycle: FloatArray
    """`[3, len(COMPONENTS)]`."""
    per_count_pj: FloatArray
    """`[3, len(COUNTS)]`: pJ per action, over all components."""
    extrapolated: tuple[str, ...]
    """SRAMs whose capacity lies outside the published points."""
    area_mm2: Band
    """Area of the whole chip, which leakage is in proportion to."""


_CACHE: dict[int, tuple[weakref.ref[Hardware], EnergyConstants]] = {}


def energy_constants(hardware: Hardware) -> EnergyConstants:
    """Return the constants of a chip; computed once per `Hardware` object."""
    key = id(hardware)
    entry = _CACHE.get(key)
    if entry is not None and entry[0]() is hardware:
        return entry[1]
    constants = _constants(hardware)

    def drop(_: object) -> None:
        _CACHE.pop(key, None)

    _CACHE[key] = (weakref.ref(hardware, drop), constants)
    return constants


def energy_components_pj(
    counts: Counts, cycles: IntArray, hardware: Hardware
) -> tuple[tuple[str, ...], FloatArray]:
    """Energy of each operator by component.

    Parameters
    ----------
    counts
        Actions, `[ops, len(COUNTS)]` in the order of `COUNTS`, or one `[ops]` array by
        name (all of them).
    cycles
        `[ops]`: cycles of each operator, by which static energy is shared out.
    hardware
        The chip.

    Returns
    -------
    tuple[tuple[str, ...], ndarray]
        `COMPONENTS`, and pJ as float64 `[ops, len(COMPONENTS)]`.
    """
    constants = energy_constants(hardware)
    energy = _matrix(counts) @ constants.dynamic_pj[NOMINAL]
    energy += np.multiply.outer(cycles, constants.static_pj_per_cycle[NOMINAL])
    return COMPONENTS, energy


def energy_bounds_pj(counts: Counts, cycles: IntArray, hardware: Hardware) -> FloatArray:
    """Bounds of the energy by component: all constants at their low, value, high at once.

    Parameters
    ----------
    counts, cycles, hardware
        As for `energy_components_pj`.

    Returns
    -------
    ndarray
        pJ as float64 `[3, ops, len(COMPONENTS)]`: low, nominal, high.
    """
    constants = energy_constants(hardware)
    energy = _matrix(counts) @ constants.dynamic_pj
    energy += cycles[None, :, None] * constants.static_pj_per_cycle[:, None, :]
    return np.asarray(energy, dtype=np.float64)


def energy_totals_pj(counts: Counts, cycles_total: int, hardware: Hardware) -> Band:
    """Energy of all operators together, with bounds, in pJ.

    Parameters
    ----------
    counts
        As for `energy_components_pj`.
    cycles_total
        Cycles of the whole run.
    hardware
        The chip.
    """
    constants = energy_constants(hardware)
    actions = _matrix(counts).sum(axis=0)
    static = cycles_total * constants.static_pj_per_cycle.sum(axis=1)
    return Band(*(constants.per_count_pj @ actions + static).tolist())


def _matrix(counts: Counts) -> FloatArray:
    if isinstance(counts, Mapping):
        return np.stack([counts[name] for name in COUNTS], axis=-1).astype(np.float64)
    return counts.astype(np.float64)


def _constants(hardware: Hardware) -> EnergyConstants:
    actions, extrapolated = _actions(hardware)
    dynamic = np.zeros((3, len(COUNTS), len(COMPONENTS)))
    for (count, component), band in actions.items():
        dynamic[:, COUNTS.index(count), COMPONENTS.index(component)] = band
    static = np.zeros((3, len(COMPONENTS)))
    static[:, COMPONENTS.index("clock")] = clock_power_w(hardware)
    static[:, COMPONENTS.index("leakage")] = leakage_power_w(hardware)
    per_cycle = static * (1e12 / hardware.clock_hz)
    per_count = dynamic.sum(axis=2)
    for array in (dynamic, static, per_cycle, per_count):
        array.setflags(write=False)
    area = area_mm2(hardware)["total"]
    return EnergyConstants(dynamic, static, per_cycle, per_count, extrapolated, area)


def clock_power_w(hardware: Hardware) -> Band:
    """Power of flip-flops and clock tree: every register bit, every clock, ungated."""
    bits = footprint(hardware).register_bits
    return hardware.technology.registers.clock.pico.times(1e-12 * bits * hardware.clock_hz)


def leakage_power_w(hardware: Hardware) -> Band:
    """Leakage of the chip: power per area times area, bounds times bounds."""
    per_mm2 = [float(x) * 1e-6 for x in hardware.technology.leakage.band]
    area = area_mm2(hardware)["total"]
    return Band(*(power * size for power, size in zip(per_mm2, area, strict=True)))


def _actions(hardware: Hardware) -> tuple[dict[tuple[str, str], Band], tuple[str, ...]]:
    """PJ of one action, by (count, component), and the extrapolated SRAMs."""
    technology, p, array = hardware.technology, hardware.precision, hardware.array
    arithmetic, move = technology.arithmetic, technology.registers.move.pico
    multiply = multiplier(arithmetic, p.number, (p.weight_bits, p.activation_bits))
    multiplied = "macs_effectual" if array.zero_gating else "macs_executed"
    weight, far_weight = _buffer(
        technology, hardware.buffers.weight_bytes, array.cols * p.weight_bits
    )
    activation, far_activation = _buffer(
        technology, hardware.buffers.activation_bytes, array.rows * p.activation_bits
    )
    accumulator, far_accumulator = _accumulator(hardware)
    lookup = technology.sram_access(technology.sram.small.capacity_bytes).energy_pj
    lane = _lane(technology, hardware.vector.bits)
    dram = pico(hardware.memory.dram.energy).times(8)
    actions = {
        (multiplied, "mac"): multiply,
        ("macs_executed", "mac"): adder(arithmetic, p.number, p.accumulator_bits),
        ("weight_register_shifts", "array_registers"): move.times(p.weight_bits),
        ("activation_hops", "array_registers"): move.times(p.activation_bits),
        ("partial_sum_hops", "array_registers"): move.times(p.accumulator_bits),
        ("weight_buffer_read_bytes", "weight_buffer"): weight,
        ("weight_buffer_write_bytes", "weight_buffer"): weight,
        ("activation_buffer_read_bytes", "activation_buffer"): activation,
        ("activation_buffer_write_bytes", "activation_buffer"): activation,
        ("accumulator_reads", "accumulator"): accumulator,
        ("accumulator_writes", "accumulator"): accumulator,
        ("vector_lane_ops", "vector"): lane,
        ("gather_mux_words", "index"): _gather(hardware),
        ("index_bytes", "index"): lookup.times(8 / WORD_BITS),
        ("dram_read_bytes", "dram"): dram,
        ("dram_write_bytes", "dram"): dram,
        ("noc_bytes", "noc"): technology.noc.pico.times(8),
    }
    if multiplied == "macs_executed":
        actions["macs_executed", "mac"] = multiply.plus(
            adder(arithmetic, p.number, p.accumulator_bits)
        )
    far = {
        "weight buffer": far_weight,
        "activation buffer": far_activation,
        "accumulators": far_accumulator,
    }
    return actions, tuple(name for name, outside in far.items() if outside)


def _buffer(technology: Technology, capacity_bytes: int, port_bits: int) -> tuple[Band, bool]:
    """PJ per byte of a buffer that moves `port_bits` a cycle, and whether extrapolated.

    It takes `port_bits / 64` banks of 64 bits to do so; an access costs what a bank of
    its size costs. High: what one bank of the whole capacity costs.
    """
    banks = math.ceil(port_bits / WORD_BITS)
    bank = technology.sram_access(capacity_bytes / banks)
    whole = technology.sram_access(capacity_bytes).energy_pj
    band = Band(bank.energy_pj.low, bank.energy_pj.value, max(bank.energy_pj.high, whole.high))
    return band.times(8 / WORD_BITS), bank.extrapolated


def _accumulator(hardware: Hardware) -> tuple[Band, bool]:
    """PJ per word of an accumulator bank of one array column, and whether extrapolated.

    High: such a bank costs no less than the smallest published one.
    """
    technology, bits = hardware.technology, hardware.precision.accumulator_bits
    capacity = hardware.array.accumulator_rows * bits / 8
    bank = technology.sram_access(capacity)
    smallest = technology.sram_access(technology.sram.small.capacity_bytes).energy_pj
    band = Band(bank.energy_pj.low, bank.energy_pj.value, max(bank.energy_pj.high, smallest.high))
    return band.times(bits / WORD_BITS), bank.extrapolated


def _lane(technology: Technology, bits: int) -> Band:
    """PJ of one element of one pass: a floating-point multiplication and an addition.

    Low: the addition alone; high: twice both, for exponentials and divisions.
    """
    add = adder(technology.arithmetic, "float", bits)
    both = multiplier(technology.arithmetic, "float", (bits, bits)).plus(add)
    return Band(add.low, both.value, 2 * both.high)


def _gather(hardware: Hardware) -> Band:
    """PJ per word through its gather multiplexer: a G:1 tree is log2(G) levels deep."""
    if hardware.array.packing == "none":
        return ZERO
    bit = hardware.technology.multiplexer.pico
    low, value, high = 1.0, math.log2(GATHER_WAYS), math.log2(max(hardware.array.rows, 4))
    per_bit = Band(bit.low * low, bit.value * value, bit.high * high)
    return per_bit.times(hardware.precision.activation_bits)

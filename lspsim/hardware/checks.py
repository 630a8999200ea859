"""Rules that span several fields of a hardware description, one small function each.

A rule returns None, or what is wrong and how to mend it. Rules that need a workload
too (which mask runs on which dataflow, which block packs) are the schedule's.
"""

from __future__ import annotations

from collections.abc import Callable

from lspsim import units
from lspsim.hardware import presets
from lspsim.hardware.problems import Check, suggest
from lspsim.hardware.schema import CHECKS, Hardware

__all__ = ["CHECKS"]

Finding = tuple[str, str] | None


def _rule(*reads: str) -> Callable[[Callable[[Hardware], Finding]], Callable[[Hardware], Finding]]:
    """Register a rule that reads these paths; a mistake is reported at the first."""

    def register(find: Callable[[Hardware], Finding]) -> Callable[[Hardware], Finding]:
        CHECKS.append(Check(reads, find))
        return find

    return register


@_rule("technology")
def technology_exists(h: Hardware) -> Finding:
    """Require that the technology is a file, or one of those in hw_configs/technology."""
    if presets.technology_path(h.technology_name).is_file():
        return None
    known = presets.technology_names()
    near = suggest(h.technology_name, known)
    cure = f"did you mean {near!r}?" if near else f"use one of {', '.join(known)}, or a path"
    return f"there is no technology {h.technology_name!r}", cure


@_rule("array.fold_overlap", "array.dataflow")
def output_stationary_overlap(h: Hardware) -> Finding:
    """Refuse single-buffered output-stationary: no tile is preloaded there."""
    if h.array.dataflow != "output-stationary" or h.array.fold_overlap != "single-buffered":
        return None
    return (
        "an output-stationary array has no single-buffered form",
        "use none or double-buffered, or another dataflow",
    )


@_rule("array.accumulator_rows", "array.rows", "array.dataflow")
def output_stationary_bank(h: Hardware) -> Finding:
    """Require a bank for the R results per column that an output-stationary tile drains."""
    bank, rows = h.array.accumulator_rows, h.array.rows
    if h.array.dataflow != "output-stationary" or bank >= rows:
        return None
    return (
        f"an output-stationary tile drains {rows} results per column, but a bank holds {bank}",
        f"make accumulator_rows at least {rows}",
    )


@_rule("precision.accumulator_bits", "precision")
def accumulator_width(h: Hardware) -> Finding:
    """Require partial sums at least as wide as what is added to them."""
    p = h.precision
    is_int = p.number == "int"
    need = p.weight_bits + p.activation_bits if is_int else max(p.weight_bits, p.activation_bits)
    if p.accumulator_bits >= need:
        return None
    what = "product" if is_int else "operand"
    return (
        f"{p.accumulator_bits} bits do not hold a {what} of {need} bits",
        f"make it at least {need}",
    )


@_rule("precision.number", "precision")
def float_width(h: Hardware) -> Finding:
    """Require that float operands are bfloat16 or fp32."""
    p = h.precision
    if p.number == "int" or (p.weight_bits == p.activation_bits and p.weight_bits in (16, 32)):
        return None
    return (
        f"there is no float arithmetic for {p.weight_bits}-bit weights and "
        f"{p.activation_bits}-bit activations",
        "make both 16 or both 32, or use int",
    )


@_rule("buffers.weight", "array.rows", "array.cols", "precision.weight_bits")
def weight_tile_fits(h: Hardware) -> Finding:
    """Require a weight buffer that holds at least one tile of the array."""
    need, have = h.weight_tile_bytes, h.buffers.weight_bytes
    if have >= need:
        return None
    needed = units.format_quantity(need, units.SIZE)
    return (
        f"the array is too big for its buffer: one {h.array.rows}x{h.array.cols} tile of "
        f"{h.precision.weight_bits}-bit weights takes {needed}, "
        f"the weight buffer holds {units.format_quantity(have, units.SIZE)}",
        f"make buffers.weight at least {needed}, or the array smaller",
    )


@_rule("memory.channels", "memory.shares")
def separate_channels_have_shares(h: Hardware) -> Finding:
    """Require shares of the bandwidth for separate channels."""
    if h.memory.channels == "shared" or h.memory.shares is not None:
        return None
    return (
        "separate channels need their shares of the bandwidth",
        "add `shares:` with weights, activations and writeback, which sum to 1",
    )


@_rule("memory.shares", "memory.channels")
def shared_channel_has_no_shares(h: Hardware) -> Finding:
    """Refuse shares that nothing would use."""
    if h.memory.channels == "separate" or h.memory.shares is None:
        return None
    return "a shared channel has no shares", "remove them, or set channels: separate"


@_rule("memory.shares")
def shares_sum_to_one(h: Hardware) -> Finding:
    """Require shares that make up the whole bandwidth, exactly."""
    shares = h.memory.shares
    if shares is None:
        return None
    total = shares.weights + shares.activations + shares.writeback
    if total == 1:
        return None
    return f"the shares sum to {units.format_number(total)}", "make them sum to exactly 1"


@_rule("cores", "noc")
def cores_are_connected(h: Hardware) -> Finding:
    """Require a network over which several cores exchange results."""
    if h.cores == 1 or h.noc is not None:
        return None
    return f"{h.cores} cores need a network", 'add `noc:` with `bandwidth: "32 GB/s"` or yours'

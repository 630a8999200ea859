"""What one build of the RTL is fixed to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lspsim.errors import ConfigError

if TYPE_CHECKING:
    from lspsim.hardware import Hardware

_OVERLAPS = {"double-buffered": 0, "single-buffered": 1, "none": 2}
GATHER_WAYS = 4
"""Places that a tile's rows of X come from, where nothing else is asked for."""

LONGEST_OPERAND_BITS = 16
LONGEST_SUM_BITS = 32
"""What the test bench carries."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of the SystemVerilog top module; words as in docs/model.md."""

    rows: int
    cols: int
    weight_bits: int
    activation_bits: int
    accumulator_bits: int
    accumulator_rows: int
    overlap: int
    """0 double-buffered, 1 single-buffered, 2 serial."""
    gather: int
    """Places that the rows of a gathered tile come from; 1 = no gathering."""
    output_stationary: bool = False

    @property
    def top(self) -> str:
        """Name of the top module."""
        return "lsp_os_core" if self.output_stationary else "lsp_ws_core"

    @property
    def address_bits(self) -> int:
        """Width of an accumulator address."""
        rows = self.rows if self.output_stationary else self.accumulator_rows
        return max(1, (rows - 1).bit_length())

    def verilog(self) -> dict[str, int]:
        """Return the parameters by their names in the SystemVerilog."""
        values = {
            "R": self.rows,
            "C": self.cols,
            "W": self.weight_bits,
            "A": self.activation_bits,
            "ACC": self.accumulator_bits,
            "OVERLAP": self.overlap,
        }
        if not self.output_stationary:
            values |= {"DEPTH": max(2, self.accumulator_rows), "G": self.gather}
        return values


def parameters_of(hardware: Hardware, gather: int | None = None) -> Parameters:
    """Return the parameters that build one core of `hardware`.

    Parameters
    ----------
    hardware
        The accelerator; `cores`, the vector unit and the network are not in the RTL.
    gather
        With `packing: k-compact`, places that the rows of a tile come from: sub-blocks
        of K may be as low as `rows / gather`. None = 4, or else the largest divisor of
        `rows` below, or else the least above.

    Raises
    ------
    ConfigError
        For what the RTL does not cover; all reasons at once.
    """
    array, precision = hardware.array, hardware.precision
    wrong = []
    output_stationary = array.dataflow == "output-stationary"
    if array.dataflow == "input-stationary":
        wrong.append("array.dataflow is input-stationary; use weight- or output-stationary")
    if precision.number != "int":
        wrong.append(f"precision.number is {precision.number}; use int")
    if array.rows < 2:
        wrong.append("array.rows is 1; an accumulator is read two cycles after its write: use 2")
    widest = max(precision.weight_bits, precision.activation_bits)
    if widest > LONGEST_OPERAND_BITS:
        wrong.append(f"operands have {widest} bits; use at most {LONGEST_OPERAND_BITS}")
    if precision.accumulator_bits > LONGEST_SUM_BITS:
        wrong.append(
            f"precision.accumulator_bits is {precision.accumulator_bits}; "
            f"use at most {LONGEST_SUM_BITS}"
        )
    gathers = array.packing == "k-compact" and not output_stationary
    if gather is not None and (array.rows % gather or (gathers and gather == 1)):
        wrong.append(f"gather is {gather}; use a divisor of array.rows = {array.rows} above 1")
    if wrong:
        raise ConfigError(f"{hardware.name}: no RTL for it: " + "; ".join(wrong))
    if not gathers:
        gather = 1
    elif gather is None:
        divisors = [g for g in range(2, array.rows + 1) if array.rows % g == 0]
        gather = max((g for g in divisors if g <= GATHER_WAYS), default=divisors[0])
    return Parameters(
        rows=array.rows,
        cols=array.cols,
        weight_bits=precision.weight_bits,
        activation_bits=precision.activation_bits,
        accumulator_bits=precision.accumulator_bits,
        accumulator_rows=array.accumulator_rows,
        overlap=_OVERLAPS[array.fold_overlap],
        gather=gather,
        output_stationary=output_stationary,
    )


def finest_block(rows: int, gather: int) -> int:
    """Height of the lowest sub-block of K that `gather` places can gather."""
    return math.ceil(rows / gather)

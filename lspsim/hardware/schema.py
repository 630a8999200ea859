"""The hardware description: what a config file may say, as frozen models.

A key of the file is a field's alias, or its name where there is none. Fields hold
plain numbers in SI base units; where the key does not say the unit, the attribute
does (`clock` in the file is `hardware.clock_hz`). What the fields mean for time and
energy is defined in docs/model.md; docs/hardware.md lists them all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from lspsim.hardware import edit, problems, yaml_text
from lspsim.hardware.sourced import (
    Bytes,
    BytesPerSecond,
    EnergyPerBit,
    Hertz,
    Record,
    Seconds,
    Share,
    Sourced,
    Unit,
)

if TYPE_CHECKING:
    from lspsim.hardware.technology import Technology

SCHEMA = "lspsim/hardware/v1"
"""What every hardware file says in its `schema` key."""

CHECKS: list[problems.Check[Hardware]] = []
"""Rules across fields, in the order in which they are reported; `checks` fills the list."""

Side = Annotated[int, Field(strict=True, ge=1, le=65536), Unit("PEs")]
Rows = Annotated[int, Field(strict=True, ge=1, le=1 << 24), Unit("rows")]
Bits = Annotated[int, Field(strict=True, ge=1, le=64), Unit("bit")]
Cycles = Annotated[int, Field(strict=True, ge=0, le=1 << 20), Unit("cycles")]
Cores = Annotated[int, Field(strict=True, ge=1, le=1024), Unit("cores")]
Lanes = Annotated[int, Field(strict=True, ge=1, le=1 << 20), Unit("elements/cycle")]
PassCount = Annotated[int, Field(strict=True, ge=1, le=1024), Unit("passes")]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]
Name = Annotated[str, Field(strict=True, min_length=1)]


class Array(Record):
    """One core's systolic array and how it executes tiles."""

    rows: Side = Field(description="Processing elements down the array, R", examples=[32])
    cols: Side = Field(description="Processing elements across the array, C", examples=[32])
    dataflow: Literal["weight-stationary", "output-stationary", "input-stationary"] = Field(
        default="weight-stationary",
        description="Operand that stays in the array; input-stationary runs dense workloads only",
    )
    fold_overlap: Literal["none", "single-buffered", "double-buffered"] = Field(
        default="double-buffered",
        description="How far loading the next tile overlaps streaming through the present one",
    )
    accumulator_rows: Rows = Field(
        default=256,
        description="Results per array column that each of the two accumulator banks holds",
    )
    packing: Literal["none", "k-compact"] = Field(
        default="none",
        description="Skip dead tiles only, or also gather a column's kept sub-blocks along K",
    )
    sparsity: Literal["none", "block"] = Field(
        default="block", description="Whether the core skips pruned blocks and pays for the index"
    )
    index: Literal["bitmap", "bsr"] = Field(
        default="bitmap", description="Format in which the positions of kept blocks are stored"
    )
    zero_gating: Flag = Field(
        default=True,
        description="Whether a zero weight in a live tile saves the energy of its multiplication",
    )
    assignment: Literal["round-robin", "longest-first"] = Field(
        default="round-robin", description="How tile columns are dealt to the cores"
    )


class Precision(Record):
    """Width and kind of the numbers the array works on."""

    weight_bits: Bits = Field(default=8, description="Width of a stored weight")
    activation_bits: Bits = Field(default=8, description="Width of a stored activation")
    accumulator_bits: Bits = Field(default=32, description="Width of a partial sum and a bias")
    number: Literal["int", "float"] = Field(
        default="int", description="Kind of arithmetic; 16-bit floats are bfloat16"
    )


class Buffers(Record):
    """On-chip memory of one core."""

    weight_bytes: Bytes = Field(
        alias="weight",
        description="Weight buffer of a core: a FIFO of whole R x C tiles",
        examples=["512 KiB"],
    )
    activation_bytes: Bytes = Field(
        alias="activation", description="Activation buffer of a core", examples=["2 MiB"]
    )


class Shares(Record):
    """Fractions of the DRAM bandwidth of separate channels; they sum to 1."""

    weights: Share = Field(description="Share of weight and index reads", examples=[0.5])
    activations: Share = Field(description="Share of activation reads", examples=[0.25])
    writeback: Share = Field(description="Share of result writes", examples=[0.25])


class Dram(Record):
    """Off-chip memory, shared by all cores."""

    bandwidth_bytes_per_s: BytesPerSecond = Field(
        alias="bandwidth", description="Peak bandwidth", examples=["25.6 GB/s"]
    )
    efficiency: Share = Field(
        default=Fraction(4, 5), description="Share of the peak bandwidth that transfers reach"
    )
    latency_s: Seconds = Field(
        alias="latency",
        default=Fraction(1, 10**7),
        description="From a transfer's end on the channel to its data being usable; pipelined",
    )
    burst_bytes: Bytes = Field(
        alias="burst",
        default=64,
        description="Transfers are rounded up to this",
        examples=["64 B"],
    )
    energy: Sourced[EnergyPerBit] = Field(
        description="Energy of a bit moved, device and interface together"
    )


class Memory(Record):
    """How data reaches the chip."""

    ideal: Flag = Field(
        default=False, description="Everything is always ready: no memory stall ever"
    )
    channels: Literal["shared", "separate"] = Field(
        default="shared",
        description="One channel for all requests, or one per class with a share of the bandwidth",
    )
    shares: Shares | None = Field(
        default=None, description="Shares of the bandwidth; needed with separate channels"
    )
    prefetch_across_layers: Flag = Field(
        default=True, description="Whether later layers' weights may be fetched ahead"
    )
    dram: Dram = Field(description="Off-chip memory")


class Noc(Record):
    """Network between the cores."""

    bandwidth_bytes_per_s: BytesPerSecond = Field(
        alias="bandwidth",
        description="Rate at which a layer's output is gathered onto every core",
        examples=["32 GB/s"],
    )


class Passes(Record):
    """How often the vector unit passes over a tensor, by kind of operator."""

    elementwise: PassCount = Field(
        default=1, description="Passes of add, gelu, relu, silu, scale, copy, pool"
    )
    layernorm: PassCount = Field(default=2, description="Passes of layernorm")
    softmax: PassCount = Field(default=3, description="Passes of softmax")


class Vector(Record):
    """One core's vector unit."""

    lanes: Lanes = Field(default=32, description="Elements that one pass handles in a cycle")
    latency_cycles: Cycles = Field(default=16, description="Pipeline latency of an operator")
    overlap: Flag = Field(
        default=True,
        description="Whether elementwise operators after a GEMM run beside it, column by column",
    )
    passes: Passes = Field(default_factory=Passes, description="Passes over a tensor")
    bits: Bits = Field(default=32, description="Width of a lane's arithmetic")


class Hardware(Record):
    """A block-sparse systolic accelerator. Make one with `load_hardware`.

    Equal and hashable by content.
    """

    schema_: Literal["lspsim/hardware/v1"] = Field(
        alias="schema", description="Version of this format", examples=[SCHEMA]
    )
    name: Name = Field(description="Short name, printed with every result", examples=["my_chip"])
    description: Text = Field(default="", description="What the chip is")
    source: Text | None = Field(default=None, description="Where the figures come from")
    technology_name: Name = Field(
        alias="technology",
        description="Energies and areas: a name in hw_configs/technology, or a path",
        examples=["28nm"],
    )
    clock_hz: Hertz = Field(alias="clock", description="Clock of the cores", examples=["1 GHz"])
    cores: Cores = Field(default=1, description="Identical cores, P")
    array: Array = Field(description="Systolic array of a core")
    precision: Precision = Field(default_factory=Precision, description="Number formats")
    buffers: Buffers = Field(description="On-chip memory of a core")
    memory: Memory = Field(description="DRAM and its channels")
    noc: Noc | None = Field(
        default=None, description="Network between cores; needed with several cores"
    )
    vector: Vector = Field(default_factory=Vector, description="Vector unit of a core")

    @property
    def weight_tile_bytes(self) -> int:
        """Bytes of one R x C tile of weights, rounded up."""
        array = self.array
        return -(-array.rows * array.cols * self.precision.weight_bits // 8)

    @property
    def macs_per_cycle(self) -> int:
        """Multiply-accumulates of all cores in one cycle, `R C P`."""
        return self.array.rows * self.array.cols * self.cores

    @property
    def technology(self) -> Technology:
        """Energies and areas of `technology_name`, read on first use.

        Raises
        ------
        ConfigError
            If there is no such technology, or its file is faulty.
        """
        from lspsim.hardware.technology import load_technology

        return load_technology(self.technology_name)

    @cached_property
    def digest(self) -> str:
        """sha256 of the content, in hex: equal for equal hardware, however it was written."""
        text = json.dumps(self.to_document(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_document(self) -> dict[str, Any]:
        """Nested dict of what a config file would say, defaults included, units as text."""
        return self.model_dump(by_alias=True, exclude_none=True)

    def to_yaml(self) -> str:
        """Text of a config file; loading it gives an equal `Hardware`."""
        return yaml_text.write(self.to_document())

    def with_values(self, values: Mapping[str, object]) -> Hardware:
        """Copy of this hardware with some values replaced, checked like a file.

        Parameters
        ----------
        values
            Dotted path of the file's keys -> value, e.g. `{"array.rows": 64, "clock":
            "800 MHz"}`. Values are Python objects or the text a YAML file would hold
            (`"64"`, `"true"`); a mapping replaces the values it names; None removes
            an optional part.

        Raises
        ------
        ConfigError
            Names every path that does not exist or whose value does not fit.
        """
        data = self.to_document()
        found = edit.assign(data, values, Hardware)
        hardware, more = problems.build(Hardware, data, CHECKS)
        if hardware is None or found:
            raise problems.error([*found, *more], where=self.name)
        return hardware

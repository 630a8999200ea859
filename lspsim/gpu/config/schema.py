"""What a GPU is: its data sheet, the parameters fitted to it, and the framework that runs it.

Three small YAML formats, under the rules of the accelerator files (units, sources,
every mistake at once). The data sheet never changes; parameters are fitted from
measurements and say from which; a framework is what runs a model as
its kernels.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lspsim.gpu.config.quantities import (
    Bandwidth,
    Capacity,
    ComputeRate,
    Count,
    Duration,
    Efficiency,
    EnergyPerByte,
    EnergyPerFlop,
    Factor,
    Frequency,
    Watts,
)
from lspsim.hardware.problems import Check
from lspsim.hardware.sourced import Record, Sourced

Dtype = Literal["bf16", "fp16", "tf32", "fp32"]
"""Number formats of a GEMM's operands; sums are kept in fp32."""

BYTES: dict[Dtype, int] = {"bf16": 2, "fp16": 2, "tf32": 4, "fp32": 4}
"""Bytes of one value in memory."""

Text = Annotated[str, Field(strict=True, min_length=1)]
Free = Annotated[str, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]


class Peaks(Record):
    """Dense peaks with sums in fp32, at the boost clock; structured sparsity not counted."""

    bf16: Sourced[ComputeRate] = Field(description="bfloat16 on tensor cores")
    fp16: Sourced[ComputeRate] = Field(description="IEEE half precision on tensor cores")
    tf32: Sourced[ComputeRate] = Field(description="fp32 operands cut to 19 bits, tensor cores")
    fp32: Sourced[ComputeRate] = Field(description="Single precision outside the tensor cores")


class GpuMemory(Record):
    """DRAM and L2."""

    capacity: Sourced[Capacity] = Field(description="DRAM")
    bandwidth: Sourced[Bandwidth] = Field(description="DRAM bandwidth")
    l2: Sourced[Capacity] = Field(description="L2 cache")
    l2_bandwidth: Sourced[Bandwidth] = Field(
        description="Most that all SMs together can read from L2"
    )


class Power(Record):
    """Power and energy."""

    limit: Sourced[Watts] = Field(description="Power limit of the board as shipped")
    idle: Sourced[Watts] = Field(description="Board power with clocks up and no kernel running")
    flop: Sourced[EnergyPerFlop] = Field(
        description="Dynamic energy of one bf16 tensor-core operation, operands from L2 included"
    )
    byte: Sourced[EnergyPerByte] = Field(description="Energy of one byte from or to DRAM")

    @property
    def basis(self) -> str:
        """What energies rest on: the constants whose source begins with `assumed`."""
        names = {
            "idle power": self.idle.source,
            "energy per operation": self.flop.source,
            "energy per DRAM byte": self.byte.source,
        }
        assumed = [name for name, source in names.items() if source.startswith("assumed")]
        return f"assumed: {', '.join(assumed)}" if assumed else "no constant is assumed"


class Gpu(Record):
    """The data sheet of a GPU. Get one with `load_gpu`."""

    schema_: Literal["lspsim/gpu/v1"] = Field(
        alias="schema", description="Version of this format", examples=["lspsim/gpu/v1"]
    )
    name: Text = Field(description="Short name")
    description: Free = Field(default="", description="What it is")
    architecture: Text = Field(description="Generation, e.g. hopper")
    parameters: Text = Field(
        description="Name of a file in hw_configs/gpu/parameters, or the path of one, "
        "from this file's folder"
    )
    sms: Sourced[Count] = Field(description="Streaming multiprocessors")
    clock: Sourced[Frequency] = Field(description="Boost clock of the SMs that the peaks assume")
    max_clock: Sourced[Frequency] = Field(
        description="Highest clock of the SMs; cards run between both, so efficiencies refer to it"
    )
    peak: Peaks = Field(description="Dense peaks")
    memory: GpuMemory = Field(description="DRAM and L2")
    power: Power = Field(description="Power and energy")

    def peak_flop_per_s(self, dtype: Dtype) -> float:
        """Return the dense peak of a number format as the data sheet has it, FLOP/s."""
        peaks: dict[Dtype, Sourced[ComputeRate]] = {
            "bf16": self.peak.bf16,
            "fp16": self.peak.fp16,
            "tf32": self.peak.tf32,
            "fp32": self.peak.fp32,
        }
        return float(peaks[dtype].value)


class DenseParameters(Record):
    """What a dense GEMM reaches of the data sheet (docs/gpu.md, "Dense GEMM")."""

    source: Text = Field(description="What the values were fitted from, and with what error")
    compute_efficiency: Efficiency = Field(description="Part of the peak inside a thread block")
    dram_efficiency: Efficiency = Field(description="Part of the DRAM bandwidth")
    l2_efficiency: Efficiency = Field(description="Part of the L2 bandwidth")
    l2_share: Efficiency = Field(description="Part of L2 that holds operands between kernels")
    feed: Factor = Field(
        description="Bytes that an SM takes in while its tensor cores could do 100 operations"
    )
    overlap_loss: Efficiency = Field(
        description="Part of the shorter of compute and memory time that is not hidden"
    )
    block: Duration = Field(description="Start and end of one thread block")
    launch: Duration = Field(description="Start and end of one kernel")
    split: Duration = Field(description="Added where the reduction is split over thread blocks")


class SparseParameters(Record):
    """What the block-sparse kernel reaches, by block side (docs/gpu.md, "Block-sparse GEMM")."""

    source: Text = Field(description="What the values were fitted from, and with what error")
    efficiency_16: Efficiency = Field(description="Part of the peak, blocks of 16 rows")
    efficiency_32: Efficiency = Field(description="Part of the peak, blocks of 32 rows")
    efficiency_64: Efficiency = Field(description="Part of the peak, blocks of 64 rows")
    efficiency_128: Efficiency = Field(description="Part of the peak, blocks of 128 rows")


class VectorParameters(Record):
    """What everything but GEMMs reaches (docs/gpu.md, "The rest of the network")."""

    source: Text = Field(description="What the values were fitted from, and with what error")
    dram_efficiency: Efficiency = Field(description="Part of the DRAM bandwidth, elementwise work")
    launch: Duration = Field(description="Start and end of one elementwise kernel")
    attention_efficiency: Efficiency = Field(
        description="Fused attention: part of the pace of tensor cores, then exponentials"
    )


class Parameters(Record):
    """Fitted parameters. Get them with `load_parameters`; `lspsim gpu calibrate` writes them."""

    schema_: Literal["lspsim/gpu-parameters/v1"] = Field(
        alias="schema", description="Version of this format", examples=["lspsim/gpu-parameters/v1"]
    )
    name: Text = Field(description="Short name")
    description: Free = Field(default="", description="What they are for")
    dense: DenseParameters = Field(description="Dense GEMM")
    sparse: SparseParameters = Field(description="Block-sparse GEMM")
    vector: VectorParameters = Field(description="The rest of the network")


class Framework(Record):
    """How a framework runs a model as kernels. Get one with `load_framework`."""

    schema_: Literal["lspsim/gpu-framework/v1"] = Field(
        alias="schema", description="Version of this format", examples=["lspsim/gpu-framework/v1"]
    )
    name: Text = Field(description="Short name")
    description: Free = Field(default="", description="What it is")
    source: Text = Field(description="Where the choices come from")
    epilogue: Flag = Field(
        description="GEMMs apply GELU and add the residual themselves, without another kernel"
    )
    fusion: Flag = Field(
        description="Neighbouring elementwise operators (casts, additions, norms) are one kernel"
    )
    autocast: Flag = Field(
        description="Mixed precision: norms and the residual stream in fp32, cast before GEMMs"
    )
    attention: Literal["flash", "flash1", "unfused"] = Field(
        description="One kernel for attention (flash1: a thread block per head, as the first "
        "FlashAttention), or one per operator (merged under fusion) with scores in memory"
    )
    fused_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Longest sequence that the fused attention takes; longer ones run unfused",
    )
    layout_copies: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Tensors of tokens x width copied around each attention",
    )
    host: Duration = Field(
        description="Least time between two kernels, because the host submits them one by one"
    )
    overhead: Factor = Field(
        description="Time of GEMMs, block-sparse ones included, over the model's: other "
        "libraries and lower clocks than in bursts; fitted to a dense network"
    )


def _whole_sms(gpu: Gpu) -> tuple[str, str] | None:
    """Refuse part of an SM."""
    if gpu.sms.value.denominator == 1:
        return None
    return "the number of SMs is not whole", "write a whole number"


def _clocks_ascend(gpu: Gpu) -> tuple[str, str] | None:
    """Refuse a boost clock that the card cannot run at."""
    if gpu.clock.value <= gpu.max_clock.value:
        return None
    return "the boost clock is above the highest clock", "check both values"


def _idle_below_limit(gpu: Gpu) -> tuple[str, str] | None:
    """Leave the board power to compute with."""
    if gpu.power.idle.value < gpu.power.limit.value:
        return None
    return "idle power is not below the power limit", "check both values"


GPU_CHECKS = (
    Check(("sms",), _whole_sms),
    Check(("clock", "max_clock"), _clocks_ascend),
    Check(("power.idle", "power.limit"), _idle_below_limit),
)
"""Rules that span fields, or that a single value cannot say."""

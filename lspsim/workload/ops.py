"""Operators of one inference: `Gemm`, `VectorOp`, and the ordered `Workload`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lspsim.errors import WorkloadError
from lspsim.workload.mask import BlockMask

INPUT = "input"
"""Name of the network's input tensor: it starts in DRAM."""

VectorKind = Literal["add", "gelu", "relu", "silu", "scale", "copy", "pool", "layernorm", "softmax"]
"""What the vector unit can do. `copy` moves data (window partition, concatenation)."""

FUSABLE_KINDS: frozenset[str] = frozenset({"add", "gelu", "relu", "silu", "scale"})
"""Elementwise operators that can be served column by column behind a GEMM."""


@dataclass(frozen=True, slots=True)
class Gemm:
    """`Y[M, N] = X[M, K] @ W[N, K]^T`, repeated `batch` times with other operands.

    Parameters
    ----------
    name
        Unique name; also the name of the tensor it produces.
    m, k, n
        Rows of X (tokens x images for a weight GEMM), reduction length, rows of W.
    batch
        Independent instances (images x heads for attention; 1 for a weight GEMM).
    rhs
        `weight`: W is a stored parameter; `activation`: W is computed (QK^T, AV).
    weight_bits, activation_bits, accumulator_bits
        Operand widths; None = the width the hardware's array is built for.
    mask
        Kept blocks of W; None = all kept. Only for `rhs="weight"`.
    bias
        Whether N bias values of `accumulator_bits` are read and added.
    inputs
        Names of the producers of X (and, for `rhs="activation"`, of W). None =
        the previous operator's output for all of them, or `INPUT` for the first.
    """

    name: str
    m: int
    k: int
    n: int
    batch: int = 1
    rhs: Literal["weight", "activation"] = "weight"
    weight_bits: int | None = None
    activation_bits: int | None = None
    accumulator_bits: int | None = None
    mask: BlockMask | None = None
    bias: bool = False
    inputs: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for label in ("m", "k", "n", "batch"):
            value = getattr(self, label)
            if value < 1:
                raise WorkloadError(f"gemm {self.name!r}: {label} must be at least 1, got {value}")
        if self.rhs not in ("weight", "activation"):
            raise WorkloadError(
                f"gemm {self.name!r}: rhs must be 'weight' or 'activation', got {self.rhs!r}"
            )
        if self.rhs == "activation" and (self.mask is not None or self.bias):
            raise WorkloadError(
                f"gemm {self.name!r}: an activation right-hand side has no mask and no bias"
            )
        if self.rhs == "weight" and self.batch != 1:
            raise WorkloadError(
                f"gemm {self.name!r}: a weight GEMM has batch 1; put the images into m, got "
                f"batch={self.batch}"
            )
        if self.mask is not None and self.mask.shape != (self.n, self.k):
            raise WorkloadError(
                f"gemm {self.name!r}: the mask covers a {self.mask.shape[0]}x{self.mask.shape[1]} "
                f"weight (N x K), but this weight is {self.n}x{self.k}"
            )

    @property
    def macs_dense(self) -> int:
        """Multiply-accumulates with every weight kept."""
        return self.batch * self.m * self.k * self.n

    @property
    def macs_kept(self) -> int:
        """Multiply-accumulates with the weights that the mask keeps."""
        return self.macs_dense if self.mask is None else self.m * self.mask.kept_weights


@dataclass(frozen=True, slots=True)
class VectorOp:
    """An operator of the vector unit over a `[rows, cols]` tensor.

    Parameters
    ----------
    name
        Unique name; also the name of the tensor it produces.
    kind
        One of `VectorKind`.
    rows, cols
        Shape of the tensor it reads.
    inputs
        Names of its producers; None = the previous operator's output.
    out_rows
        Rows of its result where they differ from `rows` (`pool`); None = `rows`.
    parameters
        Stored values that it reads from DRAM (layernorm's scale and shift,
        position embeddings), at activation width.
    """

    name: str
    kind: VectorKind
    rows: int
    cols: int
    inputs: tuple[str, ...] | None = None
    out_rows: int | None = None
    parameters: int = 0

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1 or (self.out_rows is not None and self.out_rows < 1):
            raise WorkloadError(
                f"vector operator {self.name!r}: sizes must be at least 1, got "
                f"{self.rows}x{self.cols}, out_rows={self.out_rows}"
            )

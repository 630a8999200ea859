"""From a workload's operators to the kernels that a framework launches for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lspsim.gpu.config.schema import BYTES, Dtype, Framework
from lspsim.workload import BlockMask, Gemm, VectorOp, Workload

WIDE_BYTES = 4
"""Values of norms and of the residual stream under mixed precision: fp32."""


@dataclass(frozen=True, slots=True)
class GemmKernel:
    """A product with a weight, or one of an attention's two where it is not fused."""

    name: str
    m: int
    n: int
    k: int
    batch: int = 1
    mask: BlockMask | None = None
    weight: bool = True
    """Whether W is one; else an activation that the kernel before has just written."""


@dataclass(frozen=True, slots=True)
class AttentionKernel:
    """Attention of many sequences in one kernel."""

    name: str
    sequences: int
    tokens: int
    head_dim: int
    split: bool = True
    """Whether a sequence is shared out over thread blocks."""


@dataclass(frozen=True, slots=True)
class ElementwiseKernel:
    """A norm, activation, addition, cast or copy."""

    name: str
    kind: str
    read_bytes: float
    written_bytes: float


Kernel = GemmKernel | AttentionKernel | ElementwiseKernel


def lower(workload: Workload, framework: Framework, dtype: Dtype) -> list[Kernel]:
    """Return the kernels of one inference, in order.

    Parameters
    ----------
    workload
        Operators; attention is spelled out in it (QK^T, scale, biases, softmax, AV).
    framework
        Decides what is merged with what.
    dtype
        Number format of GEMM operands.
    """
    return list(_Lowering(workload, framework, BYTES[dtype]).kernels())


class _Lowering:
    """State of one pass over the operators."""

    def __init__(self, workload: Workload, framework: Framework, value_bytes: int) -> None:
        self.ops = workload.ops
        self.framework = framework
        self.value = value_bytes
        self.wide = WIDE_BYTES if framework.autocast else value_bytes
        self.inputs = workload.resolved_inputs()
        self.readers = Counter(name for names in self.inputs for name in set(names))
        self.by_name = {op.name: op for op in self.ops}
        self.open: ElementwiseKernel | None = None
        """Elementwise kernel that the next operator may join."""

    def kernels(self) -> Iterator[Kernel]:
        i = 0
        while i < len(self.ops):
            end = _attention_end(self.ops, i)
            if end is not None:
                yield from self._flush()
                yield from self._attention(i, end)
                i = end
                continue
            op = self.ops[i]
            if isinstance(op, Gemm):
                yield from self._flush()
                yield from self._gemm(op, self.inputs[i])
            elif not self._in_epilogue(op, i):
                yield from self._elementwise(op, self.inputs[i])
            i += 1
        yield from self._flush()

    def _flush(self) -> Iterator[Kernel]:
        if self.open is not None:
            yield self.open
            self.open = None

    def _gemm(self, op: Gemm, inputs: tuple[str, ...]) -> Iterator[Kernel]:
        if self.framework.autocast and op.rhs == "weight":
            weights = op.n * op.k
            yield ElementwiseKernel(
                f"{op.name}.cast_weight", "cast", WIDE_BYTES * weights, self.value * weights
            )
            producer = self.by_name.get(inputs[0])
            if not self.framework.fusion and self._is_wide(producer):
                values = op.m * op.k
                yield ElementwiseKernel(
                    f"{op.name}.cast_input", "cast", WIDE_BYTES * values, self.value * values
                )
        yield GemmKernel(op.name, op.m, op.n, op.k, op.batch, op.mask)

    def _is_wide(self, op: Gemm | VectorOp | None) -> bool:
        """Whether an operator's result is fp32 under mixed precision: norms and the residual."""
        if op is None:
            return True  # the image
        return isinstance(op, VectorOp) and op.kind in (
            "layernorm",
            "add",
            "copy",
            "pool",
            "scale",
        )

    def _in_epilogue(self, op: VectorOp, i: int) -> bool:
        """Whether the GEMM just before does this operator, too."""
        if not self.framework.epilogue or i == 0:
            return False
        before = self.ops[i - 1]
        return (
            isinstance(before, Gemm)
            and before.rhs == "weight"
            and before.name in self.inputs[i]
            and op.kind in ("gelu", "relu", "silu", "add", "scale")
        )

    def _width(self, name: str) -> int:
        """Bytes of one value of a tensor."""
        return self.wide if self._is_wide(self.by_name.get(name)) else self.value

    def _elementwise(self, op: VectorOp, inputs: tuple[str, ...]) -> Iterator[Kernel]:
        values = op.rows * op.cols
        reads = {name: float(values * self._width(name)) for name in inputs}
        out_rows = op.rows if op.out_rows is None else op.out_rows
        out_bytes = self.value if self._narrowed(op) else self._width(op.name)
        written = float(out_rows * op.cols * out_bytes)
        stored = float(op.parameters * self.wide)
        if self.framework.fusion and self.open is not None and self.open.name in reads:
            before = self.open
            passed_on = reads.pop(before.name)
            kept = self.readers[before.name] > 1
            self.open = ElementwiseKernel(
                op.name,
                op.kind,
                before.read_bytes + sum(reads.values()) + stored,
                before.written_bytes - (0.0 if kept else passed_on) + written,
            )
            return
        yield from self._flush()
        self.open = ElementwiseKernel(op.name, op.kind, sum(reads.values()) + stored, written)

    def _narrowed(self, op: VectorOp) -> bool:
        """Whether the cast that a GEMM needs is merged into this operator."""
        return self.framework.fusion and op.kind == "layernorm"

    def _attention(self, start: int, end: int) -> Iterator[Kernel]:
        first = self.ops[start]
        last = self.ops[end - 1]
        assert isinstance(first, Gemm)
        assert isinstance(last, Gemm)
        name = first.name.rpartition(".")[0] or first.name
        copied = float(last.batch * last.m * last.n * self.value)
        for number in range(self.framework.layout_copies):
            yield ElementwiseKernel(f"{name}.copy{number}", "copy", copied, copied)
        if self._fused(first.m):
            split = self.framework.attention == "flash"
            yield AttentionKernel(name, first.batch, first.m, first.k, split)
            return
        yield GemmKernel(first.name, first.m, first.n, first.k, first.batch, weight=False)
        yield from self._on_scores(self.ops[start + 1 : end - 1])
        yield GemmKernel(last.name, last.m, last.n, last.k, last.batch, weight=False)

    def _fused(self, tokens: int) -> bool:
        """Whether attention over so many tokens is one kernel."""
        limit = self.framework.fused_tokens
        return self.framework.attention != "unfused" and (limit is None or tokens <= limit)

    def _on_scores(self, ops: Sequence[Gemm | VectorOp]) -> Iterator[Kernel]:
        """Return the kernels between an attention's products: scale, biases, softmax."""
        parameters = 0.0
        for op in ops:
            assert isinstance(op, VectorOp)
            moved = float(op.rows * op.cols * self.value)
            parameters += op.parameters * self.value
            if not self.framework.fusion or op is ops[-1]:
                yield ElementwiseKernel(op.name, op.kind, moved + parameters, moved)
                parameters = 0.0


def _attention_end(ops: Sequence[Gemm | VectorOp], start: int) -> int | None:
    """Return the index behind an attention that starts here: scores, softmax, values."""
    first = ops[start]
    if not isinstance(first, Gemm) or first.rhs != "activation":
        return None
    seen_softmax = False
    for i in range(start + 1, len(ops)):
        op = ops[i]
        if isinstance(op, Gemm):
            return i + 1 if seen_softmax and op.rhs == "activation" else None
        if op.kind not in ("scale", "add", "softmax"):
            return None
        seen_softmax |= op.kind == "softmax"
    return None

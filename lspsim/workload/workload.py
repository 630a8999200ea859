"""`Workload`: the ordered operators of one inference."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lspsim.errors import WorkloadError
from lspsim.workload.mask import BlockMask
from lspsim.workload.ops import INPUT, Gemm, VectorOp

Op = Gemm | VectorOp


@dataclass(frozen=True)
class Workload:
    """Operators in execution order.

    Parameters
    ----------
    ops
        Operators; names are unique, every input is produced earlier.
    model
        Name of the model they come from, for reports.
    batch
        Images per inference.
    seed
        Seed that its masks were drawn with, if any: for the record only.

    Raises
    ------
    WorkloadError
        On no operator, a repeated name, or an input nobody produced.
    """

    ops: tuple[Op, ...]
    model: str = "custom"
    batch: int = 1
    seed: int | None = None
    cache: dict[object, object] = field(
        default_factory=dict, repr=False, compare=False, hash=False, init=False
    )
    """Tables that layers above derive from the operators; never part of its value."""
    shape_cache: dict[object, object] = field(
        default_factory=dict, repr=False, compare=False, hash=False, init=False
    )
    """The same for what does not depend on masks; shared by `with_masks`."""

    def __init__(
        self,
        ops: Iterable[Op],
        model: str = "custom",
        batch: int = 1,
        seed: int | None = None,
    ) -> None:
        object.__setattr__(self, "ops", tuple(ops))
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "batch", batch)
        object.__setattr__(self, "seed", seed)
        object.__setattr__(self, "cache", {})
        object.__setattr__(self, "shape_cache", {})
        if not self.ops:
            raise WorkloadError("a workload needs at least one operator")
        seen = {INPUT}
        for op in self.ops:
            if op.name in seen:
                raise WorkloadError(f"two operators are called {op.name!r}; names must be unique")
            for name in op.inputs or ():
                if name not in seen:
                    raise WorkloadError(
                        f"operator {op.name!r} reads {name!r}, which no earlier operator produces"
                    )
            seen.add(op.name)

    def __repr__(self) -> str:
        masked = sum(op.mask is not None for op in self.gemms)
        return (
            f"Workload(model={self.model!r}, batch={self.batch}, operators={len(self.ops)}, "
            f"masked={masked}, macs_dense={self.macs_dense}, macs_kept={self.macs_kept})"
        )

    def resolved_inputs(self) -> tuple[tuple[str, ...], ...]:
        """Return the producers' names of every operator, defaults filled in."""
        out: list[tuple[str, ...]] = []
        previous = INPUT
        for op in self.ops:
            need = 2 if isinstance(op, Gemm) and op.rhs == "activation" else 1
            names = op.inputs if op.inputs is not None else (previous,) * need
            if isinstance(op, Gemm) and len(names) != need:
                raise WorkloadError(f"gemm {op.name!r} needs {need} input(s), got {names}")
            out.append(names)
            previous = op.name
        return tuple(out)

    def with_masks(
        self, masks: Mapping[str, BlockMask | None], seed: int | None = None
    ) -> Workload:
        """Return the same workload with the masks of the named weight GEMMs replaced."""
        known = {op.name for op in self.ops if isinstance(op, Gemm) and op.rhs == "weight"}
        if unknown := sorted(set(masks) - known):
            raise WorkloadError(
                f"masks given for {', '.join(map(repr, unknown))}, but the workload has no such "
                f"weight GEMM"
            )
        ops = (
            dataclasses.replace(op, mask=masks[op.name])
            if isinstance(op, Gemm) and op.name in masks
            else op
            for op in self.ops
        )
        masked = Workload(ops, model=self.model, batch=self.batch, seed=seed)
        object.__setattr__(masked, "shape_cache", self.shape_cache)
        return masked

    @property
    def gemms(self) -> tuple[Gemm, ...]:
        """The GEMMs in order."""
        return tuple(op for op in self.ops if isinstance(op, Gemm))

    @property
    def macs_dense(self) -> int:
        """Multiply-accumulates with every weight kept."""
        return sum(op.macs_dense for op in self.gemms)

    @property
    def macs_kept(self) -> int:
        """Multiply-accumulates with the weights that masks keep."""
        return sum(op.macs_kept for op in self.gemms)

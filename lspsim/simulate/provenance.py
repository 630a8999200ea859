"""Where a result comes from: the digest of its workload."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from lspsim.workload import Gemm

if TYPE_CHECKING:
    from lspsim.workload import Workload


def workload_digest(workload: Workload) -> str:
    """SHA-256 over every operator, its inputs and its mask, as hex."""
    rows: list[list[Any]] = [[workload.model, workload.batch]]
    for op, inputs in zip(workload.ops, workload.resolved_inputs(), strict=True):
        if isinstance(op, Gemm):
            mask = op.mask.digest if op.mask is not None else None
            bits = [op.weight_bits, op.activation_bits, op.accumulator_bits]
            rows.append(
                [op.name, "gemm", op.m, op.k, op.n, op.batch, op.rhs, *bits, op.bias, mask, inputs]
            )
        else:
            rows.append([op.name, op.kind, op.rows, op.cols, op.out_rows, op.parameters, inputs])
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

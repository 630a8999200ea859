"""Compare two programs field by field."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from lspsim.schedule.program import Program

LAYOUT = ("visit_fold_start", "fold_needs")
"""Where `fold_needs` keeps a visit's entries is free; `needs_of` reads both."""


def needs_of(program: Program) -> list[list[int]]:
    """Activation transfers that every visit waits for, fold by fold."""
    out = []
    for visit, start in enumerate(program.visit_fold_start):
        count = max(1, int(program.visit_folds[visit])) if start >= 0 else 0
        out.append(program.fold_needs[start : start + count].tolist())
    return out


def difference(made: Program, expected: Program) -> str:
    """Say where two programs differ first; "" = nowhere."""
    for f in fields(Program):
        a, b = getattr(made, f.name), getattr(expected, f.name)
        if f.name in LAYOUT:
            continue
        if isinstance(a, np.ndarray):
            if a.dtype != np.int64 or a.shape != b.shape:
                return f"{f.name}: {a.dtype}{a.shape} != {b.dtype}{b.shape}: {a} {b}"
            if (a != b).any():
                at = int((a != b).argmax())
                return f"{f.name}[{at}]: {a[at]} != {b[at]}"
        elif a != b or type(a) is not type(b):
            return f"{f.name}: {a!r} != {b!r}"
    for visit, (left, right) in enumerate(zip(needs_of(made), needs_of(expected), strict=True)):
        if left != right:
            return f"needs of visit {visit}: {left} != {right}"
    if made.fold_needs.size != expected.fold_needs.size:
        return f"fold_needs: {made.fold_needs.size} entries, {expected.fold_needs.size} needed"
    return ""

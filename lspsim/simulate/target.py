"""`Target`: hardware that brings its own cost model, in place of a simulated chip."""

from __future__ import annotations

from dataclasses import dataclass

from lspsim.simulate.cost import CostModel


@dataclass(frozen=True, slots=True)
class Target:
    """What a study prunes for where that is no accelerator of `lspsim.hardware`.

    Parameters
    ----------
    name
        As the record says it (`gpu:h200`).
    digest
        Changes when anything does that costs depend on.
    cost
        Says what masks cost; used in the loop, and to decide.
    """

    name: str
    digest: str
    cost: CostModel

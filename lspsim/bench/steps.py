"""`timed_steps`: where the time of pruning goes, step by step, against the work in it.

Floating-point operations are counted as torch runs them (its own counter: matrix
products, convolutions, attention); factorisations and triangular solves, which that
counter leaves out, are added by the textbook counts (Golub & Van Loan, Matrix
Computations, 4.2 and 3.1): `n^3 / 3` for a Cholesky factor, `2 n^3 / 3` more for the
inverse from it, `2 n^2 k` for a solve by a factor and its transpose, half for one triangle.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lspsim.allocate.budgets import Budget
from lspsim.models.data import ImageSet
from lspsim.prune.pipeline import Pruned, prepare, prune
from lspsim.prune.recipe import PruneRecipe
from lspsim.simulate.cost import CostModel
from lspsim.workload import Workload

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of pruning.

    Parameters
    ----------
    name
        What was being done.
    seconds
        Wall time, with the operations counted (which slows small ones down).
    flop
        Floating-point operations, a multiply-add as two.
    peak_bytes
        Largest resident memory of the process so far.
    """

    name: str
    seconds: float
    flop: int
    peak_bytes: int

    @property
    def flop_per_second(self) -> float:
        """Rate; work outside matrix algebra counts as time only."""
        return self.flop / self.seconds if self.seconds else 0.0


class _Clock:
    """Cuts time and work where the pipeline says that it does something else."""

    def __init__(self, counter: FlopCounterMode) -> None:
        self.counter = counter
        self.steps: dict[str, Step] = {}
        self.name = ""
        self.since, self.flop = time.perf_counter(), 0

    def tell(self, text: str) -> None:
        """Close the present step; steps that differ after a colon or a number are one."""
        now, flop = time.perf_counter(), self.counter.get_total_flops()
        if self.name:
            seconds, done = now - self.since, flop - self.flop
            old = self.steps.get(self.name)
            if old is not None:
                seconds, done = seconds + old.seconds, done + old.flop
            self.steps[self.name] = Step(self.name, seconds, done, peak_bytes())
        self.name = text.partition(":")[0]
        self.since, self.flop = now, flop


def timed_steps(
    model: nn.Module,
    images: ImageSet,
    workload: Workload,
    recipe: PruneRecipe,
    budgets: tuple[Budget, ...],
    fast: CostModel,
    exact: CostModel,
) -> tuple[list[Step], Pruned]:
    """Prune, and return how long each step took and how much it computed.

    Parameters
    ----------
    model, images, workload, recipe
        As `prepare` takes them.
    budgets, fast, exact
        As `prune` takes them.

    Raises
    ------
    LspsimError
        As `prepare` and `prune` do.
    """
    with FlopCounterMode(display=False, custom_mapping=_FACTORISATIONS) as counter:
        clock = _Clock(counter)
        prepared = prepare(model, images, workload, recipe, tell=clock.tell)
        pruned = prune(prepared, workload, budgets, fast, exact, tell=clock.tell)
        clock.tell("")
    return list(clock.steps.values()), pruned


def noise_images(model: nn.Module, count: int, seed: int = 0) -> ImageSet:
    """Return images of white noise in the model's own size, with random labels.

    Their statistics say nothing about accuracy; they take the same time as any.
    """
    patches: Any = model.get_submodule("patch_embed")
    height, width = patches.img_size
    channels = patches.proj.in_channels
    classes = max(int(getattr(model, "num_classes", 0)), 1)
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=draw)

    def read(numbers: Any) -> torch.Tensor:
        return torch.stack(
            [
                torch.randn(
                    (channels, height, width),
                    generator=torch.Generator().manual_seed(seed * 1_000_003 + int(number)),
                )
                for number in numbers
            ]
        )

    return ImageSet("noise", "calibration", labels, tuple(map(str, range(classes))), read)


def peak_bytes() -> int:
    """Return the largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _batches(shape: Shape) -> int:
    count = 1
    for side in shape[:-2]:
        count *= side
    return count


def _cholesky(matrix: Shape, *_: Any, **__: Any) -> int:
    return _batches(matrix) * matrix[-1] ** 3 // 3


def _inverse(factor: Shape, *_: Any, **__: Any) -> int:
    return _batches(factor) * 2 * factor[-1] ** 3 // 3


def _solve(right: Shape, factor: Shape, *_: Any, **__: Any) -> int:
    return _batches(factor) * 2 * factor[-1] ** 2 * right[-1]


def _triangle(factor: Shape, right: Shape, *_: Any, **__: Any) -> int:
    """Rows or columns of the right-hand side, whichever the factor does not span."""
    others = right[-1] if right[-2] == factor[-1] else right[-2]
    return _batches(right) * factor[-1] ** 2 * others


_FACTORISATIONS: dict[Any, Any] = {
    torch.ops.aten.linalg_cholesky_ex: _cholesky,
    torch.ops.aten.cholesky_inverse: _inverse,
    torch.ops.aten.cholesky_solve: _solve,
    torch.ops.aten.linalg_solve_triangular: _triangle,
}

"""`Cell`: one entry of the comparison of pruning methods, and the order of their worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lspsim.prune.pipeline import PruneRecipe

SCORES = ("random", "l1", "wanda", "taylor", "lpvit", "fisher", "block-obs")
COMPENSATIONS = ("none", "bias", "least-squares", "obs", "full")
ALLOCATORS = ("uniform", "greedy", "lagrangian", "knapsack")
BLOCKS = ((16, 16), (32, 32))
SPARSITIES = (50, 70, 80, 90)

UNIFORM_ONLY = ("random", "l1", "wanda")
"""Scores that rank blocks within a layer only: a count, a weight, an output norm of one
layer says nothing about another's, so sharing sparsity between layers by them is refused."""

SEEDS = 3
RANDOM_SEEDS = 10
"""Repetitions with other calibration images; of random masks more, as they vary more."""


@dataclass(frozen=True, slots=True, order=True)
class Method:
    """How blocks are chosen and made up for."""

    score: str
    compensate: str
    allocate: str

    def __str__(self) -> str:
        """As tables show it."""
        return f"{self.score} / {self.compensate} / {self.allocate}"

    @property
    def meaningful(self) -> bool:
        """Whether the parts go together."""
        if self.compensate in ("obs", "full") and self.score != "block-obs":
            return False
        return self.allocate == "uniform" or self.score not in UNIFORM_ONLY


FULL = Method("block-obs", "full", "knapsack")
REFIT = Method("block-obs", "least-squares", "knapsack")
RANDOM = Method("random", "least-squares", "uniform")
LPVIT = Method("lpvit", "none", "lagrangian")
HEADLINES = (FULL, REFIT, RANDOM, LPVIT)
"""What claims are made about: everything at once, its plain relative, the control with the
same refit, and LPViT as its paper describes it."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One pruned network to measure.

    Parameters
    ----------
    method
        How.
    block_out, block_in
        Block size.
    sparsity
        Per cent of the prunable weights' MACs that go.
    seed
        Of calibration images, sampled labels and random masks.
    distilled
        Whether the short distillation follows.
    """

    method: Method
    block_out: int
    block_in: int
    sparsity: int
    seed: int = 0
    distilled: bool = False

    @property
    def block(self) -> str:
        """`16x16`."""
        return f"{self.block_out}x{self.block_in}"

    @property
    def key(self) -> str:
        """A name that tells cells apart."""
        parts = (self.method.score, self.method.compensate, self.method.allocate, self.block)
        tail = "-distilled" if self.distilled else ""
        return f"{'-'.join(parts)}-{self.sparsity}-s{self.seed}{tail}"

    @property
    def headline(self) -> bool:
        """Whether claims rest on it, so that it is measured on more images."""
        return self.method in HEADLINES or self.distilled

    @property
    def preparation(self) -> tuple[str, int, int, int, bool]:
        """What cells must share for one preparation to serve them all."""
        full = self.method.compensate == "full"
        return self.method.score, self.block_out, self.block_in, self.seed, full

    @property
    def recipe(self) -> PruneRecipe:
        """The same as `prune` takes it."""
        from lspsim.prune.pipeline import PruneRecipe
        from lspsim.prune.scores.lpvit import CAP

        return PruneRecipe(
            self.block_out,
            self.block_in,
            self.method.score,
            self.method.allocate,  # type: ignore[arg-type]
            self.method.compensate,  # type: ignore[arg-type]
            self.seed,
            most=CAP if self.method.score == "lpvit" else 1.0,
        )


def grid(
    blocks: Sequence[tuple[int, int]] = BLOCKS,
    sparsities: Sequence[int] = SPARSITIES,
    seeds: int = SEEDS,
    random_seeds: int = RANDOM_SEEDS,
) -> list[Cell]:
    """Return every meaningful cell without distillation, those of most worth first.

    First the headline methods at 80 and 70 %, then their other sparsities, then their
    repetitions, then the rest in the same way. Cells that share a preparation are
    neighbours within each part.
    """
    methods = [Method(*parts) for parts in product(SCORES, COMPENSATIONS, ALLOCATORS)]
    cells = [
        Cell(method, *block, sparsity, seed)
        for method in methods
        if method.meaningful
        for block, sparsity in product(blocks, sparsities)
        for seed in range(random_seeds if method.score == "random" else seeds)
    ]
    return sorted(cells, key=worth)


def worth(cell: Cell) -> tuple[object, ...]:
    """Return what sorts cells: the lower, the earlier."""
    aside = cell.sparsity not in (70, 80)
    tier = (cell.distilled, not cell.headline, cell.seed >= SEEDS, cell.seed, aside)
    rank = HEADLINES.index(cell.method) if cell.method in HEADLINES else len(HEADLINES)
    return (*tier, cell.block_out, rank, cell.preparation, -cell.sparsity, cell.method)


def quick_cells(blocks: Sequence[tuple[int, int]] = BLOCKS) -> list[Cell]:
    """Return the headline methods at 80 %, one seed."""
    return sorted((Cell(m, *b, 80) for m, b in product(HEADLINES, blocks)), key=worth)


def distilled_cells(blocks: Sequence[tuple[int, int]] = BLOCKS) -> list[Cell]:
    """Return the configurations that are distilled, and as a control the dense network.

    The control is a cell at 0 %: what the same training does where nothing was removed.
    """
    small, large = blocks[0], blocks[-1]
    found = [
        Cell(FULL, *small, 80),
        Cell(FULL, *large, 80),
        Cell(RANDOM, *small, 80),
        Cell(FULL, *small, 70),
        Cell(FULL, *small, 50),
        Cell(FULL, *small, 0),
    ]
    return [replace(cell, distilled=True) for cell in dict.fromkeys(found)]

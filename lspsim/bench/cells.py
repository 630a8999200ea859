"""`Cell`: one entry of the comparison of pruning methods, and the order of their worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lspsim.prune.recipe import PruneRecipe

SCORES = ("random", "l1", "wanda", "taylor", "lpvit", "fisher", "block-obs")
COMPENSATIONS = ("none", "bias", "least-squares", "obs", "full")
ALLOCATORS = ("uniform", "greedy", "lagrangian", "knapsack")
BLOCKS = ((16, 16), (32, 32))
SPARSITIES = (50, 70, 80, 90)

SEEDS = 3
RANDOM_SEEDS = 10
"""Repetitions with other calibration images; of random masks more, as they vary more."""


@dataclass(frozen=True, slots=True, order=True)
class Method:
    """How blocks are chosen and compensated.

    Parameters
    ----------
    score, compensate, allocate
        See `PruneRecipe`.
    basis, couple
        Alike; default: as they go with `compensate`.
    pattern
        "blocks"; "units": structured pruning of neurons and head channels, as many as the block
        has rows at a time (`units_of`); "rank": products of two thin matrices in place of masks;
        "dense": another network, without masks.
    """

    score: str
    compensate: str
    allocate: str
    basis: str = ""
    couple: bool | None = None
    pattern: str = "blocks"

    def __post_init__(self) -> None:
        full = self.compensate == "full"
        if not self.basis:
            object.__setattr__(self, "basis", "rotate" if full else "own")
        if self.couple is None:
            object.__setattr__(self, "couple", full)

    def __str__(self) -> str:
        """As tables show it."""
        return " ".join([" / ".join(self.parts), *self.remarks])

    @property
    def parts(self) -> tuple[str, str, str]:
        """Score, compensation and allocation."""
        return self.score, self.compensate, self.allocate

    @property
    def remarks(self) -> tuple[str, ...]:
        """What differs from the defaults of the compensation."""
        plain = Method(*self.parts)
        found = []
        if self.pattern == "units":
            found.append("(structured)")
        if self.basis != plain.basis:
            found.append(
                {"own": "(own basis)", "permute": "(permuted)"}.get(self.basis, "(rotated)")
            )
        if self.couple != plain.couple:
            found.append("+ coupling" if self.couple else "- coupling")
        return tuple(found)

    @property
    def meaningful(self) -> bool:
        """Whether the parts go together: obs needs the weights that block-OBS ends with."""
        return self.compensate != "obs" or self.score == "block-obs"


FULL = Method("block-obs", "full", "knapsack")
REFIT = Method("block-obs", "least-squares", "knapsack")
RANDOM = Method("random", "least-squares", "uniform")
LPVIT = Method("lpvit", "none", "lagrangian")
FISHER = Method("fisher", "full", "knapsack")
HEADLINES = (FULL, FISHER, REFIT, RANDOM, LPVIT)
"""What claims are made about: everything at once, the ranking that comes nearest to it with
all else alike, its plain relative, the control with the same refit, and LPViT as its
paper describes it."""

RANDOM_FULL = Method("random", "full", "knapsack")
"""Has everything that `FULL` has but the choice of blocks: random ones, in the same basis,
coupled, refitted, with sparsity shared by the loss after the refit."""

LOW_RANK = Method("low-rank", "least-squares", "knapsack", pattern="rank")
UNITS = replace(FULL, allocate="greedy", pattern="units")
RIVAL = Method("smaller-dense", "trained", "none", pattern="dense")
"""Not pruned at all: a smaller network that was trained like the large one."""

CONTROLS = (
    UNITS,
    LOW_RANK,
    replace(FULL, basis="permute"),
    replace(REFIT, couple=True),
    replace(LPVIT, couple=True),
)
"""What else could explain a gain, beside what the grid holds: the basis, coupling, or that the
model is so redundant that anything would do."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One pruned network to measure.

    Parameters
    ----------
    method
        How.
    block_out, block_in
        Block size; 0 where there are no blocks (`pattern` "rank" or "dense").
    sparsity
        Per cent of the prunable weights' MACs that are removed.
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
        """A name that distinguishes cells."""
        plain = Method(*self.method.parts)
        words = [*self.method.parts]
        if self.method.pattern == "units":
            words.append(self.method.pattern)
        if self.method.basis != plain.basis:
            words.append(self.method.basis)
        if self.method.couple != plain.couple:
            words.append("coupled" if self.method.couple else "uncoupled")
        tail = "-distilled" if self.distilled else ""
        return f"{'-'.join([*words, self.block])}-{self.sparsity}-s{self.seed}{tail}"

    @property
    def headline(self) -> bool:
        """Whether claims rest on it."""
        return self.distilled or self.method in HEADLINES

    @property
    def precise(self) -> bool:
        """Whether it is measured on more images: all of ours, and what comes near."""
        paired = self.method in (REFIT, RANDOM_FULL, RIVAL, LOW_RANK) and self.seed == 0
        return self.distilled or paired or self.method in (FULL, FISHER)

    @property
    def preparation(self) -> tuple[object, ...]:
        """What cells must share for one preparation to serve them all."""
        full = self.method.compensate == "full"
        method = self.method
        losses = self.recipe.losses if method.score in SCORES else None  # low rank has no recipe
        how = (method.score, method.pattern, method.basis, losses, full)
        return *how, self.block_out, self.block_in, self.seed

    @property
    def recipe(self) -> PruneRecipe:
        """The same as `prune` takes it."""
        from lspsim.prune.patterns.units import units_of
        from lspsim.prune.recipe import PruneRecipe
        from lspsim.prune.scores.lpvit import CAP

        method = self.method
        return PruneRecipe(
            self.block_out,
            self.block_in,
            method.score,
            method.allocate,  # type: ignore[arg-type]
            method.compensate,  # type: ignore[arg-type]
            self.seed,
            most=CAP if method.score == "lpvit" else 1.0,
            basis=method.basis,  # type: ignore[arg-type]
            couple=method.couple,
            by_kind=units_of(self.block_out) if method.pattern == "units" else {},
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


def control_cells(
    blocks: Sequence[tuple[int, int]] = BLOCKS,
    sparsities: Sequence[int] = (80,),
    seeds: int = 1,
) -> list[Cell]:
    """Return the controls; low rank, which knows no blocks, once for all block sizes."""
    found = [
        Cell(method, *block, sparsity, seed)
        for method in CONTROLS
        for block in (blocks if method.pattern != "rank" else [(0, 0)])
        for sparsity in sparsities
        for seed in range(seeds)
    ]
    return sorted(found, key=worth)


def quick_cells(blocks: Sequence[tuple[int, int]] = BLOCKS) -> list[Cell]:
    """Return the headline methods at 80 %, one seed."""
    return sorted((Cell(m, *b, 80) for m, b in product(HEADLINES, blocks)), key=worth)


def distilled_cells(blocks: Sequence[tuple[int, int]] = BLOCKS) -> list[Cell]:
    """Return the configurations that are distilled: ours, and what it is compared with.

    The dense network is none of them: nothing is nearer to it than itself.
    """
    small, large = blocks[0], blocks[-1]
    found = [
        Cell(FULL, *small, 80),
        Cell(RANDOM, *small, 80),
        Cell(FULL, *large, 80),
        Cell(REFIT, *small, 80),
        Cell(LPVIT, *small, 80),
    ]
    return [replace(cell, distilled=True) for cell in dict.fromkeys(found)]

"""`PruneRecipe`: how to prune, as far as it does not depend on the budget."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from lspsim.allocate import Method as Allocator
from lspsim.errors import LspsimError
from lspsim.prune.scores import SCORES
from lspsim.prune.scores.lpvit import CAP

Compensation = Literal["none", "bias", "least-squares", "obs", "full"]
"""`full`: losses in nats, in another basis, coupled, then refitted layer by layer."""

Basis = Literal["own", "permute", "rotate", "auto"]
LossSource = Literal["score", "refit"]

BLOCK_OBS = "block-obs"

ORDER_ONLY = ("random", "l1", "wanda")
"""Scores that rank the blocks of one layer only: a count, a weight, an output norm of one
layer says nothing about another's."""

SCORE_NAMES: tuple[str, ...] = (*SCORES, BLOCK_OBS)

KINDS = ("qkv", "proj", "fc1", "fc2")
"""Last parts of the names of layers that are pruned."""

WHOLE = 0
"""As a block side: all rows, or all columns, of the weight."""

Size = tuple[int, int]
"""Rows of N and columns of K per block."""


@dataclass(frozen=True, slots=True)
class PruneRecipe:
    """How to prune.

    Parameters
    ----------
    block_out, block_in
        Block size; `WHOLE` takes all rows, or all columns.
    score
        Out of `SCORE_NAMES`.
    allocate
        Allocator, see `lspsim.allocate.search`.
    compensate
        What makes up for removed blocks.
    seed
        Of random scores and sampled labels.
    most
        Largest fraction of a layer's blocks that may go.
    damping
        Relative to the mean diagonal of each layer's Gram.
    basis
        In which weights are cut into blocks: "own", the model's; "permute" sorts the
        channels of MLPs and heads; "rotate" rotates those of heads and of the residual
        stream as well (docs/decisions/0007); "auto": whichever of the last two does better
        on calibration images held out (`Study.prepare`). Default: "rotate" with `full`,
        else "own".
    couple
        Whether blocks that only served dead units are removed at no loss. Default: with `full`.
    losses
        What a ranking of blocks is said to cost: "score", what the score adds up to;
        "refit", the output error that is left once a layer is refitted alone, in nats.
        Default: "refit" where a score out of `ORDER_ONLY` is to share sparsity between
        layers, and with `full` for all scores but block-OBS, which measures that error
        itself; else "score".
    more_sizes
        Further block sizes out of which the allocation takes one per layer.
    by_kind
        Block sizes of some kinds of layer (out of `KINDS`) in place of all of these.
    """

    block_out: int
    block_in: int
    score: str = BLOCK_OBS
    allocate: Allocator = "knapsack"
    compensate: Compensation = "full"
    seed: int = 0
    most: float = 1.0
    damping: float = 0.01
    basis: Basis | None = None
    couple: bool | None = None
    losses: LossSource | None = None
    more_sizes: tuple[Size, ...] = ()
    by_kind: Mapping[str, Size] = field(default_factory=dict)

    def __post_init__(self) -> None:
        full = self.compensate == "full"
        if self.basis is None:
            object.__setattr__(self, "basis", "rotate" if full else "own")
        if self.couple is None:
            object.__setattr__(self, "couple", full)
        if self.losses is None:
            mute = self.score in ORDER_ONLY and self.allocate != "uniform"
            refit = mute or (full and self.score != BLOCK_OBS)
            object.__setattr__(self, "losses", "refit" if refit else "score")
        for what, value, known in (
            ("score", self.score, SCORE_NAMES),
            ("compensation", self.compensate, get_args(Compensation)),
            ("basis", self.basis, get_args(Basis)),
            ("source of losses", self.losses, get_args(LossSource)),
        ):
            if value not in known:
                raise LspsimError(f"there is no {what} {value!r}; known are {', '.join(known)}")
        for kind in self.by_kind:
            if kind not in KINDS:
                raise LspsimError(f"block size of {kind!r}: kinds of layer are {', '.join(KINDS)}")
        if self.compensate == "obs" and self.score != BLOCK_OBS:
            raise LspsimError(
                f"compensation 'obs' goes with score {BLOCK_OBS!r}, not {self.score!r}; use "
                "'least-squares' or 'full' with other scores"
            )

    @property
    def block(self) -> str:
        """`32x32`, and what else `parse_blocks` reads."""
        sizes = [(self.block_out, self.block_in), *self.more_sizes]
        parts = [_text(size) for size in sizes]
        return ",".join(parts + [f"{kind}={_text(size)}" for kind, size in self.by_kind.items()])

    def sizes(self, layer: str, shape: tuple[int, int]) -> tuple[Size, ...]:
        """Return the block sizes that a layer of weight `[N, K]` may take, each once."""
        kind = layer.rpartition(".")[2]
        asked = [(self.block_out, self.block_in), *self.more_sizes]
        if kind in self.by_kind:
            asked = [self.by_kind[kind]]
        return tuple(dict.fromkeys((o or shape[0], i or shape[1]) for o, i in asked))


def lpvit_recipe(block_out: int, block_in: int, seed: int = 0) -> PruneRecipe:
    """Return LPViT as its paper describes it: one slope for all layers, at most 95 % per layer.

    Parameters
    ----------
    block_out, block_in
        Rows of N and columns of K of a block.
    seed
        Of calibration sampling.
    """
    return PruneRecipe(block_out, block_in, "lpvit", "lagrangian", "none", seed, most=CAP)


def parse_blocks(text: str) -> tuple[Size, tuple[Size, ...], dict[str, Size]]:
    """Read `block_out` and `block_in`, `more_sizes` and `by_kind` of a recipe.

    Parameters
    ----------
    text
        Block sizes with commas between: `32x32`; `16x16,32x32` offers both to every
        layer; `32x32,fc2=32x64` gives fc2 another one; `16xall` takes all columns.

    Raises
    ------
    LspsimError
        When it cannot be read.
    """
    sizes: list[Size] = []
    kinds: dict[str, Size] = {}
    for part in text.lower().replace(" ", "").split(","):
        kind, named, size = part.rpartition("=")
        match = re.fullmatch(r"([1-9]\d*|all)x([1-9]\d*|all)", size)
        if match is None or (named and kind not in KINDS) or match[0] == "allxall":
            raise LspsimError(
                f"{part!r} is not a block size; write ROWSxCOLUMNS, e.g. 32x32 (out x in), "
                f"fc2=32x64 for one kind of layer out of {', '.join(KINDS)}, 16xall for all columns"
            )
        rows, columns = (WHOLE if side == "all" else int(side) for side in match.groups())
        if named:
            kinds[kind] = rows, columns
        else:
            sizes.append((rows, columns))
    if not sizes:
        if set(kinds) != set(KINDS):
            missing = ", ".join(kind for kind in KINDS if kind not in kinds)
            raise LspsimError(f"{text!r} gives no block size for {missing}; put one in front")
        sizes.append(kinds[KINDS[0]])
    return sizes[0], tuple(dict.fromkeys(sizes[1:])), kinds


def _text(size: Sequence[int]) -> str:
    return "x".join("all" if side == WHOLE else str(side) for side in size)

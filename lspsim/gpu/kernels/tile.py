"""What the block-sparse kernel takes: dtypes, blocks, and the tile that one program computes.

The limits are those of `torch/sparse/_triton_ops.py` (torch 2.13): `check_blocksize`,
`check_dtype`, and `BLOCKSIZE_COL = tokens / SPLIT_N`, which Triton needs as a power of two.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lspsim.errors import LspsimError
from lspsim.gpu.model.sparse import SMALLEST_BLOCK, supported

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
"""Number formats of the kernel by the names that options and files use."""


def dtype_named(name: str) -> torch.dtype:
    """Return the torch dtype called `name`.

    Raises
    ------
    LspsimError
        When the kernel does not take it.
    """
    if name not in DTYPES:
        raise LspsimError(f"dtype {name!r} is not supported; use one of {', '.join(DTYPES)}")
    return DTYPES[name]


def dtype_name(dtype: torch.dtype) -> str:
    """Return the short name of a supported dtype.

    Raises
    ------
    LspsimError
        When the kernel does not take it.
    """
    for name, known in DTYPES.items():
        if known == dtype:
            return name
    raise LspsimError(
        f"{dtype} is not supported by the block-sparse kernel; convert the model, e.g. "
        f"model.to(torch.bfloat16) (it takes {', '.join(DTYPES)})"
    )


def check_block(block_out: int, block_in: int) -> None:
    """Raise `LspsimError` unless both sides of the block are powers of two of at least 16."""
    if not supported(block_out, block_in):
        raise LspsimError(
            f"block {block_out}x{block_in} is not supported by the block-sparse kernel: each "
            f"side must be a power of two of at least {SMALLEST_BLOCK}; prune with e.g. 32x32"
        )


@dataclass(frozen=True, slots=True)
class Tile:
    """What one program of the kernel computes, and how it is compiled.

    Parameters
    ----------
    tokens
        Tokens per program: a power of two of at least 16. Token counts are padded
        to a multiple of it.
    group_rows
        Rows of blocks that run side by side on the same tokens, for the L2.
    stages
        Depth of the software pipeline over a row's blocks.
    warps
        Warps per program, a power of two.

    Raises
    ------
    LspsimError
        On a value that Triton does not take.
    """

    tokens: int
    group_rows: int = 4
    stages: int = 1
    warps: int = 4

    def __post_init__(self) -> None:
        if not _is_power_of_two(self.tokens) or self.tokens < SMALLEST_BLOCK:
            raise LspsimError(
                f"tile: tokens must be a power of two of at least {SMALLEST_BLOCK}, "
                f"got {self.tokens}"
            )
        if not _is_power_of_two(self.warps) or self.group_rows < 1 or self.stages < 1:
            raise LspsimError(
                f"tile: warps must be a power of two, group_rows and stages at least 1, got {self}"
            )

    def padded(self, tokens: int) -> int:
        """Return `tokens` rounded up to whole tiles."""
        return -(-tokens // self.tokens) * self.tokens

    def meta(self, tokens: int) -> dict[str, int]:
        """Return torch's names for this tile at a padded token count."""
        return {
            "SPLIT_N": tokens // self.tokens,
            "GROUP_SIZE_ROW": self.group_rows,
            "num_stages": self.stages,
            "num_warps": self.warps,
        }


def default_tile(tokens: int, dtype: torch.dtype) -> Tile:
    """Return the tile that is used where nothing was tuned.

    A choice of ours, from sizes alone: 64 tokens for one image, 128 for more; three
    stages for 16-bit numbers. fp32 takes one, for torch accumulates it in fp64.
    """
    stages = 1 if dtype == torch.float32 else 3
    return Tile(64 if tokens <= 512 else 128, stages=stages)


def candidates(tokens: int, dtype: torch.dtype) -> tuple[Tile, ...]:
    """Return the tiles that tuning tries, at most a dozen, the default one first.

    Only odd numbers of stages are tried: where a block lies is itself loaded, so that
    Triton 3.6 splits the pipeline in two and compiles 4 like 3 and 6 like 5.
    """
    first = default_tile(tokens, dtype)
    sizes: tuple[tuple[int, int, int], ...]
    if dtype == torch.float32:
        sizes = ((64, 1, 4), (64, 1, 8), (32, 1, 4), (128, 1, 4), (32, 2, 4), (16, 1, 4))
    elif tokens <= 512:
        sizes = (
            *((64, 5, 4), (64, 7, 4), (32, 5, 4), (32, 7, 2), (128, 5, 4), (128, 5, 8)),
            *((16, 7, 2), (64, 5, 8), (32, 3, 4)),
        )
    else:
        sizes = (
            *((128, 5, 4), (128, 7, 4), (128, 3, 8), (128, 5, 8), (256, 3, 8), (256, 5, 8)),
            *((256, 5, 4), (64, 5, 4), (64, 7, 4)),
        )
    tried = [first]
    tried += [Tile(size, stages=stages, warps=warps) for size, stages, warps in sizes]
    tried += [Tile(first.tokens, group, first.stages, first.warps) for group in (1, 16)]
    return tuple(dict.fromkeys(tried))


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0

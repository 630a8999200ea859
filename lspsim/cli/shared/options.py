"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

Engine = Literal["event", "analytic", "reference"]
Format = Literal["table", "json", "csv"]


class BlockSize(NamedTuple):
    """Rows of N and columns of K that one block of W[N, K] covers."""

    block_out: int
    block_in: int

    def __str__(self) -> str:
        return f"{self.block_out}x{self.block_in}"


DEFAULT_BLOCK = BlockSize(32, 32)


def block(text: str) -> BlockSize:
    """Read `32x64` as 32 rows of N by 64 columns of K."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text.strip().lower())
    if match is None:
        raise typer.BadParameter(
            f"{text!r} is not a block size; write ROWSxCOLUMNS, e.g. 32x32 (out x in)"
        )
    return BlockSize(int(match[1]), int(match[2]))


def fraction(text: str) -> float:
    """Read a number in 0..1."""
    try:
        value = float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number; write e.g. 0.5") from None
    if not 0.0 <= value <= 1.0:
        raise typer.BadParameter(
            f"{text} is outside 0..1; 0.5 removes half of the blocks"
            + (f" (for {text} per cent write {value / 100:g})" if 1 < value <= 100 else "")
        )
    return value


def setting(text: str) -> str:
    """Check the form `path=value` of one `--set`."""
    path, equals, value = text.partition("=")
    if not (path.strip() and equals and value.strip()):
        raise typer.BadParameter(f"{text!r} is not PATH=VALUE; write e.g. --set array.rows=64")
    return text


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A timm name such as deit_base_patch16_224, a shipped model such as "
        "lspsim/deit_digits, or the path of a workload.json.",
        show_default=False,
    ),
]
HardwareName = Annotated[
    str,
    typer.Option(
        "--hw",
        metavar="NAME|FILE",
        help="A preset of [bold]lspsim hardware list[/bold] or a YAML file.",
        show_default=False,
    ),
]
Sparsity = Annotated[
    float | None,
    typer.Option(
        parser=fraction,
        metavar="0..1",
        help="Remove this fraction of the blocks of each linear layer inside the transformer "
        "blocks, at random. Without it: dense.",
        show_default=False,
    ),
]
Block = Annotated[
    BlockSize | None,
    typer.Option(
        parser=block,
        metavar="OUTxIN",
        help="Block of W[N, K]: rows of N by columns of K, with --sparsity or --checkpoint. "
        f"Default: that of a pruned network, else {DEFAULT_BLOCK}.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the random masks.")]
PlotFile = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE", help="Draw it: FILE.png and FILE.svg.", show_default=False
    ),
]
MaskSeed = Annotated[
    int | None,
    typer.Option(
        min=0, help="Seed of the random masks of --sparsity. Default: 0.", show_default=False
    ),
]
Batch = Annotated[int, typer.Option(min=1, help="Images per inference.")]
ImageSize = Annotated[
    int | None,
    typer.Option(min=1, help="Side of the square input; default: the model's own."),
]
Masks = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.npz|DIR",
        help="Masks saved by an earlier run or by pruning, or the directory of either.",
        show_default=False,
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|DIR",
        help="Weights (.safetensors, or .pt read without pickles), or the directory of a pruned "
        "network; all-zero blocks are removed.",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        parser=setting,
        metavar="PATH=VALUE",
        help="Override a value of the hardware, e.g. array.rows=64 or 'clock=800 MHz'. Repeat it.",
        show_default=False,
    ),
]
EngineOption = Annotated[
    Engine,
    typer.Option(
        help="event: cycle counts; analytic: closed forms, a lower bound with real memory; "
        "reference: the slow oracle."
    ),
]
FormatOption = Annotated[
    Format, typer.Option("--format", help="What to print on stdout; json is one object.")
]
AllLayers = Annotated[
    bool,
    typer.Option("--all-layers", help="One table row per layer, repeated blocks included."),
]

"""`lspsim finetune`: recover accuracy with the masks held."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lspsim.cli.train import DeviceOption, Restart, Shards

Preset = Literal["short", "lpvit"]


def finetune(
    point: Annotated[
        Path,
        typer.Argument(
            metavar="POINT", help="A directory that lspsim prune wrote.", show_default=False
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The finetuned point.", show_default=False)
    ],
    preset: Annotated[
        Preset,
        typer.Option(help="short: three epochs of distillation; lpvit: the paper's recipe."),
    ] = "short",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Default: the preset's.", show_default=False)
    ] = None,
    epoch_images: Annotated[
        int | None,
        typer.Option(min=1, help="Images per epoch; default: the data set's.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of images and their order.")] = 0,
    device: DeviceOption = "cpu",
    shards: Shards = 1,
    restart: Restart = False,
) -> None:
    """Distil the dense model into a pruned one; removed blocks stay removed.

    Example: lspsim finetune runs/digits/POINT --out runs/digits-tuned
    """
    from dataclasses import replace

    from lspsim.prune.finetune import PRESETS
    from lspsim.prune.retune import finetune_point

    distillation = PRESETS[preset]
    if epochs is not None:
        distillation = replace(distillation, recipe=replace(distillation.recipe, epochs=epochs))
    record = finetune_point(
        point,
        out,
        distillation,
        epoch_images=epoch_images,
        seed=seed,
        device=device,
        shards=shards,
        resume=not restart,
    )
    top1, dense = record.pruned.top1, record.dense.top1
    scores = "" if top1 is None or dense is None else f"top-1 {top1:.2%}, dense {dense:.2%}, "
    typer.echo(f"written: {out} ({scores}KL to dense {record.pruned.kl_nats:.4f} nats)")

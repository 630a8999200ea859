"""`lspsim finetune`: recover accuracy with the masks held."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lspsim.cli.prune.train import DeviceOption, Restart, Shards

Preset = Literal["short", "lpvit"]
Keep = Literal["best", "last"]


def finetune(
    point: Annotated[
        Path,
        typer.Argument(
            metavar="NETWORK", help="A directory that lspsim prune wrote.", show_default=False
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The fine-tuned network.", show_default=False)
    ],
    preset: Annotated[
        Preset,
        typer.Option(help="short: three epochs of distillation; lpvit: the paper's recipe."),
    ] = "short",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Default: the preset's.", show_default=False)
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="At its peak; default: the preset's. A network that is close to the dense one "
            "needs a lower one.",
            show_default=False,
        ),
    ] = None,
    epoch_images: Annotated[
        int | None,
        typer.Option(min=1, help="Images per epoch; default: the data set's.", show_default=False),
    ] = None,
    keep: Annotated[
        Keep,
        typer.Option(
            help="best: the epoch of the least KL to the dense model on validation images, or the "
            "network as it was; last: the last epoch."
        ),
    ] = "best",
    seed: Annotated[int, typer.Option(min=0, help="Of images and their order.")] = 0,
    device: DeviceOption = "cpu",
    shards: Shards = 1,
    restart: Restart = False,
) -> None:
    """Distil the dense model into a pruned one; removed blocks stay removed.

    Example: lspsim finetune runs/digits/NETWORK --out runs/digits-tuned
    """
    from dataclasses import replace

    from lspsim.cli.shared.signals import kept_when_interrupted
    from lspsim.report.quantities import nats
    from lspsim.train.finetune import PRESETS
    from lspsim.train.finetune_saved import finetune_point

    distillation = PRESETS[preset]
    recipe = distillation.recipe
    if epochs is not None:
        recipe = replace(recipe, epochs=epochs)
    if learning_rate is not None:
        recipe = replace(recipe, learning_rate=learning_rate)
    kept = f"finished epochs are kept in {out}.state; the same command goes on from there"
    with kept_when_interrupted(kept):
        record = finetune_point(
            point,
            out,
            replace(distillation, recipe=recipe),
            epoch_images=epoch_images,
            keep_best=keep == "best",
            seed=seed,
            device=device,
            shards=shards,
            resume=not restart,
        )
    top1, dense = record.pruned.top1, record.dense.top1
    scores = "" if top1 is None or dense is None else f"top-1 {top1:.2%}, dense {dense:.2%}, "
    typer.echo(f"written: {out} ({scores}KL to dense {nats(record.pruned.kl_nats)} nats)")
    tuned = record.provenance["finetuned"]
    if isinstance(tuned, dict) and tuned["epochs_kept"] == 0:
        typer.echo("no epoch came closer to the dense model on validation images: same outputs")

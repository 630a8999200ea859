"""`lspsim train`: the shipped models, trained again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Preset = Literal["digits", "glyphs", "glyphs-hard"]
Device = Literal["cpu", "cuda"]
DeviceOption = Annotated[Device, typer.Option(help="Where to run.")]
Shards = Annotated[
    int, typer.Option(min=1, help="Processes that share a batch; 2 is faster on two cores.")
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Start over instead of going on where a run stopped.")
]


def train(
    preset: Annotated[
        Preset,
        typer.Argument(help="Data set, and with it the recipe.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Weights, model card and the state to go on from.",
            show_default=False,
        ),
    ],
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Default: the recipe's.", show_default=False)
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Channels, for a smaller or larger dense model; default: the preset's, "
            "like heads and depth. The model's name says what differs.",
            show_default=False,
        ),
    ] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, help="Attention heads.", show_default=False)
    ] = None,
    depth: Annotated[
        int | None, typer.Option(min=1, help="Transformer blocks.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights and images.")] = 0,
    device: DeviceOption = "cpu",
    shards: Shards = 1,
    restart: Restart = False,
) -> None:
    """Train a small DeiT from nothing; resumes after a kill.

    Example: lspsim train digits --out models
    """
    from dataclasses import replace

    from lspsim.cli.shared.signals import kept_when_interrupted
    from lspsim.train.from_scratch import train as run
    from lspsim.train.from_scratch import variant

    config, name = variant(preset, width, heads, depth)
    config = replace(config, seed=seed)
    if epochs is not None:
        config = replace(config, recipe=replace(config.recipe, epochs=epochs))
    words = ["lspsim", "train", preset, "--out", "DIR"]
    words += ["--epochs", str(epochs)] if epochs is not None else []
    for option, value in (("--width", width), ("--heads", heads), ("--depth", depth)):
        words += [option, str(value)] if value is not None else []
    words += ["--seed", str(seed)] if seed else []
    words += ["--shards", str(shards)] if shards != 1 else []
    out.mkdir(parents=True, exist_ok=True)
    kept = f"finished epochs are kept in {out}; the same command goes on from there"
    with kept_when_interrupted(kept):
        done = run(
            config,
            out,
            name=name,
            resume=not restart,
            device=device,
            shards=shards,
            command=" ".join(words),
            progress=True,
        )
    scores = ", ".join(f"{split} {100 * x:.2f} %" for split, x in done.accuracy.items())
    typer.echo(f"written: {done.weights} and {done.card} ({scores})")

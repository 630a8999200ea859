"""`lspsim prune`: from a model, a chip and budgets to pruned models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lspsim.cli.shared import options

Score = Literal["random", "l1", "wanda", "taylor", "fisher", "lpvit", "block-obs"]
Allocate = Literal["uniform", "lagrangian", "knapsack", "greedy"]
Compensate = Literal["none", "bias", "least-squares", "obs", "full"]

Losses = Literal["score", "refit"]
Basis = Literal["own", "permute", "rotate", "auto"]

PrunedModel = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A shipped model (lspsim/deit_digits), a timm name, or a model card that "
        "[bold]lspsim train[/bold] wrote.",
        show_default=False,
    ),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="NAME|DIR",
        help="digits, glyphs, glyphs-hard, or a folder with one folder of images per class.",
        show_default=False,
    ),
]


def budget_points(texts: list[str]) -> list[list[str]]:
    """Split `cycles=0.7,0.5` into budgets of one network each; several kinds advance together.

    Raises
    ------
    typer.BadParameter
        When lists of values differ in length.
    """
    columns: list[list[str]] = []
    for text in texts:
        kind, equals, values = text.partition("=")
        if not equals or not values.strip():
            raise typer.BadParameter(f"{text!r} is not KIND=VALUE; write e.g. --budget cycles=0.5")
        columns.append([f"{kind.strip()}={value.strip()}" for value in values.split(",")])
    most = max(map(len, columns))
    if any(len(column) not in (1, most) for column in columns):
        raise typer.BadParameter(
            "budgets with several values must have equally many (or one, which then holds for "
            "all networks), e.g. --budget cycles=0.7,0.5 --budget energy=0.8,0.6"
        )
    return [[column[i % len(column)] for column in columns] for i in range(most)]


def prune(
    model: PrunedModel,
    data: Data,
    hw: Annotated[
        str,
        typer.Option(
            "--hw",
            metavar="NAME|FILE|gpu:NAME",
            help="A preset of [bold]lspsim hardware list[/bold], a YAML file, or a GPU of "
            "[bold]lspsim gpu list[/bold], e.g. gpu:h200.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="One directory per pruned network is made here; finished ones are kept.",
            show_default=False,
        ),
    ],
    budget: Annotated[
        list[str],
        typer.Option(
            metavar="KIND=VALUE[,VALUE...]",
            help="What one inference may cost: cycles, energy, latency or macs, as a fraction of "
            "dense (0.5) or a quantity (2ms). Several values make several networks; repeat the "
            "option for several budgets that all must hold.",
            show_default=False,
        ),
    ],
    block: Annotated[
        str,
        typer.Option(
            metavar="OUTxIN[,...]",
            help="Block of W[N, K]: rows of N by columns of K. 16x16,32x32 offers both to every "
            "layer; 32x32,fc2=32x64 gives one kind of layer its own; 16xall takes all columns.",
        ),
    ] = str(options.DEFAULT_BLOCK),
    score: Annotated[Score, typer.Option(help="How blocks are ranked.")] = "block-obs",
    allocate: Annotated[Allocate, typer.Option(help="How layers share the budget.")] = "knapsack",
    compensate: Annotated[
        Compensate,
        typer.Option(
            help="What makes up for removed blocks. obs: with block-obs. full: a basis in which "
            "blocks are cheap, losses in nats, dead units at no loss, and refit; with any score."
        ),
    ] = "full",
    basis: Annotated[
        Basis | None,
        typer.Option(
            help="Basis in which blocks are removed: the model's own; permute sorts channels of "
            "MLPs and heads; rotate sorts those of MLPs, and rotates heads and residual stream; "
            "auto takes whichever of permute and rotate does better on held-out calibration images "
            "(three times the work). Default: rotate with --compensate full, else own.",
            show_default=False,
        ),
    ] = None,
    couple: Annotated[
        bool | None,
        typer.Option(
            "--couple/--no-couple",
            help="Remove blocks that only served dead units, at no loss. Default: with "
            "--compensate full.",
            show_default=False,
        ),
    ] = None,
    losses: Annotated[
        Losses | None,
        typer.Option(
            help="What layers share the budget by: what the score adds up to, or the loss that "
            "is left after each layer is refitted (in nats; makes any score comparable). "
            "Default: refit for random, l1 and wanda unless uniform, and with full; else score "
            "(block-obs measures that loss itself).",
            show_default=False,
        ),
    ] = None,
    images: Annotated[int, typer.Option(min=8, help="Calibration images.")] = 128,
    test_images: Annotated[
        int | None, typer.Option(min=1, help="Test images; default: all.", show_default=False)
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Of calibration images, sampled labels, random masks.")
    ] = 0,
    checkpoint: options.Checkpoint = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Take timm's trained weights (a download).")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, help="Images per inference on the hardware.")] = 1,
    settings: options.Settings = None,
    fmt: options.FormatOption = "table",
) -> None:
    """Remove the blocks that cost accuracy least and hardware most, within budgets.

    Example: the shipped digit model at 70 % and half of its cycles

        lspsim prune lspsim/deit_digits --data digits --hw edge_32x32 --block 32x32
        --budget cycles=0.7,0.5 --out runs/digits
    """
    from lspsim.allocate.budgets import parse_budgets
    from lspsim.cli.prune.points import Points
    from lspsim.cli.shared.inputs import check_gpu_gain, target_of, weights_file
    from lspsim.cli.shared.signals import kept_when_interrupted
    from lspsim.errors import LspsimError
    from lspsim.prune.recipe import PruneRecipe, parse_blocks
    from lspsim.prune.scores.lpvit import CAP
    from lspsim.prune.study import open_study

    budgets = [parse_budgets(point) for point in budget_points(budget)]
    most = CAP if score == "lpvit" else 1.0
    size, more_sizes, by_kind = parse_blocks(block)
    recipe = PruneRecipe(
        *size,
        score,
        allocate,
        compensate,
        seed,
        most=most,
        basis=basis,
        couple=couple,
        losses=losses,
        more_sizes=more_sizes,
        by_kind=by_kind,
    )
    hardware = target_of(hw, settings)
    points = Points(out)
    kept = f"finished networks are kept in {out}; the same command makes the rest"
    with kept_when_interrupted(kept), points.progress(len(budgets)) as tell:
        study = open_study(
            model,
            data,
            hardware,
            checkpoint=str(weights_file(checkpoint)) if checkpoint else None,
            pretrained=pretrained,
            calibration_images=images,
            test_images=test_images,
            seed=seed,
            batch=batch,
        )
        check_gpu_gain(study, recipe, budgets)
        all_reachable = points.run(study, recipe, budgets, tell)
    if all_reachable or points.records:
        points.show(fmt)
    if not all_reachable:
        raise typer.Exit(LspsimError.exit_code)

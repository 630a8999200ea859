"""`lspsim compare`: two designs, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lspsim.cli.shared import options
from lspsim.cli.shared.errors import note

if TYPE_CHECKING:
    from lspsim.report.compare import LayerDifference


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="A preset, a YAML file or a run directory.", show_default=False
        ),
    ],
    b: Annotated[
        str | None,
        typer.Argument(
            metavar="B", help="Likewise; or leave it out and use --set.", show_default=False
        ),
    ] = None,
    settings: options.Settings = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="What runs, as for [bold]simulate[/bold]; a run directory brings its own.",
            show_default=False,
        ),
    ] = None,
    sparsity: options.Sparsity = None,
    block: options.Block = None,
    seed: options.MaskSeed = None,
    batch: options.Batch = 1,
    image_size: options.ImageSize = None,
    masks: options.Masks = None,
    checkpoint: options.Checkpoint = None,
    engine: options.EngineOption = "event",
    fmt: options.FormatOption = "table",
    all_layers: options.AllLayers = False,
) -> None:
    """Compare two designs layer by layer, time by bucket.

    Two arrays:  lspsim compare edge_32x32 mid_64x64 --model deit_base_patch16_224

    A variation: lspsim compare edge_32x32 --set array.rows=64 --model deit_base_patch16_224

    Two runs:    lspsim compare runs/dense runs/half
    """
    from lspsim.cli.chip.designs import both
    from lspsim.cli.shared.inputs import WorkloadChoice
    from lspsim.cli.shared.output import print_json, print_rich, print_rows
    from lspsim.report.compare import (
        compare as compare_runs,
    )
    from lspsim.report.compare import (
        comparison_layer_table,
        comparison_totals_table,
        heading,
        unmatched_lines,
    )

    choice = None
    if model is not None:
        choice = WorkloadChoice(model, sparsity, block, seed, batch, image_size, masks, checkpoint)
    elif batch != 1 or any(
        one is not None for one in (sparsity, block, seed, image_size, masks, checkpoint)
    ):
        raise typer.BadParameter(
            "--sparsity, --block, --seed, --batch, --image-size, --masks and --checkpoint go with "
            "--model; a run directory brings its own workload"
        )
    first, second = both(a, b, settings, choice)
    comparison = compare_runs(
        first.summary(engine),
        second.summary(engine),
        collapse=not all_layers,
        label_a=first.label,
        label_b=second.label,
    )
    if fmt == "json":
        print_json(comparison.to_dict())
    elif fmt == "csv":
        for text in comparison.notes:
            note(text)
        print_rows([_row(layer) for layer in comparison.layers])
    else:
        print_rich(
            heading(comparison),
            comparison_layer_table(comparison),
            comparison_totals_table(comparison),
            *unmatched_lines(comparison),
        )


def _row(layer: LayerDifference) -> dict[str, Any]:
    """One CSV row; buckets are b minus a."""
    return {
        "layer": layer.label,
        "cycles_a": layer.cycles_a,
        "cycles_b": layer.cycles_b,
        "time_a_ns": layer.time_a_ns,
        "time_b_ns": layer.time_b_ns,
        **{f"{name}_difference_ns": x for name, x in layer.bucket_difference_ns.items()},
        "energy_a_pj": layer.energy_a_pj,
        "energy_b_pj": layer.energy_b_pj,
    }

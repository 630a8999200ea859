"""`lspsim simulate`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lspsim.cli.shared import options


def simulate(
    model: options.Model,
    hw: options.HardwareName,
    sparsity: options.Sparsity = None,
    block: options.Block = None,
    seed: options.MaskSeed = None,
    batch: options.Batch = 1,
    image_size: options.ImageSize = None,
    masks: options.Masks = None,
    checkpoint: options.Checkpoint = None,
    settings: options.Settings = None,
    engine: options.EngineOption = "event",
    fmt: options.FormatOption = "table",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a run directory: summary, layers, masks, hardware, provenance, plots.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run directory of an earlier run.")
    ] = False,
    all_layers: options.AllLayers = False,
) -> None:
    """Simulate one inference, layer by layer: cycles, energy, traffic.

    Example: half of all 32x32 weight blocks of DeiT-B removed, on an edge core

        lspsim simulate deit_base_patch16_224 --hw edge_32x32
        --sparsity 0.5 --block 32x32
    """
    from lspsim.cli.shared.inputs import WorkloadChoice, hardware_of

    hardware = hardware_of(hw, settings)
    workload = WorkloadChoice(
        model, sparsity, block, seed, batch, image_size, masks, checkpoint
    ).workload()
    from lspsim.simulate import simulate as run

    result = run(workload, hardware, engine=engine)
    if out is not None:
        from lspsim.report import write_run

        write_run(result, out, overwrite=overwrite)
        typer.echo(f"written: {out}", err=True)
    if fmt == "json":
        from lspsim.cli.shared.output import print_json

        print_json(result.to_dict())
    elif fmt == "csv":
        from lspsim.report.tables import layers_csv

        typer.echo(layers_csv(result), nl=False)
    else:
        from lspsim.cli.shared.output import print_rich
        from lspsim.report.summary import RunSummary
        from lspsim.report.tables import layer_table, totals_table

        run_summary = RunSummary.of(result)
        print_rich(layer_table(run_summary, collapse=not all_layers), totals_table(run_summary))

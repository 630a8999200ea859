"""`lspsim trace`: a timeline to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lspsim.cli.shared import options


def trace(
    model: options.Model,
    hw: options.HardwareName,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write; gzipped JSON.")] = Path(
        "trace.json.gz"
    ),
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Only this layer, e.g. blocks.0.mlp.fc1.", show_default=False
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="Start of the window, e.g. '20 us'.", show_default=False
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="End of the window.", show_default=False),
    ] = None,
    sparsity: options.Sparsity = None,
    block: options.Block = None,
    seed: options.MaskSeed = None,
    batch: options.Batch = 1,
    image_size: options.ImageSize = None,
    masks: options.Masks = None,
    checkpoint: options.Checkpoint = None,
    settings: options.Settings = None,
    plot: options.PlotFile = None,
) -> None:
    """Write a timeline of DMA, array, vector unit and write-back, for ui.perfetto.dev.

    It is played on the reference engine, so a whole DeiT-B takes a while; a
    window makes the file small, not the run short.

    Example:

        lspsim trace deit_tiny_patch16_224 --hw edge_32x32
        --layer blocks.0.mlp.fc1 --plot fc1
    """
    from lspsim.cli.shared.inputs import WorkloadChoice, hardware_of
    from lspsim.report.trace import trace as play
    from lspsim.report.trace import write_trace
    from lspsim.report.trace_spans import Window

    window = Window(layer, _seconds(start), _seconds(end))
    hardware = hardware_of(hw, settings)
    choice = WorkloadChoice(model, sparsity, block, seed, batch, image_size, masks, checkpoint)
    timeline = play(choice.workload(), hardware, window)
    write_trace(timeline, out)
    if plot is not None:
        from lspsim.report.plots import draw_timeline, save_figure

        figure, _ = draw_timeline(timeline)
        for path in save_figure(figure, plot):
            typer.echo(f"written: {path}", err=True)
    typer.echo(f"written: {out} ({len(timeline.spans)} spans); open it at https://ui.perfetto.dev")


def _seconds(text: str | None) -> float | None:
    """Read a time with its unit."""
    if text is None:
        return None
    from lspsim.units import TIME, parse_quantity

    return float(parse_quantity(text, TIME))

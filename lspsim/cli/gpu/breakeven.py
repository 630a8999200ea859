"""`lspsim gpu breakeven`: from which sparsity on blocks pay on a GPU."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lspsim.cli.gpu.options import GpuDtype, GpuName, ParametersName
from lspsim.cli.shared import options

if TYPE_CHECKING:
    from lspsim.gpu.model.breakeven import BreakEven
    from lspsim.gpu.model.gpu_model import GpuModel

_DEFAULT_MODEL = "deit_base_patch16_224"


def breakeven(
    gpu: GpuName,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help=f"Network whose layers are looked at. Default: {_DEFAULT_MODEL}.",
            show_default=False,
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NxK",
            help="One weight instead, N rows by K columns, with 197 tokens per image.",
            show_default=False,
        ),
    ] = None,
    block: Annotated[
        str, typer.Option(metavar="OUTxIN[,...]", help="Blocks, rows of N by columns of K.")
    ] = "16x16,32x32,64x64",
    batch: Annotated[str, typer.Option(metavar="B[,...]", help="Images.")] = "1,16,64,256",
    tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="Tokens per image, with --layer. Default: 197.", show_default=False
        ),
    ] = None,
    dtype: GpuDtype = "bf16",
    seed: options.Seed = 0,
    parameters: ParametersName = None,
    plot: options.PlotFile = None,
    fmt: options.FormatOption = "table",
) -> None:
    """Show from which sparsity on a block-sparse layer is faster than the dense one.

    Example: lspsim gpu breakeven --gpu h200 --block 32x32,64x64 --batch 1,64
    """
    from lspsim.cli.gpu.options import gpu_model

    if layer is not None and model is not None:
        raise typer.BadParameter("--layer and --model exclude each other; keep one")
    if layer is None and tokens is not None:
        raise typer.BadParameter("--tokens goes with --layer; a model has its own number of them")
    blocks = [options.block(text) for text in block.split(",")]
    batches = [_batch(text) for text in batch.split(",")]
    chosen = gpu_model(gpu, dtype, parameters)
    found: list[BreakEven] = []
    for images in batches:
        for size in blocks:
            if layer is None:
                found += _of_network(chosen, model or _DEFAULT_MODEL, images, size, seed)
            else:
                found.append(_of_layer(chosen, layer, (tokens or 197) * images, images, size, seed))
    if plot is not None:
        from lspsim.report.plots.breakeven import draw_break_evens
        from lspsim.report.plots.canvas import save_figure

        figure, _ = draw_break_evens(
            _lines(found), title=f"Predicted: {chosen.gpu.description}, {dtype}"
        )
        for path in save_figure(figure, plot):
            typer.echo(f"written: {path}", err=True)
    _show(found, fmt)


def _batch(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d*", text.strip()):
        raise typer.BadParameter(f"{text!r} is not a batch size; write e.g. --batch 1,64")
    return int(text)


def _of_network(
    model: GpuModel, name: str, batch: int, block: options.BlockSize, seed: int
) -> list[BreakEven]:
    from lspsim.gpu.model.breakeven import network_break_evens
    from lspsim.models import cached_workload

    return network_break_evens(model, cached_workload(name, batch=batch), block, seed)


def _of_layer(
    model: GpuModel, text: str, m: int, batch: int, block: options.BlockSize, seed: int
) -> BreakEven:
    from lspsim.gpu.model.breakeven import shape_break_even

    n, k = options.block(text)
    return shape_break_even(model, m, n, k, block, batch, seed)


def _lines(found: list[BreakEven]) -> dict[str, list[tuple[int, float | None]]]:
    """Return (batch, break-even) by block, of the last rows of every batch: all layers."""
    last = found[-1].layer
    lines: dict[str, list[tuple[int, float | None]]] = {}
    for row in found:
        if row.layer == last:
            name = f"{row.block[0]}x{row.block[1]}"
            lines.setdefault(name, []).append((row.batch, row.sparsity))
    return lines


def _show(found: list[BreakEven], fmt: options.Format) -> None:
    from lspsim.cli.shared.output import print_json, print_rich, print_rows, print_table
    from lspsim.gpu.model.breakeven import PROBES

    if fmt == "table":
        print_table(
            [
                "layer",
                "M",
                "N",
                "K",
                "batch",
                "block",
                "break-even",
                *(f"at {probe:.0%}" for probe in PROBES),
            ],
            [_cells(row) for row in found],
        )
        print_rich(
            "",
            "Predicted. Break-even: least share of removed blocks at which the block-sparse layer "
            "is not slower than the dense one. Right of it: speedup of the layer alone.",
        )
        return
    rows = [_data(row) for row in found]
    if fmt == "json":
        print_json({"schema": "lspsim/gpu-breakeven/v1", "rows": rows})
    else:
        print_rows(rows)


def _cells(row: BreakEven) -> list[str]:
    sizes = [f"{size:,}" if size else "-" for size in (row.m, row.n, row.k)]
    return [
        row.layer,
        *sizes,
        str(row.batch),
        f"{row.block[0]}x{row.block[1]}",
        "never" if row.sparsity is None else f"{row.sparsity:.1%}",
        *(f"{speedup:.2f}x" for speedup in row.speedups),
    ]


def _data(row: BreakEven) -> dict[str, Any]:
    from lspsim.gpu.model.breakeven import PROBES

    speedups = zip(PROBES, row.speedups, strict=True)
    return {
        "layer": row.layer,
        "m": row.m,
        "n": row.n,
        "k": row.k,
        "batch": row.batch,
        "block_out": row.block[0],
        "block_in": row.block[1],
        "break_even_sparsity": row.sparsity,
        **{f"speedup_at_{round(100 * probe)}": speedup for probe, speedup in speedups},
    }

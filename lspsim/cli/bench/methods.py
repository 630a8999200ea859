"""`lspsim bench`: the pruning methods of the field against each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lspsim.cli.bench.studies import proxy, ranks, steps
from lspsim.cli.shared.options import Format, FormatOption, block
from lspsim.errors import LspsimError

if TYPE_CHECKING:
    from lspsim.bench.bench import Sizes
    from lspsim.bench.cells import Cell
    from lspsim.bench.pages import Grid
    from lspsim.bench.results import Table
    from lspsim.table import FittedTable

app = typer.Typer(no_args_is_help=True, help="Compare methods over a whole grid of settings.")

QUICK_IMAGES = 2000


def _choices(text: str | None, known: Sequence[str], option: str) -> list[str]:
    """Split `a,b` and check each against what there is; None is everything."""
    if text is None:
        return list(known)
    found = [part.strip() for part in text.split(",")]
    for part in found:
        if part not in known:
            raise typer.BadParameter(f"{part!r} is none of {', '.join(known)}", param_hint=option)
    return found


def _numbers(text: str, option: str, least: int, most: int) -> list[int]:
    """Split `50,80` into whole numbers."""
    found = []
    for part in text.split(","):
        if not part.strip().isdecimal() or not least <= int(part) <= most:
            raise typer.BadParameter(
                f"{part.strip()!r} is not a whole number from {least} to {most}; write e.g. "
                f"{option} 50,80",
                param_hint=option,
            )
        found.append(int(part))
    return found


for study in (proxy, ranks, steps):
    app.command(study.__name__)(study)


@app.callback()
def root() -> None:
    """Hold the comparisons."""


@app.command("pruning")
def pruning(
    model: Annotated[
        str, typer.Option(metavar="NAME", help="As for [bold]lspsim prune[/bold].")
    ] = "lspsim/deit_glyphs",
    data: Annotated[
        str, typer.Option(metavar="NAME|DIR", help="As for [bold]lspsim prune[/bold].")
    ] = "glyphs",
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE.csv",
            help="One row per finished cell; beside it a page (.md), a picture (.png, .svg) and "
            "which images every network classifies correctly (.images.npz). A run goes on where "
            "the last one stopped.",
        ),
    ] = Path("lspsim-bench/pruning.csv"),
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help=f"Headline methods at 80 %, one seed, {QUICK_IMAGES} test images."
        ),
    ] = False,
    distil: Annotated[
        bool, typer.Option("--distil", help="Then distil a few configurations for three epochs.")
    ] = False,
    cells: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most cells to make in this run, those of most worth first.",
            show_default=False,
        ),
    ] = None,
    score: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these.", show_default=False)
    ] = None,
    compensate: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these.", show_default=False)
    ] = None,
    allocate: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these.", show_default=False)
    ] = None,
    blocks: Annotated[
        str, typer.Option("--block", metavar="A,B", help="Block sizes.")
    ] = "16x16,32x32",
    sparsity: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Per cent of the prunable weights' MACs to remove; default: 50,70,80,90.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions.")] = 3,
    random_seeds: Annotated[int, typer.Option(min=1, help="Repetitions of random masks.")] = 10,
    headlines: Annotated[
        bool, typer.Option("--headlines", help="Only the methods that claims are made about.")
    ] = False,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls",
            help="Instead: what else could explain a gain (another basis, structured "
            "pruning, low rank, coupling), at 80 % unless --sparsity says.",
        ),
    ] = False,
    rival: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Measure this smaller dense network, too (a model card of [bold]lspsim "
            "train[/bold]).",
            show_default=False,
        ),
    ] = None,
    images: Annotated[int, typer.Option(min=8, help="Calibration images.")] = 256,
    test_images: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Test images of cells between which small differences count; default: 12000.",
            show_default=False,
        ),
    ] = None,
    other_images: Annotated[
        int, typer.Option(min=1, help="Test images of all other cells.")
    ] = 3072,
    distil_images: Annotated[
        int | None,
        typer.Option(
            min=64,
            help="Training images per epoch of distillation; default: the data set's own.",
            show_default=False,
        ),
    ] = None,
    fmt: FormatOption = "table",
) -> None:
    """Prune by every method, block size and sparsity; measure each; compare in pairs.

    Scores random, l1, wanda, taylor, lpvit, fisher, block-obs; compensation none, bias,
    least-squares, full, and obs with block-obs; allocation uniform, greedy (the whole network
    as one), lagrangian, knapsack. The whole grid takes hours: Ctrl-C keeps what is finished,
    and the same command goes on.

    Example: lspsim bench pruning --quick
    """
    from lspsim.bench import cells as known
    from lspsim.bench.bench import Sizes
    from lspsim.bench.results import Table

    sizes_of_blocks = [block(text) for text in blocks.split(",")]
    asked_for = (score, compensate, allocate)
    methods = (
        _choices(score, known.SCORES, "--score"),
        _choices(compensate, known.COMPENSATIONS, "--compensate"),
        _choices(allocate, known.ALLOCATORS, "--allocate"),
    )

    def wanted(cell: Cell) -> bool:
        method = cell.method
        parts = (method.score, method.compensate, method.allocate)
        named = all(
            text is None or part in choice
            for part, choice, text in zip(parts, methods, asked_for, strict=True)
        )
        return named and (cell.headline or not headlines)

    default = "80" if controls else "50,70,80,90"
    per_cents = _numbers(sparsity or default, "--sparsity", 1, 99)
    if controls:
        found = known.control_cells(sizes_of_blocks, per_cents, seeds)
    elif quick:
        found = known.quick_cells(sizes_of_blocks)
    else:
        found = known.grid(sizes_of_blocks, per_cents, seeds, random_seeds)
    asked = [cell for cell in found if wanted(cell)]
    if distil:
        asked += [cell for cell in known.distilled_cells(sizes_of_blocks) if wanted(cell)]
    if not asked:
        raise typer.BadParameter("no cell passes these choices; take some of them away")
    headline_images = test_images or (QUICK_IMAGES if quick else 12_000)
    table = Table(out)
    failures = _measure(
        model,
        data,
        table,
        Sizes(images, headline_images, min(other_images, headline_images), distil_images),
        asked,
        cells,
        rival,
    )
    _show(table, fmt)
    if failures:
        raise LspsimError(f"{len(failures)} cells could not be made: " + "; ".join(failures))


def _measure(
    model: str,
    data: str,
    table: Table,
    sizes: Sizes,
    asked: Sequence[Cell],
    most: int | None,
    rival: str | None,
) -> list[str]:
    """Make what is missing under a progress bar; write the page, also after Ctrl-C.

    Returns
    -------
    What could not be made, and why.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed

    from lspsim.bench.bench import Bench
    from lspsim.bench.pages import write_markdown
    from lspsim.bench.plot import write_picture

    failures: list[str] = []
    columns = (BarColumn(), MofNCompleteColumn(), Elapsed(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("loading", total=None)
        bench = Bench(model, data, table, sizes, lambda text: bar.update(task, description=text))
        missing = bench.missing(asked)[:most]
        bar.update(task, total=len(missing))
        try:
            if rival is not None:
                bench.measure_rival(rival)
            for cell in missing:
                try:
                    bench.measure(cell)
                except LspsimError as error:
                    failures.append(f"{cell.key}: {error}")
                bar.advance(task)
        finally:
            if table.rows:
                made = [table.path, write_picture(table), write_markdown(table)]
                typer.echo(f"written: {', '.join(map(str, made))}", err=True)
    return failures


def _show(table: Table, fmt: Format) -> None:
    """Print every cell that is finished."""
    from dataclasses import asdict

    from lspsim.bench.pages import grids
    from lspsim.cli.shared.output import print_json, print_rich, print_rows

    rows = [asdict(row) for row in table.rows.values()]
    if not rows:
        return
    if fmt == "json":
        print_json({"schema": "lspsim/bench/v1", "cells": rows})
    elif fmt == "csv":
        print_rows(rows)
    else:
        print_rich(*(_rich(grid) for grid in grids(table)))


def _rich(grid: Grid) -> FittedTable:
    from lspsim.table import FittedTable

    table = FittedTable(
        grid.title,
        telling=("gain", "against", "p (Holm)"),
        prose=(grid.header[0], "against"),
        whole="the .md page",
    )
    table.caption = grid.note
    for header in grid.header:
        table.add_column(header)
    for row in grid.rows:
        table.add_row(*row)
    return table

"""`lspsim bench proxy` and `lspsim bench ranks`: studies beside the comparison of methods."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lspsim.cli.options import FormatOption

if TYPE_CHECKING:
    from lspsim.explore.proxy import ProxyRow

Model = Annotated[str, typer.Option(metavar="NAME", help="As for [bold]lspsim prune[/bold].")]
Data = Annotated[str, typer.Option(metavar="NAME|DIR", help="As for [bold]lspsim prune[/bold].")]
CalibrationImages = Annotated[int, typer.Option("--images", min=8, help="Calibration images.")]

CHIPS = "edge_32x32,quad_32x32,vita_date2024,tpu_like_128x128"


def proxy(
    model: Model = "lspsim/deit_glyphs",
    data: Data = "glyphs",
    hw: Annotated[str, typer.Option("--hw", metavar="A,B", help="Presets or YAML files.")] = CHIPS,
    budget: Annotated[
        str, typer.Option(metavar="KIND=A,B", help="Budgets, each by itself.")
    ] = "cycles=0.5,0.3",
    block: Annotated[str, typer.Option(metavar="OUTxIN", help="Block size.")] = "32x32",
    images: CalibrationImages = 256,
    test_images: Annotated[int, typer.Option(min=1, help="Test images.")] = 3072,
    seed: Annotated[int, typer.Option(min=0, help="Of calibration images.")] = 0,
    out: Annotated[
        Path, typer.Option(metavar="FILE.csv", help="Rewritten after each pair.")
    ] = Path("lspsim-bench/proxy.csv"),
    fmt: FormatOption = "table",
) -> None:
    """Prune with the simulator in the loop, and with a count of surviving blocks in its place.

    Both end on the same simulated cycles; estimated loss, measured KL and top-1 tell what
    the simulator was worth on each chip.

    Example: lspsim bench proxy --hw quad_32x32 --budget cycles=0.4
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from lspsim.cli.output import print_json, print_rows, print_table
    from lspsim.cli.prune import budget_points
    from lspsim.explore.proxy import against_proxy, write_proxy_rows
    from lspsim.hardware import load_hardware
    from lspsim.prune.budgets import parse_budgets
    from lspsim.prune.recipe import PruneRecipe, parse_blocks

    budgets = [parse_budgets(point)[0] for point in budget_points([budget])]
    chips = [load_hardware(name.strip()) for name in hw.split(",")]
    size, more_sizes, by_kind = parse_blocks(block)
    recipe = PruneRecipe(*size, seed=seed, more_sizes=more_sizes, by_kind=by_kind)
    rows: list[ProxyRow] = []
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("loading", total=len(chips) * len(budgets))
        made = against_proxy(
            model,
            data,
            chips,
            budgets,
            recipe,
            images,
            test_images,
            lambda text: bar.update(task, description=text),
        )
        for row in made:
            rows.append(row)
            write_proxy_rows(out, rows)
            bar.advance(task)
    typer.echo(f"written: {out}", err=True)
    if fmt == "json":
        print_json({"schema": "lspsim/proxy/v1", "rows": [asdict(row) for row in rows]})
    elif fmt == "csv":
        print_rows([asdict(row) for row in rows])
    else:
        print_table(PROXY_HEADER, [_proxy_cells(row) for row in rows])


PROXY_HEADER = ("hardware", "budget", "loop", "cycles", "removed", "estimated", "KL (nats)", "drop")


def _proxy_cells(row: ProxyRow) -> tuple[str, ...]:
    """Return two lines in one row: the simulator's above the proxy's."""
    return (
        row.hardware,
        row.budget,
        "simulator\nproxy",
        f"{row.cycles / row.cycles_dense:.4f}\n{row.cycles_proxy / row.cycles_dense:.4f}",
        f"{100 * row.sparsity:.1f} %\n{100 * row.sparsity_proxy:.1f} %",
        f"{row.loss_nats:.3g}\n{row.loss_nats_proxy:.3g}",
        f"{row.kl_nats:.3g}\n{row.kl_nats_proxy:.3g}",
        f"{100 * (row.top1_dense - row.top1):.2f}\n{100 * (row.top1_dense - row.top1_proxy):.2f}",
    )

"""`lspsim bench proxy`, `steps`, `ranks`: studies beside the comparison of methods."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lspsim.cli.shared.options import FormatOption
from lspsim.errors import LspsimError

if TYPE_CHECKING:
    from lspsim.bench.proxy import ProxyRow

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
    ] = "cycles=0.6,0.45",
    block: Annotated[str, typer.Option(metavar="OUTxIN", help="Block size.")] = "32x32",
    images: CalibrationImages = 256,
    test_images: Annotated[int, typer.Option(min=1, help="Test images.")] = 3072,
    seed: Annotated[int, typer.Option(min=0, help="Of calibration images.")] = 0,
    out: Annotated[
        Path, typer.Option(metavar="FILE.csv", help="Rewritten after each pair.")
    ] = Path("lspsim-bench/proxy.csv"),
    fmt: FormatOption = "table",
) -> None:
    """Prune with the simulator in the loop, and with a count of kept blocks in its place.

    Both end on the same simulated cycles; estimated loss, measured KL and top-1 show what
    the simulator gains on each chip.

    Example: lspsim bench proxy --hw quad_32x32 --budget cycles=0.4
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from lspsim.allocate.budgets import parse_budgets
    from lspsim.bench.proxy import against_proxy, write_proxy_rows
    from lspsim.cli.prune.prune import budget_points
    from lspsim.cli.shared.output import print_json, print_rows, print_table
    from lspsim.hardware import load_hardware
    from lspsim.prune.recipe import PruneRecipe, parse_blocks

    budgets = [parse_budgets(point)[0] for point in budget_points([budget])]
    chips = [load_hardware(name.strip()) for name in hw.split(",")]
    size, more_sizes, by_kind = parse_blocks(block)
    recipe = PruneRecipe(*size, seed=seed, more_sizes=more_sizes, by_kind=by_kind)
    rows: list[ProxyRow] = []
    refused: list[str] = []
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
            refused,
        )
        for row in made:
            rows.append(row)
            write_proxy_rows(out, rows)
            bar.advance(task)
    for line in refused:
        typer.echo(f"left out: {line}", err=True)
    if not rows:
        raise LspsimError("no chip can meet any of these budgets; the least are named above")
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
    from lspsim.report.quantities import nats

    return (
        row.hardware,
        row.budget,
        "simulator\nproxy",
        f"{row.cycles / row.cycles_dense:.4f}\n{row.cycles_proxy / row.cycles_dense:.4f}",
        f"{100 * row.sparsity:.1f} %\n{100 * row.sparsity_proxy:.1f} %",
        f"{nats(row.loss_nats)}\n{nats(row.loss_nats_proxy)}",
        f"{nats(row.kl_nats)}\n{nats(row.kl_nats_proxy)}",
        f"{100 * (row.top1_dense - row.top1):.2f}\n{100 * (row.top1_dense - row.top1_proxy):.2f}",
    )


def steps(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A timm name or a model card.")],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR", help="Default: white noise, which takes as long as images."
        ),
    ] = None,
    hw: Annotated[str, typer.Option("--hw", metavar="NAME|FILE", help="Chip.")] = "edge_32x32",
    budget: Annotated[list[str] | None, typer.Option(metavar="KIND=VALUE", help="Budgets.")] = None,
    block: Annotated[str, typer.Option(metavar="OUTxIN", help="Block size.")] = "32x32",
    compensate: Annotated[
        Literal["least-squares", "obs", "full"], typer.Option(help="With block-OBS.")
    ] = "full",
    images: CalibrationImages = 256,
    fmt: FormatOption = "table",
) -> None:
    """Prune once, and print the time of each step against its floating-point operations.

    Example: lspsim bench steps deit_small_patch16_224 --images 64
    """
    from dataclasses import asdict

    from lspsim.allocate.budgets import parse_budgets
    from lspsim.bench.steps import noise_images, timed_steps
    from lspsim.cli.shared.output import print_json, print_rows, print_table
    from lspsim.hardware import load_hardware
    from lspsim.models import load_model, workload_from_model
    from lspsim.models.data import load_dataset
    from lspsim.prune.recipe import PruneRecipe, parse_blocks
    from lspsim.simulate.cost import SimulatorCost

    budgets = parse_budgets(budget or ["cycles=0.5"])
    size, more_sizes, by_kind = parse_blocks(block)
    recipe = PruneRecipe(
        *size, compensate=compensate, couple=True, more_sizes=more_sizes, by_kind=by_kind
    )
    chip = load_hardware(hw)
    network = load_model(model)
    shown = (
        noise_images(network, images)
        if data is None
        else load_dataset(data, "calibration", images, model=network)
    )
    found, pruned = timed_steps(
        network,
        shown,
        workload_from_model(network),
        recipe,
        budgets,
        SimulatorCost(chip, "analytic"),
        SimulatorCost(chip),
    )
    if fmt == "json":
        print_json({"schema": "lspsim/steps/v1", "steps": [asdict(step) for step in found]})
    elif fmt == "csv":
        print_rows([asdict(step) for step in found])
    else:
        seconds, flop = sum(s.seconds for s in found), sum(s.flop for s in found)
        rows = [
            (s.name, f"{s.seconds:.1f}", f"{s.flop / 1e9:,.0f}", f"{s.flop_per_second / 1e9:.1f}")
            for s in found
        ]
        rows.append(
            ("in all", f"{seconds:.1f}", f"{flop / 1e9:,.0f}", f"{flop / 1e9 / seconds:.1f}")
        )
        print_table(("step", "s", "GFLOP", "GFLOP/s"), rows)
        used = ", ".join(f"{kind} {used:.4f}" for kind, used in pruned.outcome.used.items())
        typer.echo(
            f"{len(shown)} images; peak memory {found[-1].peak_bytes / 1e9:.2f} GB; "
            f"used of the budget: {used}"
        )


def ranks(
    model: Model = "lspsim/deit_glyphs",
    data: Data = "glyphs",
    images: CalibrationImages = 256,
    fmt: FormatOption = "table",
) -> None:
    """Print how many directions hold 90, 99 and 99.9 % of the variance of each layer's input.

    Where few do, the model is redundant: any blocks can be removed once the rest is refitted.

    Example: lspsim bench ranks
    """
    from lspsim.calibrate.ranks import input_ranks
    from lspsim.cli.shared.output import print_json, print_rows, print_table
    from lspsim.models import load_model, workload_from_model
    from lspsim.models.data import load_dataset

    network = load_model(model)
    shown = load_dataset(data, "calibration", images, model=network)
    found = input_ranks(network, shown, workload_from_model(network))
    shares = list(found[0].ranks)
    rows = [
        {"layer": row.layer, "inputs": row.inputs}
        | {f"directions_{100 * share:g}_percent": row.ranks[share] for share in shares}
        for row in found
    ]
    if fmt == "json":
        print_json({"schema": "lspsim/ranks/v1", "layers": rows})
    elif fmt == "csv":
        print_rows(rows)
    else:
        header = ("layer", "inputs", *(f"{100 * share:g} %" for share in shares))
        print_table(header, [tuple(map(str, row.values())) for row in rows])

"""`lspsim rtl`: the core as SystemVerilog, compared with the event engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lspsim.cli.shared import options

if TYPE_CHECKING:
    from lspsim.validate.rtl import RtlRow
    from lspsim.workload import Gemm

app = typer.Typer(no_args_is_help=True, help="The modelled core as SystemVerilog.")

Gather = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="With packing k-compact: places that a tile's rows come from; blocks may be as low "
        "as rows / gather. Default: 4.",
        show_default=False,
    ),
]


@app.command("generate")
def generate(
    hw: options.HardwareName,
    out: Annotated[Path, typer.Option(help="Folder to write to.", show_default=False)],
    settings: options.Settings = None,
    gather: Gather = None,
) -> None:
    """Write SystemVerilog, test bench, Makefile and README of one core.

    Example: lspsim rtl generate --hw edge_32x32 --out core
    """
    from lspsim.cli.shared.inputs import hardware_of
    from lspsim.rtl import parameters_of
    from lspsim.rtl.generate import generate as write

    hardware = hardware_of(hw, settings)
    files = write(parameters_of(hardware, gather), hardware.name, out)
    typer.echo(f"{len(files)} files in {out}")


@app.command("verify")
def verify(
    hw: options.HardwareName,
    cases: Annotated[int, typer.Option(min=0, help="Random GEMMs.")] = 40,
    seed: options.Seed = 0,
    model: Annotated[
        str | None,
        typer.Option(help="A timm name: compare its layers, too.", show_default=False),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="Layer of --model, e.g. blocks.0.attn.qkv. Repeat it.", show_default=False
        ),
    ] = None,
    sparsity: options.Sparsity = None,
    block: options.Block = None,
    settings: options.Settings = None,
    gather: Gather = None,
    fmt: options.FormatOption = "table",
) -> None:
    """Simulate the RTL with Verilator and compare it with numpy and the event engine.

    Results, cycles and action counts must be equal; exit code 1 where one is not.
    Example: lspsim rtl verify --hw edge_32x32 --cases 20
    """
    from lspsim.cli.shared.inputs import hardware_of
    from lspsim.models.cache import cache_dir
    from lspsim.validate.rtl import verify as compare

    hardware = hardware_of(hw, settings)
    layers = _layers(model, layer or [], sparsity, block, seed)
    rows = compare(
        hardware, cache_dir() / "rtl", cases=cases, seed=seed, layers=layers, gather=gather
    )
    _print(rows, fmt)
    if not all(row.agrees for row in rows):
        raise typer.Exit(1)


def _layers(
    model: str | None,
    names: Sequence[str],
    sparsity: float | None,
    block: options.BlockSize | None,
    seed: int,
) -> list[Gemm]:
    if (model is None) != (not names):
        raise typer.BadParameter("--model and --layer go together; give both or none")
    if model is None:
        if sparsity is not None or block is not None:
            raise typer.BadParameter("--sparsity and --block go with --model and --layer")
        return []
    from lspsim.cli.shared.inputs import WorkloadChoice

    drawn_from = None if sparsity is None else seed
    choice = WorkloadChoice(model, sparsity, block, drawn_from, 1, None, None, None)
    known = {gemm.name: gemm for gemm in choice.workload().gemms if gemm.rhs == "weight"}
    if missing := [name for name in names if name not in known]:
        raise typer.BadParameter(
            f"{model} has no stored weights named {', '.join(missing)}; "
            f"it has {', '.join(list(known)[:6])}, ..."
        )
    return [known[name] for name in names]


def _print(rows: Sequence[RtlRow], fmt: options.Format) -> None:
    from dataclasses import asdict

    from lspsim.cli.shared.output import print_json, print_rich, print_rows, print_table

    records = [
        {
            "case": row.name,
            "folds": row.folds,
            "results_equal": row.results_equal,
            "agrees": row.agrees,
            **{f"rtl_{key}": value for key, value in asdict(row.measured).items()},
            **{f"event_{key}": value for key, value in asdict(row.expected).items()},
        }
        for row in rows
    ]
    if fmt == "json":
        print_json({"schema": "lspsim/rtl-verify/v1", "rows": records})
        return
    if fmt == "csv":
        print_rows(records)
        return
    print_table(
        ("case", "folds", "results", "cycles RTL", "cycles event", "counts"),
        [
            (
                row.name,
                f"{row.folds:,}",
                _mark(row.results_equal),
                f"{row.measured.cycles:,}",
                f"{row.expected.cycles:,}",
                _mark(asdict(row.measured) | {"cycles": 0} == asdict(row.expected) | {"cycles": 0}),
            )
            for row in rows
        ],
    )
    wrong = sum(not row.agrees for row in rows)
    cases = "1 case" if len(rows) == 1 else f"{len(rows)} cases"
    print_rich("", f"{cases}, {wrong} with a difference")


def _mark(equal: bool) -> str:
    return "equal" if equal else "[bold red]different[/]"


@app.command("area")
def area(
    hw: options.HardwareName,
    settings: options.Settings = None,
    gather: Gather = None,
    fmt: options.FormatOption = "table",
) -> None:
    """Synthesise the core with Yosys and compare it with the area model, at 45 nm.

    Logic only: memories are macros. Example: lspsim rtl area --hw edge_32x32
    """
    from dataclasses import asdict

    from lspsim.cli.shared.inputs import hardware_of
    from lspsim.cli.shared.output import print_json, print_rows, print_table
    from lspsim.validate.rtl_area import area_rows

    rows = area_rows(hardware_of(hw, settings), gather)
    if fmt == "json":
        print_json({"schema": "lspsim/rtl-area/v1", "rows": [asdict(row) for row in rows]})
    elif fmt == "csv":
        print_rows([asdict(row) for row in rows])
    else:
        print_table(
            ("part", "cells", "RTL, um2", "share", "model, um2"),
            [
                (
                    row.part,
                    "" if row.cells is None else f"{row.cells:,}",
                    f"{row.rtl_um2:,.0f}",
                    f"{row.share:.1%}",
                    "" if row.model_um2 is None else f"{row.model_um2:,.0f}",
                )
                for row in rows
            ],
        )

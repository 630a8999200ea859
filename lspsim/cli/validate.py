"""`lspsim validate`: the model against other people's figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from lspsim.cli import options

if TYPE_CHECKING:
    from lspsim.validate.chips import ChipReport
    from lspsim.validate.scalesim import ScaleSimReport

app = typer.Typer(no_args_is_help=True, help="Compare the model with other people's figures.")


@app.command("scalesim")
def scalesim(engine: options.EngineOption = "event", fmt: options.FormatOption = "table") -> None:
    """Compare GEMM cycles with SCALE-Sim 3.0.0, dataflow by dataflow.

    Exit code 1 where a row disagrees. Example: lspsim validate scalesim
    """
    from lspsim.validate.scalesim import validate_scalesim

    report = validate_scalesim(engine)
    _print(report, "lspsim/validate-scalesim/v1", fmt)
    if not report.agrees:
        raise typer.Exit(1)


@app.command("chips")
def chips(fmt: options.FormatOption = "table") -> None:
    """Compare power and area with ViTA, TPUv1 and arXiv 2510.14393.

    Prints prediction, band and published figure, and what each row proves.
    Example: lspsim validate chips
    """
    from lspsim.validate.chips import validate_chips

    _print(validate_chips(), "lspsim/validate-chips/v1", fmt)


def _print(report: ScaleSimReport | ChipReport, schema: str, fmt: options.Format) -> None:
    from lspsim.cli.output import print_json, print_rich, print_rows, print_table

    rows = [dict(zip(report.columns, row, strict=True)) for row in report.rows()]
    if fmt == "json":
        print_json({"schema": schema, "title": report.title, "rows": rows, "notes": report.notes})
    elif fmt == "csv":
        print_rows(rows)
    else:
        print_rich(f"[bold]{report.title}[/]")
        print_table(
            [name.replace("_", " ") for name in report.columns],
            [[_cell(value) for value in row.values()] for row in rows],
        )
        print_rich("", "\n".join(report.notes))


def _cell(value: object) -> str:
    """Format a cell: counts in full, measures to four digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)

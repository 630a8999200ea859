"""`lspsim validate`: the model against other people's figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lspsim.cli.shared import options

if TYPE_CHECKING:
    from lspsim.validate.chips import ChipReport
    from lspsim.validate.gpu import GpuReport
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


@app.command("gpu")
def gpu(
    table: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GPU=FILE",
            help="GEMM latencies of a GPU, e.g. h200=gemm.parquet. Repeat it.",
            show_default=False,
        ),
    ] = None,
    hold_out: Annotated[
        str, typer.Option(metavar="MODEL", help="Weights that the parameters were not fitted to.")
    ] = "deit_base_patch16_224",
    measurements: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="Rows of lspsim gpu measure; default: those that ship with lspsim.",
            show_default=False,
        ),
    ] = None,
    plot: options.PlotFile = None,
    fmt: options.FormatOption = "table",
) -> None:
    """Compare GPU predictions with tables, published networks and own measurements.

    Example: lspsim validate gpu --table h200=gemm.parquet --plot parity
    """
    from lspsim.models import cached_workload
    from lspsim.validate.gpu import evidence, validate_gpu

    held = frozenset((g.n, g.k) for g in cached_workload(hold_out).gemms if g.rhs == "weight")
    report = validate_gpu([_gpu_table(text) for text in table or []], held, measurements)
    if plot is not None:
        from lspsim.report.plots.canvas import save_figure
        from lspsim.report.plots.parity import ParityGroup, draw_parity

        groups = [
            ParityGroup(name, measured_s * 1e3, predicted_s * 1e3)
            for name, measured_s, predicted_s in evidence(report)
        ]
        figure, _ = draw_parity(groups, "Measured latency (ms)")
        for path in save_figure(figure, plot):
            typer.echo(f"written: {path}", err=True)
    _print(report, "lspsim/validate-gpu/v1", fmt)


def _gpu_table(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise typer.BadParameter(f"{text!r} is not GPU=FILE; write e.g. --table h200=gemm.parquet")
    return name, Path(path)


def _print(
    report: ScaleSimReport | ChipReport | GpuReport, schema: str, fmt: options.Format
) -> None:
    from lspsim.cli.shared.output import print_json, print_rich, print_rows, print_table

    rows = [dict(zip(report.columns, row, strict=True)) for row in report.rows()]
    if fmt == "json":
        print_json({"schema": schema, "title": report.title, "rows": rows, "notes": report.notes})
    elif fmt == "csv":
        print_rows(rows)
    else:
        print_rich(f"[bold]{report.title}[/]")
        print_table(
            [name.replace("_", " ") for name in report.columns],
            [[_cell(*item) for item in row.items()] for row in rows],
            telling=TELLING,
            prose=("what", "source"),
        )
        print_rich("", "\n".join(report.notes))


TELLING = (
    *("dataflow", "scalesim cycles", "lspsim cycles", "difference", "agrees"),
    *("quantity", "role", "predicted", "published", "ratio", "in band"),
    *("mean error", "worst error", "rows", "p90 error", "derated roofline error"),
)
"""Columns of the reports that stay longest where the terminal is narrow."""


def _cell(name: str, value: object) -> str:
    """Format a cell: counts in full, measures to four digits."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1%}" if name.endswith("_error") else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)

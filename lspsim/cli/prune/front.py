"""`lspsim front`: what pruned networks gain, and what accuracy they keep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lspsim.cli.shared import options

if TYPE_CHECKING:
    from lspsim.networks.record import PointRecord
    from lspsim.report.front import Front


def front(
    directories: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...",
            help="Where pruned networks are, at any depth (lspsim prune --out).",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write front.csv, front.png and front.svg there; other files stay.",
            show_default=False,
        ),
    ] = None,
    mixed: Annotated[
        bool,
        typer.Option(
            "--mixed",
            help="Accept several models, data sets or chips; each has its own front.",
        ),
    ] = False,
    fmt: options.FormatOption = "table",
) -> None:
    """Show speedup and energy against top-1 accuracy; mark those that no other beats.

    Example:

        lspsim front runs/deit_small --out front
    """
    from lspsim.cli.shared.output import print_json, print_rich, print_rows
    from lspsim.explore import front as front_of
    from lspsim.explore import read_records
    from lspsim.report.front import front_table

    found = read_records(directories)
    data = front_of(list(found.values()), mixed=mixed, directories=list(found))
    if fmt == "json":
        print_json({"schema": "lspsim/front/v1", "points": data.rows()})
    elif fmt == "csv":
        print_rows(data.rows())
    else:
        print_rich(front_table(data))
    if out is not None:
        write(data, out)


def draw_front(records: Sequence[PointRecord], out: Path) -> None:
    """Write the front of networks in memory, as `lspsim front` does."""
    from lspsim.explore import front as front_of

    write(front_of(records), out)


def write(data: Front, out: Path) -> None:
    """Write CSV and pictures, and say on stderr where they are."""
    from lspsim.explore import write_front

    for path in write_front(data, out):
        typer.echo(f"written: {path}", err=True)
    if not data.measured:
        typer.echo(
            "not drawn: no network has a top-1 accuracy; prune with labelled images", err=True
        )

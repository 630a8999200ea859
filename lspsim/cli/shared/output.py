"""Printing on stdout: rich tables, CSV, one JSON object."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType

from lspsim.table import FittedTable

WIDTH_OF_A_FILE = 10_000
"""Characters of a line in a pipe or a file, where nothing is broken or left out."""


def stdout() -> Console:
    """Return a console on stdout, wide where no terminal limits it."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return Console(width=shutil.get_terminal_size().columns)
    return Console(width=WIDTH_OF_A_FILE)


def print_rich(*parts: RenderableType) -> None:
    """Print tables and text on stdout, an empty line between them; "" first sets off the rest."""
    console = stdout()
    for i, part in enumerate(parts):
        if i:
            console.print()
        if part != "":
            console.print(part)


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    telling: Sequence[str] = (),
    prose: Collection[str] = (),
    whole: str = "--format csv",
) -> None:
    """Print a plain table, as wide as the terminal allows; cells may hold rich markup.

    `telling`, `prose` and `whole` are those of `lspsim.table.FittedTable`.
    """
    table = FittedTable(telling=telling, prose=prose, whole=whole)
    for name in header:
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    print_rich(table)


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print CSV with a header from the first row's keys."""
    writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def print_json(data: Mapping[str, Any]) -> None:
    """Print one JSON object; not-a-number is a bug and raises."""
    sys.stdout.write(json.dumps(data, indent=1, allow_nan=False) + "\n")

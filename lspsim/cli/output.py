"""Printing on stdout: rich tables, CSV, one JSON object."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

WIDTH_OF_A_FILE = 200
"""Columns of a table that goes into a pipe or a file, where nothing wraps."""


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


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a plain table; cells may hold rich markup."""
    table = Table(*header, box=None, pad_edge=False, header_style="bold")
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

"""What several report tests use."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table


def text_of(table: Table) -> str:
    """Return a table as 200 columns of plain text."""
    stream = io.StringIO()
    Console(file=stream, width=200).print(table)
    return stream.getvalue()

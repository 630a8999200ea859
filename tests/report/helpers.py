"""What several report tests use."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


def text_of(table: Table, width: int = 200) -> str:
    """Return a table as plain text of at most `width` columns."""
    stream = io.StringIO()
    Console(file=stream, width=width).print(table)
    return stream.getvalue()


def assert_whole(table: Table, width: int, names: Sequence[str]) -> str:
    """Fail where a cell is cut, a name folded, or a line wider than `width`; return the text."""
    text = text_of(table, width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    for name in names:
        assert any(name in line for line in text.splitlines()), name
    if width >= 200:
        assert "columns; a wider terminal" not in text
    return text

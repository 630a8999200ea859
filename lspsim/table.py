"""`FittedTable`: a terminal table that leaves out whole columns rather than cutting cells.

It imports nothing but rich, so that commands that only list things stay quick.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Column, Table
from rich.text import Text

LEAST_PROSE = 18
"""Characters below which a column of sentences is left out: less is no reading."""


@dataclass(frozen=True, slots=True)
class _Widths:
    """Characters that one column takes."""

    natural: int
    """With nothing broken."""
    least: int
    """With its header, and its cells where they are prose, broken between words."""


class FittedTable(Table):
    """A table that shows as many whole columns as there is room for, and says so.

    rich alone cuts numbers short (`4,088,5...`) and folds names letter by letter. Here
    headers break between words first; then the least telling columns go, and a line
    below says how many of how many are left. The first column always stays.

    Parameters
    ----------
    title
        Above the table, left.
    boxed
        Draw lines around cells; else columns stand two spaces apart.
    telling
        Headers of the columns to keep longest, the most telling first; those that do not
        fit are passed over. Where all fit, the others follow from left to right, as far
        as there is room. Headers that the table lacks count nothing.
    prose
        Headers of columns whose cells are sentences and may be broken between words.
    whole
        What else shows all columns, for the line below the table; "" for nothing.
    """

    def __init__(
        self,
        title: str | None = None,
        *,
        boxed: bool = False,
        telling: Sequence[str] = (),
        prose: Collection[str] = (),
        whole: str = "--format csv",
    ) -> None:
        super().__init__(
            title=title,
            title_justify="left",
            caption_justify="left",
            header_style="bold",
            box=box.HEAVY_HEAD if boxed else None,
            pad_edge=False,
        )
        self.telling = tuple(telling)
        self.prose = frozenset(prose)
        self.whole = whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the columns that fit, and the line on those that do not."""
        widths = [self._widths(column) for column in self.columns]
        shown = self._that_fit(widths, options.max_width)
        part = self._part(shown, widths, options.max_width)
        yield from super(FittedTable, part).__rich_console__(console, options)
        if len(shown) < len(self.columns):
            also = f" or {self.whole}" if self.whole else ""
            yield Text(
                f"{len(shown)} of {len(self.columns)} columns; a wider terminal{also} shows all",
                style="dim",
            )

    def _widths(self, column: Column) -> _Widths:
        """Measure one column."""
        header = _plain(column.header)
        cells = max((_wide(cell) for cell in (column.footer, *column.cells)), default=0)
        natural = max(_wide(header), cells)
        if header in self.prose:
            return _Widths(natural, min(natural, LEAST_PROSE))
        words = max(map(len, header.split()), default=0)
        return _Widths(natural, max(words, cells))

    def _that_fit(self, widths: Sequence[_Widths], room: int) -> list[int]:
        """Return the columns to show, in their order."""
        headers = [_plain(column.header) for column in self.columns]
        named = [headers.index(name) for name in self.telling if name in headers]
        shown = [0] if headers else []

        def fits(i: int) -> bool:
            return self._total([widths[j].least for j in (*shown, i)]) <= room

        for i in named:
            if i not in shown and fits(i):
                shown.append(i)
        if {*named, *shown[:1]} == set(shown):
            for i in range(len(headers)):
                if i not in shown:
                    if not fits(i):
                        break  # K without M and N would only puzzle
                    shown.append(i)
        return sorted(shown)

    def _total(self, widths: Sequence[int]) -> int:
        """Return the characters of a row: two between columns, with a box one more and edges."""
        return sum(widths) + (len(widths) - 1) * (3 if self.box else 2) + (2 if self.box else 0)

    def _shares(self, shown: Sequence[int], widths: Sequence[_Widths], room: int) -> dict[int, int]:
        """Give every column its least, and prose equal shares of what is left over."""
        width = {i: widths[i].least for i in shown}
        prose = [i for i in shown if _plain(self.columns[i].header) in self.prose]
        spare = max(0, room - self._total(list(width.values())))
        prose.sort(key=lambda i: widths[i].natural - widths[i].least)
        for rest, i in zip(range(len(prose), 0, -1), prose, strict=True):
            more = min(widths[i].natural - widths[i].least, spare // rest)
            width[i] += more
            spare -= more
        return width

    def _part(self, shown: Sequence[int], widths: Sequence[_Widths], room: int) -> FittedTable:
        """Return a copy with the columns `shown`, their headers broken where they must be."""
        natural = {i: widths[i].natural for i in shown}
        tight = self._total(list(natural.values())) > room
        width = self._shares(shown, widths, room) if tight else natural
        columns = [self.columns[i] for i in shown]
        part = copy(self)
        part.columns, part.rows = [], []
        for i, column in zip(shown, columns, strict=True):
            header: RenderableType = column.header
            if width[i] < widths[i].natural:
                header = "\n".join(textwrap.wrap(_plain(header), width[i], break_long_words=False))
            part.add_column(
                header,
                column.footer,
                justify=column.justify,
                overflow="fold",
                width=min(width[i], room),
            )
        rows = zip(*(column.cells for column in columns), strict=True)
        for row, cells in zip(self.rows, rows, strict=True):
            part.add_row(*cells, style=row.style, end_section=row.end_section)
        return part


def _plain(cell: RenderableType) -> str:
    """Return the text of a header or a cell, without its markup."""
    return Text.from_markup(cell).plain if isinstance(cell, str) else str(cell)


def _wide(cell: RenderableType) -> int:
    """Return the characters of the longest line of a cell."""
    return max((Text(line).cell_len for line in _plain(cell).splitlines()), default=0)

"""`FittedTable`: whole columns or none, at any width."""

import io

import pytest
from rich.console import Console

from lspsim.table import LEAST_PROSE, FittedTable

NAMES = ("blocks.*.attn.softmax x12", "blocks.*.mlp.fc1 x12", "head")


def example(**choices):
    table = FittedTable("a title", boxed=True, **choices)
    for header in ("layer", "M", "K", "tiles live/total", "cycles", "bound by"):
        table.add_column(header, justify="right", footer="total" if header == "layer" else "")
    table.show_footer = True
    for name in NAMES:
        table.add_row(name, "197", "768", "10,368/20,736", "4,088,512", "[bold]compute[/] 99 %")
    return table


def drawn(table, width):
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(table)
    return stream.getvalue()


@pytest.mark.parametrize("width", range(30, 121))
def test_no_cell_is_cut_and_no_name_folded(width):
    text = drawn(example(telling=("cycles", "bound by")), width)
    lines = text.splitlines()
    assert "…" not in text
    assert all(len(line) <= width for line in lines)
    for name in (*NAMES, "total"):
        assert any(name in line for line in lines)
    for header, cell in (("cycles", "4,088,512"), ("bound by", "compute 99 %"), ("K", " 768")):
        assert text.count(cell) in (0, len(NAMES))
        assert (cell in text) == any(header.split()[-1] in line for line in lines[:6])


def test_the_most_telling_columns_stay_longest():
    table = example(telling=("cycles", "bound by"))
    shown = [
        tuple(cell for cell in ("4,088,512", "compute", "197", "10,368") if cell in drawn(table, w))
        for w in range(30, 121)
    ]
    assert sorted(set(shown), key=len) == [
        (),
        ("4,088,512",),
        ("4,088,512", "compute"),
        ("4,088,512", "compute", "197"),
        ("4,088,512", "compute", "197", "10,368"),
    ]
    assert shown == sorted(shown, key=len)


def test_a_line_says_how_many_columns_are_left():
    assert "6 columns" not in drawn(example(), 120)
    assert "4 of 6 columns; a wider terminal or --format csv shows all" in drawn(example(), 60)
    assert "4 of 6 columns; a wider terminal shows all" in drawn(example(whole=""), 60)


def test_a_table_as_wide_as_the_terminal_is_whole():
    widest = max(map(len, drawn(example(), 200).splitlines()))
    assert "tiles live/total" in drawn(example(), widest)
    headers = drawn(example(), widest - 1).splitlines()[2:4]
    assert "tiles" in headers[0]
    assert "live/total" in headers[1]


def test_a_name_wider_than_the_terminal_is_folded_but_all_there():
    text = drawn(example(), 12)
    letters = "".join(line.strip("│ ") for line in text.splitlines() if line.startswith("│"))
    assert letters.startswith("".join(NAMES).replace(" ", "")[:20])
    assert all(len(line) <= 12 for line in text.splitlines())


@pytest.mark.parametrize("width", [50, 60, 100, 400])
def test_prose_breaks_between_words(width):
    sentence = "one array of 32 rows and 32 columns that walks only live tiles"
    table = FittedTable(prose=("what",))
    for header in ("name", "what", "clock"):
        table.add_column(header)
    table.add_row("edge_32x32", sentence, "1 GHz")
    lines = drawn(table, width).splitlines()
    assert "clock" in lines[0]
    found = " ".join(lines[1:]).replace("edge_32x32", "").replace("1 GHz", "").split()
    assert " ".join(found) == sentence
    assert len(lines) == 2 or max(map(len, lines)) >= LEAST_PROSE
    assert (width == 400) <= (len(lines) == 2)


def test_no_columns_is_no_table():
    assert drawn(FittedTable("nothing"), 80).strip() in ("", "nothing")


def test_sections_and_styles_stay():
    table = FittedTable("t", boxed=True)
    for header in ("layer", "time"):
        table.add_column(header)
    table.add_row("head", "1")
    table.add_section()
    table.add_row("total", "1", style="bold")
    lines = drawn(table, 80).splitlines()
    assert [line[0] for line in lines[1:]] == list("┏┃┡│├│└")

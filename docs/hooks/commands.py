"""mkdocs hook: every command with its options, where the page has its mark."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import typer
from mkdocs.structure.pages import Page

from lspsim.cli import app

MARK = "<!-- commands -->"
STYLE = re.compile(r"\[/?(?:bold|dim|italic|cyan|green|red|yellow)\]")


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Replace the mark by the reference."""
    if MARK not in markdown:
        return markdown
    commands = leaves(typer.main.get_command(app), "lspsim")
    return markdown.replace(MARK, "\n\n".join(section(name, one) for name, one in commands))


def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield all commands below `command` that do something, with their full names."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for part, below in command.commands.items():
        yield from leaves(below, f"{name} {part}")


def section(name: str, command: Any) -> str:
    """Return the section of one command: what it does, its usage, its options."""
    context = typer.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    text = textwrap.dedent(STYLE.sub("", command.help or "")).strip()
    rows = [
        f"| {_cell(declaration, code=True)} | {_cell(meaning)} |"
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) is not None
        for declaration, meaning in [record]
    ]
    table = "\n".join(["| option | meaning |", "|---|---|", *rows])
    return f"## {name}\n\n{_escaped(text)}\n\n```text\n{usage}\n```\n\n{table}"


def _escaped(text: str) -> str:
    """Return prose in which only indented paragraphs are code."""
    return "\n\n".join(
        part if part.startswith("    ") else re.sub(r"([<>*_|\[\]])", r"\\\1", part)
        for part in text.split("\n\n")
    )


def _cell(text: str, code: bool = False) -> str:
    plain = html.escape(STYLE.sub("", text).replace("\n", " ")).replace("|", "&#124;")
    return f"<code>{plain}</code>" if code else re.sub(r"([*_\[\]])", r"\\\1", plain)

"""Help texts as terminals show them: paragraphs flow, commands can be copied."""

from __future__ import annotations

import inspect
import textwrap

import typer

COMMAND = "lspsim "


def tidy(app: typer.Typer) -> None:
    """Unwrap the help of every command below `app`, in place.

    typer shows the line breaks of a docstring as they stand in the source, save in its
    first paragraph: sentences would break again in the middle of a terminal's line.
    """
    if isinstance(app.info.help, str):
        app.info.help = unwrapped(app.info.help)
    for command in app.registered_commands:
        command.help = unwrapped(command.help or inspect.getdoc(command.callback) or "")
    for group in app.registered_groups:
        if group.typer_instance is not None:
            tidy(group.typer_instance)


def unwrapped(text: str) -> str:
    """Return `text` with one line per paragraph.

    Indented paragraphs are commands. They keep their lines; one that goes on in the next
    line ends in a backslash, as a shell wants it.
    """
    return "\n\n".join(map(_paragraph, inspect.cleandoc(text).split("\n\n")))


def _paragraph(text: str) -> str:
    """Unwrap one paragraph."""
    if not text.startswith(" "):
        return " ".join(text.splitlines())
    lines: list[str] = []
    for line in textwrap.dedent(text).splitlines():
        if lines and not line.startswith(COMMAND):
            lines[-1] += " \\"
            line = f"  {line}"
        lines.append(f"    {line}")
    return "\n".join(lines)

"""How a command ends: one clear message on stderr, never a traceback for a user's mistake."""

from __future__ import annotations

import errno
import os
from typing import Any, TextIO

import typer
from typer.core import TyperGroup

from lspsim.cli.shared.signals import exit_code
from lspsim.errors import LspsimError


def fail(message: str) -> None:
    """Print one error message on stderr."""
    _say("error: ", typer.colors.RED, message)


def note(message: str) -> None:
    """Print one line on stderr that is no error."""
    _say("note: ", typer.colors.YELLOW, message)


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as a note, in place of `warnings.showwarning`."""
    note(str(message))


def _say(label: str, colour: str, message: str) -> None:
    """Print a message behind its label, in colour where a terminal takes it (no-color.org)."""
    coloured = not os.environ.get("NO_COLOR")
    typer.echo(typer.style(label, fg=colour, bold=True) if coloured else label, nl=False, err=True)
    typer.echo(message, err=True)


class FriendlyGroup(TyperGroup):
    """Converts mendable errors into a message and an exit code.

    `LspsimError` and file system errors exit with 2, Ctrl-C with 130, SIGTERM with 143. Any other
    exception is a bug and keeps its traceback.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command and translate how it failed."""
        try:
            return super().invoke(ctx)
        except LspsimError as error:
            fail(str(error))
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            kept = getattr(error, "__notes__", ["nothing half-written was left behind"])
            typer.echo("; ".join(["interrupted", *kept]), err=True)
            raise typer.Exit(exit_code(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE or error.filename is None:
                raise
            fail(f"{error.filename}: {error.strerror}; check that the path exists and is yours")
            raise typer.Exit(LspsimError.exit_code) from error

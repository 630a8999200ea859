"""How a command ends: one clear message on stderr, never a traceback for a user's mistake."""

from __future__ import annotations

import errno
from typing import Any, TextIO

import typer
from typer.core import TyperGroup

from lspsim.errors import LspsimError

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""


def fail(message: str) -> None:
    """Print one error message on stderr."""
    typer.secho("error: ", fg=typer.colors.RED, bold=True, nl=False, err=True)
    typer.echo(message, err=True)


def note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning on stderr as one line; stands in for `warnings.showwarning`."""
    typer.secho("note: ", fg=typer.colors.YELLOW, bold=True, nl=False, err=True)
    typer.echo(str(message), err=True)


class FriendlyGroup(TyperGroup):
    """Turns mendable errors into a message and an exit code.

    `LspsimError` and file system errors exit with 2, Ctrl-C with 130. Any other
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
            typer.echo("interrupted; nothing half-written was left behind", err=True)
            raise typer.Exit(INTERRUPTED) from error
        except OSError as error:
            if error.errno == errno.EPIPE or error.filename is None:
                raise
            fail(f"{error.filename}: {error.strerror}; check that the path exists and is yours")
            raise typer.Exit(LspsimError.exit_code) from error

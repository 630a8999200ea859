"""One line on stderr where a command must first compile its kernels."""

from __future__ import annotations

import logging
import sys

import typer

LOGGER = "lspsim.kernels"


class OnTerminal(logging.Handler):
    """Shows messages to people who wait; logs and pipes get none."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message where stderr is a terminal."""
        if sys.stderr.isatty():
            typer.echo(record.getMessage(), err=True)


def announce_compilation() -> None:
    """Show on a terminal what `lspsim.kernels` says about compilation."""
    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.INFO)
    logger.addHandler(OnTerminal())

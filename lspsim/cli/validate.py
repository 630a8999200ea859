"""`lspsim validate`: the model against other people's figures."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="Compare the model with published figures.")

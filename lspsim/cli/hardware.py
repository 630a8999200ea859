"""`lspsim hardware`: the presets, and what is in one."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="List and show hardware descriptions.")

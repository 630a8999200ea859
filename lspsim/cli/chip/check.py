"""`lspsim check`: every mistake of a hardware file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def check(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A hardware YAML file.", show_default=False)
    ],
) -> None:
    """Check a hardware file: every mistake at once, with line and column.

    Example: lspsim check my_core.yaml
    """
    from lspsim.hardware import load_hardware

    hardware = load_hardware(file)
    typer.echo(f"{file}: ok ({hardware.name}: {hardware.description.strip().splitlines()[0]})")

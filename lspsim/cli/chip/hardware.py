"""`lspsim hardware`: the presets, and what is in one."""

from __future__ import annotations

from typing import Annotated

import typer

from lspsim.cli.shared import options

app = typer.Typer(no_args_is_help=True, help="List and show hardware descriptions.")


@app.command("list")
def list_(fmt: options.FormatOption = "table") -> None:
    """List the presets that come with lspsim.

    Example: lspsim hardware list
    """
    from lspsim.cli.shared.output import print_json, print_rows, print_table
    from lspsim.hardware.tables import PresetRow, list_presets

    rows = list_presets()
    if fmt == "json":
        presets = [row._asdict() for row in rows]
        print_json({"schema": "lspsim/hardware-list/v1", "presets": presets})
    elif fmt == "csv":
        print_rows([row._asdict() for row in rows])
    else:
        print_table(
            PresetRow._fields,
            rows,
            telling=("array", "peak", "dram", "description"),
            prose=("description",),
        )


@app.command("show")
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE", help="A preset or a hardware YAML file.", show_default=False
        ),
    ],
    settings: options.Settings = None,
    fmt: options.FormatOption = "table",
    as_yaml: Annotated[
        bool,
        typer.Option("--yaml", help="Print a complete config file, to start your own from."),
    ] = False,
) -> None:
    """Show every value of a hardware description and its technology, with unit and source.

    Example: lspsim hardware show edge_32x32 --yaml > my_core.yaml
    """
    from lspsim.cli.shared.inputs import hardware_of

    hardware = hardware_of(name, settings)
    if as_yaml:
        typer.echo(hardware.to_yaml(), nl=False)
        return
    from lspsim.cli.shared.output import print_json, print_rows, print_table
    from lspsim.hardware.tables import SettingRow, hardware_table, technology_table

    rows = hardware_table(hardware) + technology_table(hardware.technology)
    if fmt == "json":
        print_json(hardware.to_document())
    elif fmt == "csv":
        print_rows([row._asdict() for row in rows])
    else:
        print_table(SettingRow._fields, rows, prose=("value", "description", "source"))

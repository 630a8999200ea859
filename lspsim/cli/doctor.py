"""`lspsim doctor`: the environment, in one table."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from lspsim.cli.shared.options import FormatOption

STYLE = {"ok": "green", "absent": "yellow", "problem": "bold red"}


def doctor(fmt: FormatOption = "table") -> None:
    """Report versions and what works here; paste it into a bug report.

    Exit code 1 when something is broken. Example: lspsim doctor
    """
    from lspsim.cli.shared.output import print_rows, print_table
    from lspsim.doctor import examine

    findings = examine()
    if fmt == "json":
        typer.echo(
            json.dumps({"schema": "lspsim/doctor/v1", "findings": list(map(asdict, findings))})
        )
    elif fmt == "csv":
        print_rows([asdict(finding) for finding in findings])
    else:
        print_table(
            ("subject", "state", "detail"),
            [(f.subject, f"[{STYLE[f.state]}]{f.state}[/]", f.detail) for f in findings],
            prose=("detail",),
        )
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)

"""The command tree. Commands import what they run when they run."""

from __future__ import annotations

import warnings
from typing import Annotated

import typer

from lspsim.cli import doctor
from lspsim.cli.bench import methods
from lspsim.cli.chip import check, compare, hardware, simulate, trace
from lspsim.cli.gpu import predict
from lspsim.cli.prune import demo, finetune, front, prune, train
from lspsim.cli.shared.errors import FriendlyGroup, show_warning
from lspsim.cli.shared.help import tidy
from lspsim.cli.shared.signals import raise_on_sigterm
from lspsim.cli.shared.slow_start import announce_compilation
from lspsim.cli.validate import rtl, validate

app = typer.Typer(
    name="lspsim",
    cls=FriendlyGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=(
        "Simulate a pruned vision transformer on a block-sparse systolic accelerator.\n\n"
        "Start with:\n\n"
        "    lspsim simulate deit_base_patch16_224 --hw edge_32x32\n"
        "    --sparsity 0.5 --block 32x32"
    ),
)
app.command("simulate")(simulate.simulate)
app.command("compare")(compare.compare)
app.command("trace")(trace.trace)
app.command("front")(front.front)
app.command("prune")(prune.prune)
app.command("finetune")(finetune.finetune)
app.command("train")(train.train)
app.command("demo")(demo.demo)
app.command("check")(check.check)
app.add_typer(methods.app, name="bench")
app.add_typer(predict.app, name="gpu")
app.add_typer(hardware.app, name="hardware")
app.add_typer(rtl.app, name="rtl")
app.add_typer(validate.app, name="validate")
app.command("doctor")(doctor.doctor)
tidy(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from lspsim import __version__

        typer.echo(f"lspsim {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    """Hold the options of `lspsim` itself."""


def main() -> None:
    """Run the command line; exit code 0, 2 (a mendable error), 130 (Ctrl-C) or 143 (SIGTERM)."""
    raise_on_sigterm()
    warnings.showwarning = show_warning
    announce_compilation()
    app(prog_name="lspsim")

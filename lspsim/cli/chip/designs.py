"""The two sides of `lspsim compare`: configs, run directories, `--set` variations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lspsim.cli.shared.inputs import WorkloadChoice, values_of

if TYPE_CHECKING:
    from lspsim.cli.shared.options import Engine
    from lspsim.hardware import Hardware
    from lspsim.report import RunDirectory, RunSummary
    from lspsim.workload import Workload


@dataclass(frozen=True)
class Design:
    """One side: a name or path, with values changed and a workload where it has none."""

    name: str
    settings: tuple[str, ...] = ()
    given: Workload | None = field(default=None, repr=False)

    @cached_property
    def run(self) -> RunDirectory | None:
        """The run directory of this name, or None for a hardware description."""
        path = Path(self.name)
        if not path.is_dir():
            return None
        from lspsim.report import read_run

        return read_run(path)

    @property
    def label(self) -> str:
        """What to call it in tables."""
        return " ".join((self.name, *self.settings))

    @cached_property
    def hardware(self) -> Hardware:
        """The hardware, changed values included."""
        from lspsim.hardware import load_hardware

        hardware = self.run.hardware if self.run else load_hardware(self.name)
        return hardware.with_values(values_of(self.settings)) if self.settings else hardware

    @cached_property
    def workload(self) -> Workload:
        """What runs: as given, else as the run directory has it."""
        if self.given is not None:
            return self.given
        if self.run is None:
            raise typer.BadParameter(
                f"{self.name} is a hardware description; say what runs on it, "
                "e.g. --model deit_base_patch16_224 --sparsity 0.5"
            )
        return self.run.workload

    def summary(self, engine: Engine) -> RunSummary:
        """Read the run, or simulate where there is none or something was changed."""
        if self.run is not None and not self.settings and self.given is None:
            return self.run.summary
        from lspsim.report import RunSummary
        from lspsim.simulate import simulate

        return RunSummary.of(simulate(self.workload, self.hardware, engine=engine))


def both(
    a: str, b: str | None, settings: Sequence[str] | None, choice: WorkloadChoice | None
) -> tuple[Design, Design]:
    """Return the two sides.

    Without `b`, the second is the first with `settings` applied. A hardware
    description beside a run directory runs that run's workload.
    """
    if (b is None) != bool(settings):
        raise typer.BadParameter(
            "give either a second design or --set, which makes the second out of the first"
        )
    given = choice.workload() if choice is not None else None
    first = Design(a, given=given)
    if b is None:
        return first, Design(a, tuple(settings or ()), given=first.workload)
    second = Design(b, given=given)
    if given is None and (first.run is None) != (second.run is None):
        if first.run is None:
            first = Design(a, given=second.workload)
        else:
            second = Design(b, given=first.workload)
    return first, second

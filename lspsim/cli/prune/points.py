"""Making and showing pruned networks: shared by `prune` and `demo`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lspsim.cli.shared.errors import fail, note
from lspsim.errors import LspsimError

if TYPE_CHECKING:
    from lspsim.allocate.budgets import Budget
    from lspsim.cli.shared.options import Format
    from lspsim.networks.record import PointRecord
    from lspsim.prune.pipeline import Tell
    from lspsim.prune.recipe import PruneRecipe
    from lspsim.prune.study import Study


class Points:
    """A directory of pruned networks; those that are there already are not made again.

    Raises
    ------
    ResultError
        When a file is in its place.
    """

    def __init__(self, directory: Path) -> None:
        if directory.exists() and not directory.is_dir():
            from lspsim.errors import ResultError

            raise ResultError(
                f"cannot write pruned networks to {directory}: a file is there; name another"
            )
        self.directory = directory
        self.records: list[PointRecord] = []

    @contextmanager
    def progress(self, total: int) -> Iterator[Tell]:
        """Show a bar on stderr over `total` networks, with what is being done."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed

        columns = (BarColumn(), MofNCompleteColumn(), Elapsed(), TextColumn("{task.description}"))
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("loading", total=total)

            def tell(text: str) -> None:
                bar.update(task, description=text, completed=len(self.records))

            yield tell

    def run(
        self,
        study: Study,
        recipe: PruneRecipe,
        points: Sequence[tuple[Budget, ...]],
        tell: Tell,
    ) -> bool:
        """Make every network that is not there yet; each is written as soon as it is finished.

        Budgets below the least that pruning can reach are refused before any work, with one
        message each; the others are made all the same. Returns whether none was refused.

        Raises
        ------
        ResultError
            When another study's network is in the way, or anything else: before any work.
        LspsimError
            When a budget cannot be met after all; networks finished before are kept.
        """
        from lspsim.networks.record import write_point
        from lspsim.prune.study import run_point

        places = [self.directory / _folder(recipe, budgets) for budgets in points]
        finished = {place: self._finished(place, study, recipe) for place in places}
        reach = study.reach(recipe)
        reachable = []
        for place, budgets in zip(places, points, strict=True):
            try:
                reach.check(budgets)
            except LspsimError as error:
                fail(str(error))
            else:
                reachable.append((place, budgets))
        if not study.named:
            outputs, classes = study.reference.shape[1], len(study.test.classes)
            note(
                f"{study.model_name} has {outputs} outputs, {study.test.name} {classes} "
                "classes: KL to the dense model is measured, top-1 is not"
            )
        prepared = None
        for place, budgets in reachable:
            known = finished[place]
            if known is not None:
                typer.echo(f"kept: {place}", err=True)
                self.records.append(known)
                continue
            if prepared is None:
                prepared = study.prepare(recipe, tell)
                for text in prepared.notes:
                    note(text)
            point = run_point(study, prepared, budgets, tell)
            write_point(
                place,
                point.record,
                point.pruned.model.state_dict(),
                point.pruned.masks,
                permutations=prepared.changes.permutations.arrays() if prepared.changes else None,
            )
            self.records.append(point.record)
            typer.echo(f"written: {place}", err=True)
        return len(reachable) == len(points)

    def _finished(self, place: Path, study: Study, recipe: PruneRecipe) -> PointRecord | None:
        """Return the record at `place` if it answers the same question."""
        from lspsim.errors import ResultError
        from lspsim.networks.record import RECORD, check_free, read_point
        from lspsim.prune.resume import differences

        if not (place / RECORD).exists():
            check_free(place)
            return None
        record = read_point(place)
        if differing := differences(record, study, recipe):
            raise ResultError(
                f"{place} holds a pruned network of another study: {'; '.join(differing)}; "
                "choose another --out, or remove it"
            )
        return record

    def show(self, fmt: Format, *, whole: str = "--format csv") -> None:
        """Print the networks; `whole` is that of `lspsim.table.FittedTable`."""
        from lspsim.cli.shared.output import print_json, print_rows, print_table

        rows = [_row(record) for record in self.records]
        if fmt == "json":
            print_json({"schema": "lspsim/points/v1", "points": rows})
        elif fmt == "csv":
            print_rows(rows)
        else:
            print_table(
                HEADER, [_cells(record) for record in self.records], telling=TELLING, whole=whole
            )


def _folder(recipe: PruneRecipe, budgets: Sequence[Budget]) -> str:
    """Return a directory name that no other network has."""
    limits = "_".join(str(budget).replace(" ", "") for budget in budgets)
    return f"{recipe.score}-{recipe.allocate}-{recipe.compensate}-{recipe.block}_{limits}"


def _row(record: PointRecord) -> dict[str, object]:
    dense, pruned = record.dense, record.pruned
    return {
        "label": record.label,
        "score": record.score,
        "allocate": record.allocate,
        "compensate": record.compensate,
        "block": record.block,
        "sparsity": record.sparsity,
        "cycles": pruned.cycles,
        "speedup": dense.cycles / pruned.cycles,
        "energy_pj": pruned.energy_pj,
        "energy_ratio": pruned.energy_pj / dense.energy_pj,
        "macs_ratio": pruned.macs / dense.macs,
        "top1_dense": dense.top1,
        "top1": pruned.top1,
        "kl_nats": pruned.kl_nats,
        "images": pruned.images,
        "gap_relative": record.allocation.gap_relative,
    }


HEADER = (
    "budget",
    "method",
    "block",
    "removed",
    "speedup",
    "energy",
    "MACs",
    "top-1",
    "drop",
    "KL (nats)",
    "gap",
)
TELLING = ("method", "speedup", "energy", "top-1", "KL (nats)", "drop", "removed", "MACs", "block")
"""Columns that stay longest where the terminal is narrow."""


def _cells(record: PointRecord) -> tuple[str, ...]:
    from lspsim.report.quantities import nats

    dense, pruned = record.dense, record.pruned
    top1, drop = "-", "-"
    if pruned.top1 is not None and dense.top1 is not None:
        top1 = f"{100 * pruned.top1:.2f} %"
        drop = f"{100 * (dense.top1 - pruned.top1):.2f}"
    gap = record.allocation.gap_relative
    return (
        record.label,
        f"{record.score} / {record.allocate} / {record.compensate}",
        record.block,
        f"{100 * record.sparsity:.1f} %",
        f"{dense.cycles / pruned.cycles:.2f}x",
        f"{100 * pruned.energy_pj / dense.energy_pj:.1f} %",
        f"{100 * pruned.macs / dense.macs:.1f} %",
        top1,
        drop,
        nats(pruned.kl_nats),
        "-" if gap is None else f"{100 * gap:.2f} %",
    )

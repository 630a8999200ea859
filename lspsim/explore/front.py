"""From records of pruned networks to the front: which are dominated, and what each gains."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from lspsim.errors import ResultError
from lspsim.explore.dominance import COST_TOLERANCE, dominated
from lspsim.networks.record import RECORD, PointRecord, read_point
from lspsim.report.front import DENSE, Front, FrontPoint, Setting, front_csv

NAME = "front"
"""Files are called `front.csv`, `front.png`, `front.svg`."""


def read_records(directories: Sequence[Path]) -> dict[Path, PointRecord]:
    """Read the record of every pruned network in or below some directories.

    Parameters
    ----------
    directories
        Where to look. Hidden directories, in which unfinished networks lie, are left out.

    Returns
    -------
    Records by directory, sorted; a network that is reached twice counts once.

    Raises
    ------
    ResultError
        When a directory does not exist or holds no pruned network, or a record is damaged.
    """
    found: dict[Path, Path] = {}
    for root in directories:
        if not root.is_dir():
            raise ResultError(
                f"{root}: no such directory; give directories that `lspsim prune --out` wrote"
            )
        below = [
            path.parent
            for path in sorted(root.rglob(RECORD))
            if not any(part.startswith(".") for part in path.relative_to(root).parts)
        ]
        if not below:
            raise ResultError(
                f"{root}: no pruned network in it or below (no {RECORD}); give directories that "
                "`lspsim prune --out` wrote"
            )
        for path in below:
            found.setdefault(path.resolve(), path)
    return {path: read_point(path) for path in sorted(found.values())}


def front(
    records: Sequence[PointRecord], *, mixed: bool = False, directories: Sequence[Path] = ()
) -> Front:
    """Compare pruned networks with their dense network and with each other, as design points.

    Parameters
    ----------
    records
        At least one.
    mixed
        Allow several settings (model, data, hardware, cost of the dense network, number of
        test images). Each has its own dense point and its own front.
    directories
        Where each record lies, to be named in tables; default: unknown.

    Raises
    ------
    ResultError
        When there is no record, or settings differ and `mixed` is not set; they are named.
    """
    if not records:
        raise ResultError("no pruned network to compare; make some with `lspsim prune`")
    where = [str(path) for path in directories] or [""] * len(records)
    numbers: dict[Setting, int] = {}
    for record in records:
        numbers.setdefault(_setting(record), len(numbers))
    settings = tuple(numbers)
    if len(settings) > 1 and not mixed:
        raise ResultError(_difference(settings, records))
    points: list[FrontPoint] = []
    for setting, number in numbers.items():
        mine = [
            (record, path)
            for record, path in zip(records, where, strict=True)
            if _setting(record) == setting
        ]
        pruned = [_pruned(record, number, path) for record, path in mine]
        pruned.sort(key=lambda point: (point.speedup, point.label, point.directory))
        points += _judged([_dense([record for record, _ in mine], number), *pruned])
    return Front(settings, tuple(points))


def write_front(data: Front, out: Path) -> list[Path]:
    """Write `front.csv` and, where there are accuracies to draw, `front.png` and `front.svg`.

    All of them are complete before the first takes its place; other files stay.

    Parameters
    ----------
    data
        What to write.
    out
        Directory; made when missing.

    Returns
    -------
    What was written.

    Raises
    ------
    ResultError
        When the place cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{NAME}.", dir=out) as temporary:
            stem = Path(temporary) / NAME
            csv = stem.with_suffix(".csv")
            csv.write_text(front_csv(data), encoding="utf-8")
            made = [csv]
            if data.measured:
                from lspsim.report.plots.canvas import save_figure
                from lspsim.report.plots.front import draw_fronts

                made += save_figure(draw_fronts(data), stem)
            return [path.replace(out / path.name) for path in made]
    except OSError as error:
        raise ResultError(
            f"cannot write the front to {out}: {error.strerror or error}; choose a directory that "
            "you may write to, with enough free space"
        ) from error


def _setting(record: PointRecord) -> Setting:
    """Return what must be equal; energies by nine digits, so that order of sums is no matter."""
    return Setting(
        model=record.model,
        data=record.data,
        hardware=record.hardware,
        dense_cycles=record.dense.cycles,
        dense_energy_pj=float(f"{record.dense.energy_pj:.9g}"),
        images=record.dense.images,
    )


def _difference(settings: Sequence[Setting], records: Sequence[PointRecord]) -> str:
    """Say in what the settings differ, and how many networks have each value."""
    parts = []
    for field in fields(Setting):
        counts = Counter(getattr(_setting(record), field.name) for record in records)
        if len(counts) > 1:
            values = ", ".join(f"{x!r} ({n} of {len(records)} networks)" for x, n in counts.items())
            parts.append(f"{field.name}: {values}")
    return (
        f"the networks are of {len(settings)} settings and cannot be on one front; they differ "
        f"in {'; '.join(parts)}. Give the directories of one setting, or pass --mixed (mixed=True) "
        "for a front per setting"
    )


def _dense(records: Sequence[PointRecord], setting: int) -> FrontPoint:
    """Return the dense network of one setting, with its accuracy where some record has it."""
    known = [record.dense for record in records if record.dense.top1 is not None]
    dense = (known or [records[0].dense])[0]
    return FrontPoint(
        setting=setting,
        label=DENSE,
        block="",
        score="",
        allocate="",
        compensate="",
        budgets="",
        seed=None,
        sparsity=0.0,
        cycles_total=dense.cycles,
        latency_s=dense.latency_s,
        energy_pj=dense.energy_pj,
        macs=dense.macs,
        speedup=1.0,
        energy_ratio=1.0,
        top1=dense.top1,
        top1_drop_points=None if dense.top1 is None else 0.0,
        kl_nats=dense.kl_nats,
        images=dense.images,
        dominated_speedup=False,
        dominated_energy=False,
        is_dense=True,
        directory="",
    )


def _pruned(record: PointRecord, setting: int, directory: str) -> FrontPoint:
    """Return the design point of a pruned network, not yet judged."""
    dense, pruned = record.dense, record.pruned
    return FrontPoint(
        setting=setting,
        label=record.label,
        block=record.block,
        score=record.score,
        allocate=record.allocate,
        compensate=record.compensate,
        budgets=" ".join(f"{kind}={text}" for kind, text in record.budgets.items()),
        seed=record.seed,
        sparsity=record.sparsity,
        cycles_total=pruned.cycles,
        latency_s=pruned.latency_s,
        energy_pj=pruned.energy_pj,
        macs=pruned.macs,
        speedup=dense.cycles / pruned.cycles,
        energy_ratio=pruned.energy_pj / dense.energy_pj,
        top1=pruned.top1,
        top1_drop_points=None
        if dense.top1 is None or pruned.top1 is None
        else 100 * (dense.top1 - pruned.top1),
        kl_nats=pruned.kl_nats,
        images=pruned.images,
        dominated_speedup=False,
        dominated_energy=False,
        is_dense=False,
        directory=directory,
    )


def _judged(points: Sequence[FrontPoint]) -> list[FrontPoint]:
    """Mark the design points of one setting that another of them dominates.

    Speedups and energies closer than `COST_TOLERANCE` are equal; every image of top-1 counts.
    """
    top1 = {i: point.top1 for i, point in enumerate(points) if point.top1 is not None}
    values = list(top1.values())
    slow = dominated([points[i].speedup for i in top1], values, COST_TOLERANCE)
    hungry = dominated([-points[i].energy_ratio for i in top1], values, COST_TOLERANCE)
    judged = list(points)
    for i, is_slow, is_hungry in zip(top1, slow, hungry, strict=True):
        judged[i] = replace(
            points[i], dominated_speedup=bool(is_slow), dominated_energy=bool(is_hungry)
        )
    return judged

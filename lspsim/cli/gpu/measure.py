"""`lspsim gpu measure`: latency and energy of dense and block-sparse layers and networks."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lspsim.cli.shared.errors import note
from lspsim.cli.shared.inputs import masks_file, record_of, weights_file
from lspsim.cli.shared.options import FormatOption, block, fraction
from lspsim.errors import LspsimError

if TYPE_CHECKING:
    from lspsim.cli.shared.options import Format
    from lspsim.gpu.measure import Outcome, Point, Store
    from lspsim.gpu.measure.device import Device as MeasuredDevice

Device = Literal["cuda", "cpu"]
Dtype = Literal["bf16", "fp16", "fp32"]

MODELS = "deit_base_patch16_224,deit_small_patch16_224,deit_tiny_patch16_224"
QUICK_MINUTES = 7.5
_QUICK = {"batch": "64,1", "block": "64,32", "sparsity": "0.9,0.5"}
_WHOLE = {"batch": "64,1,256,16", "block": "64,32,16", "sparsity": "0.9,0.5,0.7"}
_QUICK_ENERGY = 6


def measure(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="One row per finished measurement; a run goes on where the last one stopped. "
            "Default: lspsim-gpu/GPU-DTYPE.jsonl.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help=f"The headline cases, in at most {QUICK_MINUTES:g} minutes.",
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Stop between two cases before so many are over.", show_default=False
        ),
    ] = None,
    device: Annotated[
        Device,
        typer.Option(help="cpu tries a campaign out: its rows are marked and never mixed in."),
    ] = "cuda",
    dtype: Annotated[
        Dtype | None,
        typer.Option(help="Default: bf16 on a GPU, fp32 on a CPU.", show_default=False),
    ] = None,
    models: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="A,B",
            help="The first gives the layers and the block-sparse networks; the others are "
            "measured dense.",
        ),
    ] = MODELS,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help=f"Images; default: {_WHOLE['batch']}.", show_default=False
        ),
    ] = None,
    blocks: Annotated[
        str | None,
        typer.Option(
            "--block",
            metavar="A,B",
            help=f"Sides, or ROWSxCOLUMNS of W[N, K]; default: {_WHOLE['block']}.",
            show_default=False,
        ),
    ] = None,
    sparsity: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help=f"Removed fractions of blocks; default: {_WHOLE['sparsity']}.",
            show_default=False,
        ),
    ] = None,
    parts: Annotated[
        str, typer.Option(metavar="A,B", help="Which kinds of points.")
    ] = "layers,models,energy",
    energy: Annotated[
        bool, typer.Option("--energy/--no-energy", help="Read NVML's energy counter.")
    ] = True,
    energy_points: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Cases of sustained load, about half a minute each; default: 15, of --quick "
            f"{_QUICK_ENERGY}.",
            show_default=False,
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz|DIR",
            help="Also measure the first network with these masks, or those of a pruned network.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="Weights of the first network; a pruned network brings its masks, too, and of a "
            "file all-zero blocks (of the first --block) are a mask, where --masks is not given.",
            show_default=False,
        ),
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune/--no-tune", help="Look for the best tile of each new shape.")
    ] = True,
    tuning: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Tuned tiles; default: in the user's cache.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, masks and images.")] = 0,
    fmt: FormatOption = "table",
) -> None:
    """Measure latency and energy on this machine's GPU, most valuable cases first.

    Each case is first compared with the masked dense product; what is wrong is not timed.
    No setting of the GPU is changed. Ctrl-C keeps what is finished. Without trained weights
    and masks (--checkpoint, --masks), both are drawn from the seed.

    Example: lspsim gpu measure --quick
    """
    started_s = time.perf_counter()
    choices = _QUICK if quick else _WHOLE
    names = [name.strip() for name in models.split(",") if name.strip()]
    if not names:
        raise typer.BadParameter("name at least one model", param_hint="--model")
    batches = [_batch(text) for text in (batch or choices["batch"]).split(",")]
    sides = [_block(text) for text in (blocks or choices["block"]).split(",")]
    removed = [fraction(text.strip()) for text in (sparsity or choices["sparsity"]).split(",")]

    from lspsim.gpu.kernels import tuning as tunings
    from lspsim.gpu.measure import Campaign, Choice, Store, campaign_points
    from lspsim.gpu.measure.bench import Bench
    from lspsim.gpu.measure.networks import Networks, Source
    from lspsim.gpu.measure.points import PARTS

    wanted = [part for part in PARTS if part in {text.strip() for text in parts.split(",")}]
    if len(wanted) != len(parts.split(",")):
        raise typer.BadParameter(
            f"{parts!r} must name some of {', '.join(PARTS)}", param_hint="--parts"
        )
    machine = _device(device, energy)
    number = dtype or ("fp32" if device == "cpu" else "bf16")
    weights = None if checkpoint is None else weights_file(checkpoint)
    if masks is None and checkpoint is not None and checkpoint.is_dir():
        masks = checkpoint
    given = None if masks is None else masks_file(masks)
    for file in filter(None, (weights, given)):
        record_of(file, names[0])
    networks = Networks(Source(names[0], weights, given, sides[0], seed))
    workloads = {name: networks.workload(name) for name in names}
    workloads[names[0]].with_masks(networks.given)
    choice = Choice(
        names,
        batches,
        sides,
        removed,
        wanted,
        energy_points if energy_points is not None else (_QUICK_ENERGY if quick else 15),
        networks.mask_block,
    )
    points = campaign_points(choice, workloads)
    path = out or Path("lspsim-gpu") / f"{_slug(machine.name)}-{number}.jsonl"
    store = Store(path, machine.name)
    if tuning is not None:
        tunings.use(tuning)
    limit = minutes if minutes is not None else (QUICK_MINUTES if quick else None)
    until_s = None if limit is None else started_s + 60 * limit
    bench = Bench(machine, networks, number, tuning=tune)
    campaign = Campaign(machine, bench, store)
    _say_what_runs(machine, campaign.provenance, store)
    if machine.meter is None and "energy" in wanted:
        note(f"no energy: {machine.meter_problem}")

    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TimeElapsedColumn(), TextColumn("{task.description}"))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("loading", total=None)

        def tell(text: str) -> None:
            bar.update(task, description=text)
            if not console.is_terminal:  # a log shows no bar
                typer.echo(f"{time.perf_counter() - started_s:6.1f} s  {text}", err=True)

        bench.tell = campaign.tell = tell
        outcome = campaign.run(points, until_s=until_s)
    _show(store, campaign, points, outcome, fmt)


def _say_what_runs(machine: MeasuredDevice, provenance: dict[str, Any], store: Store) -> None:
    """Print versions and meter before anything takes time, and rows of other versions."""
    versions = ("driver", "torch", "triton")
    named = [f"{one} {provenance[one]}" for one in versions if provenance.get(one)]
    energy = "no energy counter" if machine.meter is None else "energy counter moves"
    typer.echo(", ".join((machine.name, *named, energy)), err=True)
    for one in versions:
        others = {str((row.get("provenance") or {}).get(one)) for row in store.rows}
        others -= {"None", str(provenance.get(one))}
        if others:
            note(
                f"{store.path} holds rows of {one} {', '.join(sorted(others))}; finished ones "
                "are not measured again"
            )


def _device(name: Device, energy: bool) -> MeasuredDevice:
    from lspsim.gpu.measure.cuda import CudaDevice
    from lspsim.gpu.measure.device import CpuDevice

    machine: MeasuredDevice = CudaDevice() if name == "cuda" else CpuDevice()
    if not energy:
        machine.meter, machine.meter_problem = None, "switched off (--no-energy)"
    return machine


def _show(
    store: Store, campaign: Any, points: Sequence[Point], outcome: Outcome, fmt: Format
) -> None:
    """Print the finished rows of these cases, and how the run ended."""
    from lspsim.cli.shared.output import print_json, print_rich, print_rows
    from lspsim.gpu.measure.table import flat, measurement_table

    keys = {campaign.key(point) for point in points}
    keys |= {campaign.key(point.dense) for point in points}
    rows = list({row["key"]: row for row in store.rows if row["key"] in keys}.values())
    if fmt == "json":
        print_json({"schema": "lspsim/gpu-measure/v1", "rows": rows})
    elif fmt == "csv" and rows:
        print_rows([flat(row) for row in rows])
    elif rows:
        print_rich(measurement_table(rows))
    more = f", {outcome.postponed} did not fit into the time" if outcome.postponed else ""
    typer.echo(
        f"{outcome.measured} cases measured, {outcome.done_before} finished before{more}; "
        f"rows in {store.path}",
        err=True,
    )
    for status in ("unsupported", "out-of-memory", "unstable-energy"):
        without = [row for row in outcome.rows if row["status"] == status]
        if without:
            note(f"{len(without)} rows are {status}: {without[0]['error']}")
    bad = [row for row in outcome.rows if row["status"] in ("failed", "incorrect")]
    if bad:
        raise LspsimError(
            f"{len(bad)} cases could not be measured; the first: {bad[0]['key']}: {bad[0]['error']}"
        )


def _batch(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise typer.BadParameter(
            f"{text.strip()!r} is not a number of images; write e.g. --batch 64,1",
            param_hint="--batch",
        )
    return int(text)


def _block(text: str) -> tuple[int, int]:
    side = text.strip()
    found = block(f"{side}x{side}" if side.isdecimal() else side)
    return found.block_out, found.block_in


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")

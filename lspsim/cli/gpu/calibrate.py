"""`lspsim gpu calibrate`: fitted parameters from measurements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lspsim.cli.gpu.options import GpuDtype
from lspsim.cli.shared import options

if TYPE_CHECKING:
    from lspsim.gpu.config.schema import Gpu
    from lspsim.gpu.fit.calibrate import Calibration


def calibrate(
    gpu: Annotated[
        list[str],
        typer.Option(
            metavar="NAME|FILE",
            help="The GPU that was measured. Repeat it, with a --table each, for one set of "
            "parameters for several.",
            show_default=False,
        ),
    ],
    table: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="GEMM latencies: .parquet or .csv with columns m, n, k and latency (ms), "
            "latency_us or latency_s; or a .jsonl of [bold]lspsim gpu measure[/bold].",
            show_default=False,
        ),
    ] = None,
    hold_out: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Do not fit to the weights of this model; print the error on them.",
            show_default=False,
        ),
    ] = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public", help="Fit to the published networks of this GPU that ship with lspsim."
        ),
    ] = False,
    overhead: Annotated[
        str | None,
        typer.Option(
            metavar="FRAMEWORK",
            help="Instead print the overhead at which this framework's published dense network "
            "of the largest batch fits best; it belongs into hw_configs/gpu/frameworks.",
            show_default=False,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Parameters that stay where nothing is fitted. Default: the GPU's.",
            show_default=False,
        ),
    ] = None,
    dtype: GpuDtype = "bf16",
    name: Annotated[
        str | None,
        typer.Option(help="Name of the parameters; default: the GPU's.", show_default=False),
    ] = None,
    note: Annotated[
        str,
        typer.Option(
            help="Origin, licence and versions of the tables, for the file's sources.",
            show_default=False,
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml", help="Write the fitted parameters here.", show_default=False
        ),
    ] = None,
    fmt: options.FormatOption = "table",
) -> None:
    """Fit a GPU's parameters to measured latencies, within physical bounds.

    Prints how far the fit is from what it was fitted to and from what was held out.
    Example:

        lspsim gpu calibrate --gpu h200 --table gemm.parquet
        --hold-out deit_base_patch16_224 --out h200.yaml
    """
    from lspsim.gpu.config.edit import with_values, write_parameters
    from lspsim.gpu.config.load import load_gpu, load_parameters
    from lspsim.gpu.fit.calibrate import Given
    from lspsim.gpu.fit.calibrate import calibrate as fit

    gpus = [load_gpu(one) for one in gpu]
    if table and len(table) != len(gpus):
        raise typer.BadParameter(
            f"{len(gpus)} --gpu and {len(table)} --table are given; give each table its GPU"
        )
    if overhead is not None:
        if table or public or hold_out or out or len(gpus) > 1:
            raise typer.BadParameter(
                "--overhead takes one --gpu and only prints a number; leave out --table, --public, "
                "--hold-out and --out"
            )
        _show_overhead(overhead, gpus[0], start, fmt)
        return
    if not table and not public:
        raise typer.BadParameter("give measurements: --table FILE, or --public, or both")
    if hold_out and not table:
        raise typer.BadParameter("--hold-out keeps rows of a --table out of the fit; give one")
    if name is not None and not name.strip():
        raise typer.BadParameter("--name is empty; give the parameters a name or leave it out")
    held: frozenset[tuple[int, int]] = frozenset()
    if hold_out is not None:
        from lspsim.models import cached_workload

        gemms = cached_workload(hold_out).gemms
        held = frozenset((gemm.n, gemm.k) for gemm in gemms if gemm.rhs == "weight")
    given = Given(
        [(one, table[i] if table else None) for i, one in enumerate(gpus)],
        dtype,
        held,
        hold_out or "",
        public,
        note,
    )
    found = fit(given, load_parameters(gpus[0], start))
    chosen = name or (gpus[0].name if len(gpus) == 1 else "several")
    described = f"fitted for {' and '.join(one.description or one.name for one in gpus)}"
    parameters = with_values(found.parameters, {"name": chosen, "description": described})
    if out is not None:
        write_parameters(out, parameters)
        typer.echo(f"written: {out}", err=True)
    _show(found, fmt)


def _show_overhead(name: str, gpu: Gpu, start: str | None, fmt: options.Format) -> None:
    """Print a framework's overhead."""
    from lspsim.cli.shared.output import print_json, print_rich, print_rows
    from lspsim.gpu.config.load import load_framework, load_parameters
    from lspsim.gpu.fit.fit_networks import fit_overhead
    from lspsim.gpu.fit.networks import network_rows

    parameters = load_parameters(gpu, start)
    framework = load_framework(name)
    rows = [r for r in network_rows() if (r.gpu, r.framework) == (gpu.name, framework.name)]
    fitted = fit_overhead(rows, framework, parameters, (gpu,))
    row = {"gpu": gpu.name, "framework": framework.name, "overhead": float(fitted.overhead)}
    if fmt == "json":
        print_json({"schema": "lspsim/gpu-overhead/v1", **row})
    elif fmt == "csv":
        print_rows([row])
    else:
        print_rich(f"overhead: {row['overhead']:.4g}")


def _show(found: Calibration, fmt: options.Format) -> None:
    from lspsim.cli.shared.output import print_json, print_rich, print_rows, print_table

    rows = [
        {
            "part": finding.part,
            "rows": finding.rows,
            "count": finding.accuracy.rows,
            "mean_error": finding.accuracy.mean,
            "p90_error": finding.accuracy.p90,
            "worst_error": finding.accuracy.worst,
        }
        for finding in found.findings
    ]
    parameters = found.parameters.model_dump(mode="json", by_alias=True)
    if fmt == "json":
        print_json(
            {
                "schema": "lspsim/gpu-calibration/v1",
                "findings": rows,
                "parameters": parameters,
                "notes": list(found.notes),
                "power": None
                if found.energy is None
                else {
                    "idle_w": found.energy.idle_w,
                    "flop_j": found.energy.flop_j,
                    "byte_j": found.energy.byte_j,
                },
            }
        )
        return
    if fmt == "csv":
        print_rows(rows)
        return
    print_table(
        ["part", "rows", "count", "mean error", "p90", "worst"],
        [
            [
                finding.part,
                finding.rows,
                f"{finding.accuracy.rows:,}",
                f"{finding.accuracy.mean:.1%}",
                f"{finding.accuracy.p90:.1%}",
                f"{finding.accuracy.worst:.1%}",
            ]
            for finding in found.findings
        ],
    )
    fitted = [
        [f"{section}.{key}", str(value)]
        for section in ("dense", "sparse", "vector")
        for key, value in parameters[section].items()
        if key != "source"
    ]
    print_rich("")
    print_table(["parameter", "value"], fitted)
    if found.energy is not None:
        print_rich("", "power (for the GPU's own file): " + ", ".join(found.energy.lines()))
    if found.notes:
        print_rich("", "\n".join(found.notes))

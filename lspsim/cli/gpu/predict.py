"""`lspsim gpu`: predictions for GPUs, and what they rest on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lspsim.cli.gpu import breakeven, calibrate, measure
from lspsim.cli.gpu.options import FrameworkName, GpuDtype, GpuName, ParametersName
from lspsim.cli.shared import options

if TYPE_CHECKING:
    from lspsim.gpu import GpuPrediction

_REASONS = {
    "slower": "the block-sparse kernel would not be faster there (lspsim gpu breakeven shows from "
    "which sparsity on it is; --kernels sparse shows what it would take).",
    "block": "the block-sparse kernel takes only blocks whose sides are powers of two from 16 up.",
    "asked": "--kernels dense asks for it.",
}

app = typer.Typer(no_args_is_help=True, help="Predict and measure networks on a GPU.")
app.command("measure")(measure.measure)
app.command("calibrate")(calibrate.calibrate)
app.command("breakeven")(breakeven.breakeven)


@app.command("list")
def list_gpus(fmt: options.FormatOption = "table") -> None:
    """List the GPUs that ship with lspsim, and what their predictions rest on.

    Example: lspsim gpu list
    """
    from lspsim.cli.shared.output import print_json, print_rich, print_rows, print_table
    from lspsim.gpu.config.load import gpu_names, load_gpu, load_parameters

    rows = []
    for gpu in map(load_gpu, gpu_names()):
        parameters = load_parameters(gpu)
        rows.append(
            {
                "name": gpu.name,
                "description": gpu.description,
                "sms": int(gpu.sms.value),
                "bf16_tflop_per_s": gpu.peak_flop_per_s("bf16") / 1e12,
                "dram_gb_per_s": float(gpu.memory.bandwidth.value) / 1e9,
                "parameters": gpu.parameters,
                "dense_source": parameters.dense.source,
                "sparse_source": parameters.sparse.source,
                "vector_source": parameters.vector.source,
                "energy_basis": gpu.power.basis,
            }
        )
    if fmt == "json":
        print_json({"schema": "lspsim/gpu-list/v1", "gpus": rows})
    elif fmt == "csv":
        print_rows(rows)
    else:
        print_table(
            ["name", "what", "SMs", "bf16 TFLOP/s", "DRAM GB/s", "parameters", "block-sparse"],
            [
                [
                    str(row["name"]),
                    str(row["description"]),
                    str(row["sms"]),
                    f"{row['bf16_tflop_per_s']:,.4g}",
                    f"{row['dram_gb_per_s']:,.4g}",
                    str(row["parameters"]),
                    "assumed" if str(row["sparse_source"]).startswith("assumed") else "fitted",
                ]
                for row in rows
            ],
            prose=("what",),
        )
        print_rich(
            "",
            "parameters: whose dense kernels it is predicted with; block-sparse: whether its "
            "efficiency was fitted or is assumed. Energies rest on assumed constants. Sources "
            "and errors: --format json, docs/gpu.md.",
        )


@app.command("predict")
def predict(
    model: options.Model,
    gpu: GpuName,
    sparsity: options.Sparsity = None,
    block: options.Block = None,
    seed: options.MaskSeed = None,
    batch: options.Batch = 1,
    image_size: options.ImageSize = None,
    masks: options.Masks = None,
    checkpoint: options.Checkpoint = None,
    dtype: GpuDtype = "bf16",
    framework: FrameworkName = "cuda-graph",
    kernels: Annotated[
        Literal["best", "sparse", "dense"],
        typer.Option(
            help="What masked layers run: best takes the block-sparse kernel where it is "
            "predicted to be faster, sparse takes it always, dense never."
        ),
    ] = "best",
    parameters: ParametersName = None,
    fmt: options.FormatOption = "table",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="Also write the JSON object here.", show_default=False
        ),
    ] = None,
    all_layers: options.AllLayers = False,
) -> None:
    """Predict latency and energy of one inference on a GPU, layer by layer.

    Two rooflines are printed beside it: the data sheet's, and one at 0.8 of its peaks with
    3 us per kernel. Example:

        lspsim gpu predict deit_base_patch16_224 --gpu h200 --batch 64
        --sparsity 0.9 --block 64x64
    """
    from lspsim.cli.gpu.options import gpu_model
    from lspsim.cli.shared.inputs import WorkloadChoice
    from lspsim.gpu import load_framework
    from lspsim.gpu import predict as run

    chosen = gpu_model(gpu, dtype, parameters)
    workload = WorkloadChoice(
        model, sparsity, block, seed, batch, image_size, masks, checkpoint
    ).workload()
    found = run(workload, chosen, load_framework(framework), kernels)
    if out is not None:
        import json

        from lspsim.report.files import whole_file

        with whole_file(out) as temporary:
            temporary.write_text(json.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")
        typer.echo(f"written: {out}", err=True)
    _show(found, fmt, all_layers)


def _show(found: GpuPrediction, fmt: options.Format, all_layers: bool) -> None:
    from lspsim.cli.shared.output import print_json, print_rich, print_rows

    if fmt == "json":
        print_json(found.to_dict())
    elif fmt == "csv":
        print_rows(
            [{**row, "energy_basis": found.energy_basis} for row in found.to_dict()["layers"]]
        )
    else:
        from lspsim.gpu.model.tables import prediction_table, totals_table

        print_rich(prediction_table(found, collapse=not all_layers), totals_table(found))
        if found.kept_dense:
            print_rich("", kept_dense_note(found))


def kept_dense_note(found: GpuPrediction) -> str:
    """Return how many masked layers run dense, and why, a sentence per reason."""
    masked = sum(layer.dense_latency_s is not None for layer in found.layers)
    counts = Counter(layer.dense_because for layer in found.layers if layer.dense_because)
    return "\n".join(
        f"{count} of {masked} masked layers stay dense: {_REASONS[because]}"
        for because, count in counts.items()
    )

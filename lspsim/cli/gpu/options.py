"""Options that the `lspsim gpu` commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from lspsim.gpu.model.gpu_model import GpuModel

GpuName = Annotated[
    str,
    typer.Option(
        "--gpu",
        metavar="NAME|FILE",
        help="h200, h100, a100, l40s, rtx4090, rtx3090, or a YAML file.",
        show_default=False,
    ),
]
GpuDtype = Annotated[
    Literal["bf16", "fp16", "tf32", "fp32"], typer.Option(help="Number format of operands.")
]
FrameworkName = Annotated[
    str,
    typer.Option(
        "--framework",
        metavar="NAME|FILE",
        help="What runs the network: cuda-graph, compiled, timm-amp, ..., or a YAML file.",
    ),
]
ParametersName = Annotated[
    str | None,
    typer.Option(
        "--parameters",
        metavar="NAME|FILE",
        help="Fitted parameters other than the GPU's own.",
        show_default=False,
    ),
]


def gpu_model(
    gpu: str, dtype: Literal["bf16", "fp16", "tf32", "fp32"], parameters: str | None
) -> GpuModel:
    """Return the model that the options name."""
    from lspsim.gpu import GpuModel, load_gpu, load_parameters

    chip = load_gpu(gpu)
    return GpuModel(chip, dtype, load_parameters(chip, parameters))

"""`sparsify`: block-sparse layers into a pruned model, where they are predicted to pay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import nn

from lspsim.errors import LspsimError
from lspsim.gpu.kernels.layout import masked
from lspsim.gpu.kernels.linear import BlockSparseLinear
from lspsim.gpu.kernels.tile import check_block
from lspsim.workload.mask import BlockMask

if TYPE_CHECKING:
    from rich.table import Table

Variant = Literal["dense", "block-sparse"]


class LayerLatency(Protocol):
    """What a model of the GPU says about one layer."""

    @property
    def latency_s(self) -> float:
        """Seconds per product."""


class LayerTimes(Protocol):
    """Predicted or measured times of linear layers on one GPU in one dtype."""

    def dense_latency(self, m: int, n: int, k: int) -> LayerLatency:
        """Return the time of a dense product `[m, k] x [k, n]`."""

    def sparse_latency(self, mask: BlockMask, m: int) -> LayerLatency:
        """Return the time of the block-sparse product of m rows with a masked weight."""


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """What became of one layer.

    Parameters
    ----------
    layer
        Dotted path.
    sparsity
        Removed fraction of its weights.
    dense_s, sparse_s
        Seconds per product as `times` has them; None without it.
    chosen
        What the layer is now.
    """

    layer: str
    sparsity: float
    dense_s: float | None
    sparse_s: float | None
    chosen: Variant


def sparsify(
    model: nn.Module,
    masks: Mapping[str, BlockMask],
    times: LayerTimes | None = None,
    *,
    batch: int = 1,
) -> tuple[LayerChoice, ...]:
    """Put `BlockSparseLinear` into a pruned model, in place; outputs stay.

    Parameters
    ----------
    model
        A pruned model, of timm where `times` is given: weights are zero where the masks
        remove them.
    masks
        Kept blocks by layer name.
    times
        Where it expects no gain from a layer's mask, that layer stays dense. Default:
        every masked layer becomes block-sparse.
    batch
        Images per inference, which `times` is asked for.

    Returns
    -------
    One entry per mask, in the masks' order; `choice_table` prints them.

    Raises
    ------
    LspsimError
        When a mask names no linear layer, has another shape, a block that the kernel does
        not take, or removes weights that are not zero. The model is unchanged then.
    """
    layers = {name: _layer(model, name, mask) for name, mask in masks.items()}
    rows = _rows_of(model, batch) if times is not None else {}
    choices = []
    for name, mask in masks.items():
        dense_s = sparse_s = None
        chosen: Variant = "block-sparse"
        if times is not None:
            n, k = mask.shape
            dense_s = times.dense_latency(rows[name], n, k).latency_s
            sparse_s = times.sparse_latency(mask, rows[name]).latency_s
            chosen = "block-sparse" if sparse_s < dense_s else "dense"
        choices.append(LayerChoice(name, 1 - mask.density, dense_s, sparse_s, chosen))
    for choice in choices:
        if choice.chosen == "block-sparse":
            name = choice.layer
            sparse = BlockSparseLinear.from_linear(layers[name], masks[name])
            model.set_submodule(name, sparse.train(layers[name].training))
    return tuple(choices)


def choice_table(choices: Sequence[LayerChoice]) -> Table:
    """Return the choices as a table for the terminal."""
    from rich.table import Table

    from lspsim.report.quantities import percent, si

    def seconds(value: float | None) -> str:
        return "-" if value is None else si(value, "s")

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer")
    for header in ("sparsity", "dense", "block-sparse", "speedup"):
        table.add_column(header, justify="right")
    table.add_column("chosen")
    for choice in choices:
        known = choice.dense_s is not None and choice.sparse_s is not None
        gain = f"{choice.dense_s / choice.sparse_s:.2f}x" if known else "-"  # type: ignore[operator]
        table.add_row(
            choice.layer,
            percent(choice.sparsity),
            seconds(choice.dense_s),
            seconds(choice.sparse_s),
            gain,
            choice.chosen,
        )
    return table


def _layer(model: nn.Module, name: str, mask: BlockMask) -> nn.Linear:
    """Return the linear layer that a mask is for, checked."""
    try:
        layer = model.get_submodule(name)
    except AttributeError as error:
        raise LspsimError(f"mask {name!r}: the model has no layer of that name") from error
    if not isinstance(layer, nn.Linear):
        raise LspsimError(f"mask {name!r}: that is a {type(layer).__name__}, not a linear layer")
    check_block(mask.block_out, mask.block_in)
    if not torch.equal(masked(layer.weight, mask), layer.weight.detach()):
        raise LspsimError(
            f"mask {name!r} removes blocks whose weights are not zero; prune the model with it "
            "first (lspsim prune), or the outputs would change"
        )
    return layer


def _rows_of(model: nn.Module, batch: int) -> dict[str, int]:
    """Return M of each linear layer: tokens x images."""
    from lspsim.models.extract import workload_from_model

    gemms = workload_from_model(model, batch=batch).gemms
    return {gemm.name: gemm.m * gemm.batch for gemm in gemms if gemm.rhs == "weight"}

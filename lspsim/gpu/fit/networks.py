"""Public latencies of whole networks, carried with their sources, and predictions of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

from lspsim.gpu.config.load import gpu_named, load_framework
from lspsim.gpu.config.schema import Dtype, Framework, Gpu, Parameters
from lspsim.gpu.model.gpu_model import GpuModel
from lspsim.gpu.model.inference import GpuPrediction, predict
from lspsim.workload import Workload
from lspsim.workload.generate import prunable_names, random_masks

SEED = 0
"""Of the random masks of pruned layers: SuperBlock's are random, too."""


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """One published latency."""

    gpu: str
    framework: str
    model: str
    """timm's name of the architecture."""
    batch: int
    dtype: Dtype
    pruned: str
    """`mlp` or "" for a dense network."""
    block: tuple[int, int] | None
    sparsity: float
    """Of the pruned layers."""
    latency_s: float
    source: str

    @property
    def label(self) -> str:
        """What to call it in tables."""
        if not self.pruned:
            return f"{self.model}, batch {self.batch}"
        return (
            f"{self.model}, batch {self.batch}, {self.pruned} {100 * self.sparsity:.0f} % removed"
        )


@cache
def network_rows() -> tuple[NetworkRow, ...]:
    """Return the rows that ship with the package.

    timm's DeiT results (torch >= 2.1), AITemplate's ViT-B and SuperBlock's ViT-B and ViT-H;
    latencies of the whole batch.
    """
    text = (resources.files("lspsim.gpu") / "data" / "networks.csv").read_text(encoding="utf-8")
    return tuple(_row(cells) for cells in csv.DictReader(text.splitlines()))


def _row(cells: dict[str, str]) -> NetworkRow:
    size = cells["block"]
    out, _, inner = size.partition("x")
    dtype: Dtype = "bf16" if cells["dtype"] == "bf16" else "fp16"
    return NetworkRow(
        cells["gpu"],
        cells["framework"],
        cells["model"],
        int(cells["batch"]),
        dtype,
        cells["pruned"],
        (int(out), int(inner)) if size else None,
        float(cells["sparsity"]),
        float(cells["latency_ms"]) * 1e-3,
        cells["source"],
    )


@lru_cache(maxsize=64)
def workload_of(model: str, batch: int, block: tuple[int, int] | None, sparsity: float) -> Workload:
    """Return a network with its MLPs pruned at random, or dense without a block.

    Raises
    ------
    MissingDependencyError
        Without timm.
    """
    from lspsim.models import cached_workload

    dense = cached_workload(model, batch=batch)
    if block is None:
        return dense
    names = [name for name in prunable_names(dense) if re.search(r"\.mlp\.", name)]
    masks = random_masks(
        dense,
        sparsity=sparsity,
        block_out=block[0],
        block_in=block[1],
        seed=SEED,
        names=names,
    )
    return dense.with_masks(masks, seed=SEED)


def predict_row(
    row: NetworkRow,
    parameters: Parameters | None = None,
    framework: Framework | None = None,
    given: Sequence[Gpu] = (),
) -> GpuPrediction:
    """Predict a published row: pruned layers all run the block-sparse kernel, as published.

    Parameters
    ----------
    row
        The network.
    parameters, framework
        Others than the shipped ones of its GPU and framework.
    given
        GPUs in place of the shipped ones of their names.
    """
    model = GpuModel(gpu_named(row.gpu, given), row.dtype, parameters)
    workload = workload_of(row.model, row.batch, row.block, row.sparsity)
    return predict(workload, model, framework or load_framework(row.framework), "sparse")

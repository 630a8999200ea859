"""From option values to the hardware and the workload that they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from lspsim.cli.options import BlockSize
    from lspsim.hardware import Hardware
    from lspsim.prune.budgets import Budget
    from lspsim.prune.recipe import PruneRecipe
    from lspsim.prune.study import Study
    from lspsim.prune.target import Target
    from lspsim.workload import Workload


def hardware_of(name: str, settings: Sequence[str] | None) -> Hardware:
    """Load the preset or file `name` and apply `--set` values."""
    from lspsim.hardware import load_hardware

    hardware = load_hardware(name)
    return hardware.with_values(values_of(settings)) if settings else hardware


GPU = "gpu:"
"""What stands before a GPU's name where a chip's may stand, too."""


def target_of(name: str, settings: Sequence[str] | None) -> Hardware | Target:
    """Load a chip as `hardware_of` does, or a GPU (`gpu:h200`) with its cost model."""
    if not name.startswith(GPU):
        return hardware_of(name, settings)
    if settings:
        raise typer.BadParameter(
            "--set changes simulated chips; for another GPU copy a file of hw_configs/gpu and "
            f"give its path, e.g. {GPU}./my_gpu.yaml"
        )
    import hashlib

    from lspsim.gpu import GpuCost, GpuModel, load_gpu
    from lspsim.prune.target import Target

    model = GpuModel(load_gpu(name.removeprefix(GPU)))
    cost = GpuCost(model)
    parts = (model.gpu, model.parameters, cost.framework)
    text = model.dtype + "".join(part.model_dump_json(by_alias=True) for part in parts)
    typer.echo(
        f"note: costs on {GPU}{model.gpu.name} are predicted; energy ({model.gpu.power.basis})",
        err=True,
    )
    return Target(GPU + model.gpu.name, hashlib.sha256(text.encode()).hexdigest(), cost)


def check_gpu_gain(study: Study, recipe: PruneRecipe, budgets: Sequence[Sequence[Budget]]) -> None:
    """Refuse budgets on a GPU that no removed block would meet, and say why.

    Raises
    ------
    LspsimError
        With the least that the GPU reaches.
    """
    from lspsim.gpu.model.limits import least_cost, nothing_to_gain
    from lspsim.prune.target import Target

    if not isinstance(study.hardware, Target):
        return
    dense = study.fast.cost(study.workload)
    least = least_cost(study.fast, study.workload, recipe.sizes)
    for point in budgets:
        for budget in point:
            if budget.of(least) > budget.ceiling(dense):
                raise nothing_to_gain(
                    study.hardware.name,
                    study.workload,
                    str(budget),
                    budget.of(least) / budget.of(dense),
                    recipe.block,
                    recipe.sizes,
                )


def values_of(settings: Sequence[str]) -> dict[str, str]:
    """Split `path=value` texts; the hardware reads the values as a YAML file's."""
    values: dict[str, str] = {}
    for text in settings:
        path, _, value = text.partition("=")
        if path.strip() in values:
            raise typer.BadParameter(f"--set {path.strip()} is given twice; keep one")
        values[path.strip()] = value.strip()
    return values


@dataclass(frozen=True, slots=True)
class WorkloadChoice:
    """The options that say what runs."""

    model: str
    sparsity: float | None
    block: BlockSize
    seed: int
    batch: int
    image_size: int | None
    masks: Path | None
    checkpoint: Path | None

    def workload(self) -> Workload:
        """Build the workload of a timm name or a workload file, masked as asked."""
        self._check_one_mask_source()
        workload = self._unmasked()
        if self.sparsity is not None:
            from lspsim.workload.generate import random_masks

            drawn = random_masks(
                workload,
                sparsity=self.sparsity,
                block_out=self.block.block_out,
                block_in=self.block.block_in,
                seed=self.seed,
            )
            return workload.with_masks(drawn, seed=self.seed)
        if self.masks is not None:
            from lspsim.workload.mask_io import load_masks

            point = self.masks / "masks.npz"  # of a point that lspsim prune wrote
            return workload.with_masks(load_masks(point if self.masks.is_dir() else self.masks))
        if self.checkpoint is not None:
            from lspsim.models import load_state, masks_from_weights

            return workload.with_masks(masks_from_weights(load_state(self.checkpoint), *self.block))
        return workload

    def _check_one_mask_source(self) -> None:
        given = {
            "--sparsity": self.sparsity,
            "--masks": self.masks,
            "--checkpoint": self.checkpoint,
        }
        named = [option for option, value in given.items() if value is not None]
        if len(named) > 1:
            raise typer.BadParameter(f"{' and '.join(named)} exclude each other; keep one")

    def _unmasked(self) -> Workload:
        if not self.model.endswith(".json"):
            from lspsim.models import cached_workload

            return cached_workload(self.model, batch=self.batch, image_size=self.image_size)
        if self.batch != 1 or self.image_size is not None:
            raise typer.BadParameter(
                f"{self.model} fixes batch and image size; leave out --batch and --image-size"
            )
        from lspsim.workload.serialise import load_workload

        return load_workload(self.model)

"""From option values to the hardware and the workload that they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lspsim.cli.shared.errors import note
from lspsim.errors import LspsimError

if TYPE_CHECKING:
    from lspsim.allocate.budgets import Budget
    from lspsim.cli.shared.options import BlockSize
    from lspsim.hardware import Hardware
    from lspsim.networks.record import PointRecord
    from lspsim.prune.recipe import PruneRecipe
    from lspsim.prune.study import Study
    from lspsim.simulate.target import Target
    from lspsim.workload import Workload


def hardware_of(name: str, settings: Sequence[str] | None) -> Hardware:
    """Load the preset or file `name` and apply `--set` values."""
    from lspsim.hardware import load_hardware

    hardware = load_hardware(name)
    return hardware.with_values(values_of(settings)) if settings else hardware


GPU = "gpu:"
"""Prefix of a GPU's name where a chip's name is possible, too."""


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
    from lspsim.simulate.target import Target

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
    from lspsim.simulate.target import Target

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


def weights_file(path: Path) -> Path:
    """Return a file of weights as it is, and of the directory of a pruned network its weights."""
    from lspsim.networks.record import WEIGHTS

    return _inside(path, WEIGHTS)


def masks_file(path: Path) -> Path:
    """Return a file of masks as it is, and of the directory of a pruned network its masks."""
    from lspsim.networks.record import MASKS

    return _inside(path, MASKS)


def _inside(path: Path, name: str) -> Path:
    if path.is_dir() and not (path / name).exists():
        raise LspsimError(f"{path} holds no {name}; name a file, or a directory of lspsim prune")
    return path / name if path.is_dir() else path


def record_of(file: Path, model: str) -> PointRecord | None:
    """Return the record of the pruned network that a file belongs to, if there is one.

    Raises
    ------
    WorkloadError
        When it is of another model.
    """
    from lspsim.networks.record import record_beside
    from lspsim.workload.mask_io import check_model

    record = record_beside(file)
    if record is not None:
        check_model(str(file), record.model, model)
    return record


@dataclass(frozen=True, slots=True)
class WorkloadChoice:
    """The options that say what runs; None where one was not given."""

    model: str
    sparsity: float | None
    block: BlockSize | None
    seed: int | None
    batch: int
    image_size: int | None
    masks: Path | None
    checkpoint: Path | None

    def workload(self) -> Workload:
        """Build the workload of a timm name or a workload file, masked as asked.

        Raises
        ------
        typer.BadParameter
            When options exclude each other, or one would be ignored.
        LspsimError
            When a file is damaged, or belongs to another model.
        """
        self._check_options()
        if self.sparsity is not None:
            return self._drawn(self.sparsity)
        if self.masks is not None:
            return self._with_masks_of(self.masks)
        if self.checkpoint is not None:
            return self._with_zeros_of(weights_file(self.checkpoint))
        return self._unmasked()

    def _drawn(self, sparsity: float) -> Workload:
        from lspsim.cli.shared.options import DEFAULT_BLOCK
        from lspsim.workload.generate import random_masks

        workload, block, seed = self._unmasked(), self.block or DEFAULT_BLOCK, self.seed or 0
        drawn = random_masks(
            workload,
            sparsity=sparsity,
            block_out=block.block_out,
            block_in=block.block_in,
            seed=seed,
        )
        return workload.with_masks(drawn, seed=seed)

    def _with_masks_of(self, path: Path) -> Workload:
        from lspsim.workload.generate import prunable_names
        from lspsim.workload.mask_io import load_masks

        file = masks_file(path)
        masks = load_masks(file, self._name)
        in_point = record_of(file, self._name) is not None
        workload = self._unmasked(self._classes_beside(file) if in_point else None)
        masked = workload.with_masks(masks)
        prunable = prunable_names(workload)
        covered = sum(name in masks for name in prunable)
        if covered < len(prunable):
            note(f"masks cover {covered} of {len(prunable)} prunable layers; the others are dense")
        return masked

    def _classes_beside(self, masks: Path) -> int | None:
        """Return the number of classes of the pruned network that a file of masks belongs to."""
        from lspsim.networks.record import WEIGHTS

        weights = masks.parent / WEIGHTS
        if not self._name or not weights.exists():
            return None
        from lspsim.models import load_state
        from lspsim.models.load import class_count

        return class_count(self._name, load_state(weights))

    def _with_zeros_of(self, file: Path) -> Workload:
        """Remove the all-zero blocks of a file of weights."""
        from lspsim.cli.shared.options import DEFAULT_BLOCK
        from lspsim.models import load_state, masks_from_weights
        from lspsim.models.checkpoints import check_fits
        from lspsim.models.load import class_count
        from lspsim.networks.record import MASKS, RECORD
        from lspsim.workload.mask_io import load_masks

        record = record_of(file, self._name)
        state = load_state(file)
        workload = self._unmasked(class_count(self.model, state) if self._name else None)
        check_fits(state, workload, str(file))
        if record is not None and self.block is None:
            note(f"blocks of {record.block}, as {file.parent / RECORD} says; --block takes others")
            sizes = {
                name: (mask.block_out, mask.block_in)
                for name, mask in load_masks(file.parent / MASKS).items()
            }
            masks = {
                name: mask
                for size in set(sizes.values())
                for name, mask in masks_from_weights(state, *size).items()
                if sizes.get(name) == size
            }
        else:
            masks = masks_from_weights(state, *(self.block or DEFAULT_BLOCK))
        return workload.with_masks(masks)

    @property
    def _name(self) -> str:
        """The model's name or card; "" for a workload file, which is named as its author liked."""
        from lspsim.models.cards import is_card

        is_workload = self.model.endswith(".json") and not is_card(Path(self.model))
        return "" if is_workload else self.model

    def _check_options(self) -> None:
        """Refuse two sources of masks, and what would be ignored."""
        given = {
            "--sparsity": self.sparsity,
            "--masks": self.masks,
            "--checkpoint": self.checkpoint,
        }
        named = [option for option, value in given.items() if value is not None]
        if len(named) > 1:
            raise typer.BadParameter(f"{' and '.join(named)} exclude each other; keep one")
        if self.block is not None and self.sparsity is None and self.checkpoint is None:
            raise typer.BadParameter(
                "--block goes with --sparsity or --checkpoint"
                + ("; masks have their own blocks" if self.masks is not None else "; give one")
            )
        if self.seed is not None and self.sparsity is None:
            raise typer.BadParameter("--seed draws the masks of --sparsity; give both or none")

    def _unmasked(self, num_classes: int | None = None) -> Workload:
        if self._name:
            from lspsim.models import cached_workload

            return cached_workload(self.model, self.batch, self.image_size, num_classes)
        if self.batch != 1 or self.image_size is not None:
            raise typer.BadParameter(
                f"{self.model} fixes batch and image size; leave out --batch and --image-size"
            )
        from lspsim.workload.serialise import load_workload

        return load_workload(self.model)

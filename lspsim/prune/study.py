"""`Study`: one model, one chip, one data set; and the pruned networks made of them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch
from pydantic import JsonValue
from torch import nn

from lspsim.allocate import Reach, least_reachable
from lspsim.allocate.budgets import Budget
from lspsim.errors import ModelError
from lspsim.models import workload_from_model
from lspsim.models.data import ImageSet, load_dataset
from lspsim.networks.origin import dense_model, weights_record
from lspsim.networks.quality import Quality, quality, reference_logits
from lspsim.networks.record import AllocationRecord, Measured, PointRecord
from lspsim.prune.choose_basis import choose_basis
from lspsim.prune.pipeline import Prepared, Pruned, Tell, block_sizes, prepare, prune
from lspsim.prune.recipe import PruneRecipe
from lspsim.simulate.cost import Cost, CostModel, SimulatorCost
from lspsim.simulate.provenance import workload_digest
from lspsim.simulate.simulate import EngineName
from lspsim.simulate.target import Target
from lspsim.workload import Workload
from lspsim.workload.generate import prunable_names

if TYPE_CHECKING:
    from lspsim.hardware import Hardware


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """What all pruned networks of one command have in common.

    Attributes
    ----------
    model_name, model, workload
        The dense network: its name, its module, its operators.
    hardware
        What it runs on.
    calibration, test
        Images; they share none.
    reference
        `[images, classes]`, the dense network's logits on `test`.
    dense
        Figures of the dense network.
    seed
        Of the choice of images.
    weights
        Where the dense network's weights came from; goes into every record.
    """

    model_name: str
    model: nn.Module
    workload: Workload
    hardware: Hardware | Target
    calibration: ImageSet
    test: ImageSet
    reference: torch.Tensor
    dense: Measured
    seed: int
    weights: Mapping[str, JsonValue]

    @property
    def named(self) -> bool:
        """Whether the model's outputs are the images' classes, so that top-1 means something."""
        return int(self.reference.shape[1]) == len(self.test.classes)

    def prepare(self, recipe: PruneRecipe, tell: Tell | None = None) -> Prepared:
        """Choose a basis if the recipe leaves that open, and score the blocks.

        Raises
        ------
        LspsimError
            As `choose_basis` and `prepare` do.
        """
        model, images, workload = self.model, self.calibration, self.workload
        if recipe.basis != "auto":
            return prepare(model, images, workload, recipe, tell=tell)
        found = choose_basis(model, images, workload, recipe, tell)
        basis = min(found, key=lambda name: found[name])
        prepared = prepare(model, images, workload, replace(recipe, basis=basis), tell=tell)
        return replace(prepared, held_out_kl=found)

    def reach(self, recipe: PruneRecipe) -> Reach:
        """Return the floor under every budget for a recipe, before any pruning.

        Raises
        ------
        LspsimError
            When a block size does not fit the model.
        """
        options = block_sizes(self.model, prunable_names(self.workload), recipe)
        sizes = {name: first for name, (first, *_) in options.items()}
        return least_reachable(self.workload, sizes, self.exact, recipe.most)

    @property
    def fast(self) -> CostModel:
        """The cost model in the loop."""
        return cost_model(self.hardware, "analytic")

    @property
    def exact(self) -> CostModel:
        """The cost model that decides."""
        return cost_model(self.hardware, "event")


def cost_model(hardware: Hardware | Target, engine: EngineName) -> CostModel:
    """Return a target's own cost model, or the simulator with this engine."""
    return hardware.cost if isinstance(hardware, Target) else SimulatorCost(hardware, engine)


def hardware_values(hardware: Hardware | Target) -> JsonValue:
    """Return what a chip's file holds, `--set` values included; nothing of a target."""
    return {} if isinstance(hardware, Target) else hardware.to_document()


def open_study(
    model_name: str,
    data: str,
    hardware: Hardware | Target,
    *,
    checkpoint: str | None = None,
    pretrained: bool = False,
    calibration_images: int = 128,
    test_images: int | None = None,
    seed: int = 0,
    batch: int = 1,
) -> Study:
    """Load model and images, and measure the dense network.

    Parameters
    ----------
    model_name, checkpoint, pretrained
        See `lspsim.models.load_model`.
    data
        See `lspsim.models.data.load_dataset`.
    hardware
        The chip.
    batch
        Images per inference on it.
    calibration_images, test_images
        How many images; None = all there are.
    seed
        Chooses the calibration images; and the weights of a timm model that has none.

    Raises
    ------
    ModelError
        When model or data cannot be loaded, or do not fit each other: images of
        another size, more classes than outputs, no outputs. With more outputs than classes
        (an ImageNet model on somebody's folder) there is no top-1, only KL.
    """
    model = dense_model(model_name, checkpoint, pretrained, seed)
    source = model_name if checkpoint is None else f"{model_name} of {checkpoint}"
    if getattr(model, "num_classes", None) == 0:
        raise ModelError(
            f"{source} has no classifier, and pruning compares what networks say about images; "
            "take weights that have one"
        )
    workload = workload_from_model(model, batch=batch)
    calibration = load_dataset(data, "calibration", calibration_images, seed=seed, model=model)
    test = load_dataset(data, "test", test_images, model=model)
    _check_fit(model, test)
    reference = reference_logits(model, test)
    if reference.shape[1] < len(test.classes):
        raise ModelError(
            f"{source} has {reference.shape[1]} outputs and {data} {len(test.classes)} "
            "classes; take a model that was trained on these"
        )
    dense_cost = cost_model(hardware, "event").cost(workload)
    named = reference.shape[1] == len(test.classes)
    figures = measured(dense_cost, quality(model, test, reference), named)
    weights = weights_record(model, checkpoint, pretrained)
    return Study(
        model_name,
        model,
        workload,
        hardware,
        calibration,
        test,
        reference,
        figures,
        seed,
        weights,
    )


def _check_fit(model: nn.Module, images: ImageSet) -> None:
    """Refuse images of another size than the model's, where it has one."""
    wanted = getattr(getattr(model, "patch_embed", None), "img_size", None)
    height, width = images.first(1).images.shape[2:]
    if wanted is not None and tuple(wanted) != (height, width):
        raise ModelError(
            f"the model takes images of {wanted[0]}x{wanted[1]} pixels, {images.name} has "
            f"{height}x{width}; take a model of that size, or a folder, whose images are resized"
        )


def measured(cost: Cost, found: Quality, named: bool = True) -> Measured:
    """Put cost and quality into one record; no top-1 where outputs are not the classes."""
    return Measured(
        cycles=cost.cycles,
        latency_s=cost.latency_s,
        energy_pj=cost.energy_pj,
        macs=cost.macs,
        top1=found.top1 if named else None,
        kl_nats=found.kl_nats,
        images=found.images,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A pruned network, its record, and its quality on the test images."""

    pruned: Pruned
    record: PointRecord
    quality: Quality


def run_point(
    study: Study, prepared: Prepared, budgets: Sequence[Budget], tell: Tell | None = None
) -> Point:
    """Prune to one set of budgets, and measure.

    Parameters
    ----------
    study
        Network, hardware and images.
    prepared
        What `prepare` made of them for one recipe.
    budgets
        All of them hold afterwards.
    tell
        Called with a line of text at each step.

    Raises
    ------
    LspsimError
        When the budgets cannot be met.
    """
    pruned = prune(prepared, study.workload, budgets, study.fast, study.exact, tell=tell)
    found = quality(pruned.model, study.test, study.reference)
    recipe, outcome = prepared.recipe, pruned.outcome
    allocation = outcome.allocation
    in_nats = outcome.unit == "nats"
    record = PointRecord(
        label=",".join(map(str, budgets)),
        model=study.model_name,
        data=study.test.name,
        hardware=study.hardware.name,
        block=recipe.block,
        score=recipe.score,
        allocate=recipe.allocate,
        compensate=recipe.compensate,
        budgets={budget.kind: str(budget).partition("=")[2] for budget in budgets},
        seed=recipe.seed,
        sparsity=pruned.sparsity,
        dense=study.dense,
        pruned=measured(outcome.cost, found, study.named),
        allocation=AllocationRecord(
            loss=outcome.loss,
            bound=allocation.bound if math.isfinite(allocation.bound) else None,
            gap_relative=allocation.gap_relative,
            gap_nats=allocation.gap_nats if in_nats else None,
            multipliers={
                **{str(kind): float(x) for kind, x in allocation.multipliers.items()},
                "lambda": allocation.lpvit_lambda,
                "beta": allocation.lpvit_beta,
            },
            unit=outcome.unit,
        ),
        damping={layer.name: layer.damping for layer in pruned.report},
        provenance={
            "lspsim": version("lspsim"),
            "torch": version("torch"),
            "timm": version("timm"),
            "python": sys.version.split()[0],
            "hardware_digest": study.hardware.digest,
            "hardware_values": hardware_values(study.hardware),
            "workload_digest": workload_digest(study.workload.with_masks(dict(pruned.masks))),
            "batch": study.workload.batch,
            "calibration_images": len(study.calibration),
            **study.weights,
            "most_removed_per_layer": recipe.most,
            "damping": recipe.damping,
            "basis": recipe.basis,
            "changes": dict(prepared.changes.applied) if prepared.changes else {},
            "notes": list(prepared.notes),
            "held_out_kl": {str(name): kl for name, kl in prepared.held_out_kl.items()},
            "couple": recipe.couple,
            "losses": recipe.losses,
            "used_of_budget": {kind: float(used) for kind, used in outcome.used.items()},
            "binding": list(outcome.binding),
            "candidate": outcome.candidate,
            "table_error": {kind: float(e) for kind, e in outcome.table_error.items()},
            "coupled_blocks": pruned.coupled,
            "images_lost": found.lost,
            "images_won": found.won,
            "mcnemar_p": found.p_value,
        },
    )
    return Point(pruned, record, found)

"""Recover accuracy after pruning: soft distillation from the dense model, masks held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from lspsim.errors import ModelError
from lspsim.models.data import ImageSet, load_dataset
from lspsim.models.data.stream import training_stream
from lspsim.networks.origin import digest
from lspsim.networks.quality import compare, reference_logits
from lspsim.train.device import check_device
from lspsim.train.loop import EpochRecord, Hooks, KeepBest, Recipe, run
from lspsim.transforms import balance_channels
from lspsim.workload import BlockMask

CURVE_IMAGES = 1024
"""Validation images that are looked at before the first epoch and after each."""

KL, TOP1 = "validation_kl_nats", "validation"
"""What is measured on them: mean KL(dense || pruned) per image, and the share that is right."""


@dataclass(frozen=True, slots=True)
class Distillation:
    """What is learnt from: `alpha T^2 KL(dense / T, pruned / T) + (1 - alpha) CE(labels)`.

    G. Hinton et al. 2015: the factor T^2 keeps the gradient's size. The
    divergence is the mean over images of the sum over classes.

    Parameters
    ----------
    recipe
        See `Recipe`.
    temperature
        T.
    alpha
        Weight of the dense model's outputs against the labels, in [0, 1].
    strength
        Distortion of the images; 1 is the dataset's own.
    """

    recipe: Recipe
    temperature: float = 2.0
    alpha: float = 1.0
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ModelError(f"temperature must be above 0, got {self.temperature}")
        if not 0 <= self.alpha <= 1:
            raise ModelError(f"alpha must lie in [0, 1], got {self.alpha}")

    def loss(self, pruned: torch.Tensor, dense: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of logits `[b, classes]` in nats."""
        t = self.temperature
        divergence = (
            t
            * t
            * kl_div(
                log_softmax(pruned.float() / t, 1),
                log_softmax(dense.float() / t, 1),
                reduction="batchmean",
                log_target=True,
            )
        )
        if self.alpha == 1:
            return divergence
        return self.alpha * divergence + (1 - self.alpha) * cross_entropy(pruned.float(), labels)


PRESETS: Mapping[str, Distillation] = {
    # statement 13: temperature 2, hence a factor 4; label-free
    "short": Distillation(
        Recipe(
            epochs=3,
            batch_size=64,
            learning_rate=4e-4,
            weight_decay=0.02,
            warmup_steps=50,
            bf16=True,
        )
    ),
    # LPViT's released settings (its batch divides by 512 in the learning rate; 512 here)
    "lpvit": Distillation(
        Recipe(
            epochs=300,
            batch_size=512,
            learning_rate=5e-4,
            weight_decay=0.05,
            warmup_steps=1000,
            clip=None,
            bf16=True,
            ema_decay=0.99996,
        ),
        temperature=1.0,
        alpha=0.5,
    ),
}
"""`short` is the default; `lpvit` is the paper's: days on a CPU, hours on a GPU."""


@dataclass(frozen=True, slots=True)
class Finetuned:
    """A finished run: the model was changed in place.

    Parameters
    ----------
    start
        Validation scores (`KL`, `TOP1`) before the first epoch.
    records
        Of every epoch; their scores are those of `start`.
    epochs_kept
        How many epochs the weights handed back have seen; 0 where none was better than
        the start.
    """

    start: Mapping[str, float]
    records: list[EpochRecord]
    epochs_kept: int

    @property
    def scores(self) -> Mapping[str, float]:
        """Validation scores of the weights handed back; `TOP1` where outputs are the classes."""
        return self.records[self.epochs_kept - 1].scores if self.epochs_kept else self.start


def finetune(
    model: nn.Module,
    dense: nn.Module,
    masks: Mapping[str, BlockMask],
    dataset: str,
    out: Path,
    distillation: Distillation = PRESETS["short"],
    *,
    epoch_images: int | None = None,
    keep_best: bool = True,
    seed: int = 0,
    resume: bool = True,
    device: str = "cpu",
    shards: int = 1,
    progress: bool = False,
) -> Finetuned:
    """Fit the kept weights of `model` to the outputs of `dense`.

    A model that is close to `dense` already has little to gain, and the steps of a usual
    learning rate lead it away. So the epoch of the least KL to `dense` on validation images
    is kept, or the model as it was.

    Parameters
    ----------
    model
        The pruned model; changed in place, ends on the CPU in evaluation mode. Its
        channels are balanced first (see `balance_channels`), which changes no output.
    dense
        The model it came from, with the same classes.
    masks
        Kept blocks by layer name; what they remove is zero after every step.
    dataset
        As in `load_dataset`; its train split is learnt from. Images of a folder come as
        `model` wants them.
    out
        Folder of `finetune.pt`, from which a killed run goes on.
    distillation
        See `PRESETS`.
    epoch_images
        See `training_stream`.
    keep_best
        False hands back the weights of the last epoch.
    seed
        Of the images and their order.
    resume
        False starts over.
    device
        "cpu" or "cuda".
    shards
        As in `run`: 2 is faster on two cores.
    progress
        Show a progress bar.

    Raises
    ------
    ModelError
        On a mask that fits no layer, a device that is not there, outputs that
        do not fit the dataset, a loss that is not finite, or a state file that
        belongs to another run or cannot be written.
    LspsimError
        When the outputs of a model are not finite.
    """
    check_device(device)
    keep = _kept_weights(model, masks)
    stream = training_stream(
        dataset, distillation.recipe.batch_size, seed, epoch_images, model=model
    )
    curve = load_dataset(dataset, "validation", model=model).first(CURVE_IMAGES)
    identity = {
        "task": "finetune",
        "dataset": dataset,
        "seed": seed,
        "epoch_images": epoch_images,
        "keep_best": keep_best,
        "masks": {name: mask.digest[:16] for name, mask in sorted(masks.items())},
        "start": digest(model),
        "dense": digest(dense),
        **asdict(distillation),
    }
    balance_channels(model)
    model.to(device)
    dense.to(device).eval()
    held = [(weight, kept.to(device)) for weight, kept in keep]

    def hold() -> None:
        with torch.no_grad():
            for weight, kept in held:
                weight.mul_(kept)

    def loss(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            target = dense(images)
        return distillation.loss(model(images), target.clone(), labels)

    hold()
    try:
        reference = reference_logits(dense, curve)
        _check_outputs(reference.shape[1], curve, distillation)

        def scores() -> dict[str, float]:
            found = compare(reference_logits(model, curve), curve.labels, reference)
            named = reference.shape[1] == len(curve.classes)
            return {KL: found.kl_nats} | ({TOP1: found.top1} if named else {})

        start = scores()
        best = KeepBest(KL, start[KL])
        records = run(
            model,
            distillation.recipe,
            lambda epoch: stream.batches(epoch, distillation.strength),
            stream.steps_per_epoch,
            loss,
            out / "finetune.pt",
            identity,
            seed=seed,
            resume=resume,
            shards=shards,
            hooks=Hooks(after_step=hold, after_epoch=scores),
            keep_best=best if keep_best else None,
            progress=progress,
            title="distilling",
        )
        hold()
        return Finetuned(start, records, best.epochs(records) if keep_best else len(records))
    finally:
        model.cpu().eval()
        dense.cpu()


def _check_outputs(outputs: int, images: ImageSet, distillation: Distillation) -> None:
    """Refuse a model that lacks classes, or has others than the labels that are learnt from."""
    classes = len(images.classes)
    if outputs < classes or (outputs != classes and distillation.alpha < 1):
        cure = " or learn from the dense model alone (alpha=1)" if outputs > classes else ""
        raise ModelError(
            f"the model has {outputs} outputs and dataset {images.name!r} has {classes} classes; "
            f"take a model that was trained on these{cure}"
        )


def _kept_weights(
    model: nn.Module, masks: Mapping[str, BlockMask]
) -> list[tuple[nn.Parameter, torch.Tensor]]:
    """Return each masked weight with its mask, element by element."""
    modules = dict(model.named_modules())
    pairs = []
    for name, mask in masks.items():
        weight = getattr(modules.get(name), "weight", None)
        if not isinstance(weight, nn.Parameter) or tuple(weight.shape) != mask.shape:
            found = "no such layer" if weight is None else f"a weight of {list(weight.shape)}"
            raise ModelError(f"mask of {name!r} is for {list(mask.shape)}: the model has {found}")
        rows, columns = mask.shape
        kept = np.repeat(np.repeat(mask.keep, mask.block_out, 0), mask.block_in, 1)
        kept = kept[:rows, :columns]
        pairs.append((weight, torch.from_numpy(kept.astype(np.float32))))
    return pairs

"""Train the small vision transformers that ship with the package, from nothing."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lspsim.errors import ModelError
from lspsim.models.cards import CARD_SCHEMA
from lspsim.models.data import DATASETS, load_dataset
from lspsim.models.data.render import SIDE
from lspsim.models.data.stream import training_stream
from lspsim.models.load import build
from lspsim.models.torchvision_guard import import_timm
from lspsim.networks.accuracy import top1
from lspsim.train.device import check_device
from lspsim.train.loop import EpochRecord, Hooks, Recipe, run
from lspsim.workload.atomic import write_atomically

CURVE_IMAGES = 1024
"""Validation images that are looked at after each epoch."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """All that a training run depends on.

    Parameters
    ----------
    dataset
        As in `load_dataset`.
    recipe
        See `Recipe`.
    embed_dim, heads, depth, patch_size, image_size
        Of the vision transformer; DeiT-Tiny has a width of 192 and 3 heads.
    epoch_images
        Images of an epoch; None: see `training_stream`.
    label_smoothing
        Share of the target spread over all classes.
    start_strength, ramp
        Distortion of the images in the first epoch, and the share of the epochs
        over which it rises to 1.
    seed
        Of the weights and all training images.
    """

    dataset: str
    recipe: Recipe
    embed_dim: int = 192
    heads: int = 3
    depth: int = 6
    patch_size: int = 4
    image_size: int = 32
    epoch_images: int | None = None
    label_smoothing: float = 0.0
    start_strength: float = 0.2
    ramp: float = 0.4
    seed: int = 0

    def strength(self, epoch: int) -> float:
        """Return the distortion of an epoch's images in [0, 1]."""
        rising = max(1.0, self.ramp * self.recipe.epochs)
        return min(1.0, self.start_strength + (1 - self.start_strength) * epoch / rising)


PRESETS: Mapping[str, TrainConfig] = {
    "digits": TrainConfig(
        dataset="digits",
        depth=2,
        recipe=Recipe(
            epochs=100,
            learning_rate=1e-3,
            weight_decay=0.05,
            betas=(0.9, 0.99),
            warmup_steps=100,
            bf16=True,
        ),
        label_smoothing=0.05,
        start_strength=1.0,
    ),
    "glyphs": TrainConfig(
        dataset="glyphs",
        recipe=Recipe(
            epochs=20,
            learning_rate=1e-3,
            weight_decay=0.05,
            betas=(0.9, 0.99),
            warmup_steps=100,
            bf16=True,
        ),
        epoch_images=8192,
    ),
    "glyphs-hard": TrainConfig(
        dataset="glyphs-hard",
        depth=12,
        recipe=Recipe(
            epochs=96,
            learning_rate=7e-4,
            weight_decay=0.05,
            betas=(0.9, 0.99),
            warmup_steps=200,
            bf16=True,
        ),
        epoch_images=8192,
    ),
}
"""What `lspsim train NAME` does by default; the shipped models are its results."""


def preset(dataset: str) -> TrainConfig:
    """Return the recipe of a dataset; an image folder gets that of `glyphs`, at 64x64 pixels.

    Raises
    ------
    ModelError
        When `dataset` is neither a known name nor a folder.
    """
    if dataset in PRESETS:
        return PRESETS[dataset]
    if not Path(dataset).is_dir():
        raise ModelError(
            f"unknown dataset {dataset!r}: known are {', '.join(PRESETS)}, "
            "and there is no folder of that name"
        )
    recipe = replace(PRESETS["glyphs"].recipe, epochs=100)
    return TrainConfig(dataset, recipe, patch_size=8, image_size=64, start_strength=1.0)


def variant(
    dataset: str, width: int | None = None, heads: int | None = None, depth: int | None = None
) -> tuple[TrainConfig, str]:
    """Return a dataset's recipe with a model of another size, and that model's name.

    A smaller dense model that is trained as long is what a pruned one has to beat.

    Parameters
    ----------
    dataset
        See `preset`.
    width, heads, depth
        Channels, attention heads and blocks; None keeps the preset's.

    Returns
    -------
    The recipe, and a name that says what differs from the preset
    (`deit_glyphs_w84_d4`; without a difference `deit_glyphs`).

    Raises
    ------
    ModelError
        When `dataset` is unknown, or no model has this size.
    """
    base = preset(dataset)
    config = replace(
        base,
        embed_dim=base.embed_dim if width is None else width,
        heads=base.heads if heads is None else heads,
        depth=base.depth if depth is None else depth,
    )
    check_size(config)
    sizes = (("w", "embed_dim"), ("h", "heads"), ("d", "depth"))
    marks = [
        f"_{letter}{getattr(config, field)}"
        for letter, field in sizes
        if getattr(config, field) != getattr(base, field)
    ]
    return config, default_name(config) + "".join(marks)


def default_name(config: TrainConfig) -> str:
    """Return `deit_DATASET`."""
    return f"deit_{Path(config.dataset).name.replace('-', '_')}"


def check_size(config: TrainConfig) -> None:
    """Refuse a size that no model has.

    Raises
    ------
    ModelError
        When a size is below 1, or the width is no multiple of the heads and of
        4 (sines and cosines of two coordinates, see `initial_model`).
    """
    for label, value in (
        ("width", config.embed_dim),
        ("heads", config.heads),
        ("depth", config.depth),
    ):
        if value < 1:
            raise ModelError(f"{label} must be at least 1, got {value}")
    step = math.lcm(config.heads, 4)
    below = config.embed_dim // step * step
    if below != config.embed_dim:
        near = f"{below} or {below + step}" if below else f"{step}"
        raise ModelError(
            f"a width of {config.embed_dim} must be a multiple of the heads ({config.heads}) and "
            f"of 4 (position embeddings); take {near}, or other heads"
        )


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run: the folder holds `NAME.safetensors` (float16) beside its card `NAME.json`."""

    card: Path
    weights: Path
    accuracy: dict[str, float]
    records: list[EpochRecord] = field(default_factory=list)


def train(
    config: TrainConfig,
    out: Path,
    *,
    name: str | None = None,
    resume: bool = True,
    device: str = "cpu",
    shards: int = 1,
    command: str | None = None,
    progress: bool = False,
) -> Trained:
    """Train, round the weights to float16, measure them, write weights and model card.

    Parameters
    ----------
    config
        See `TrainConfig`.
    out
        Folder of the results, and of `state.pt`, from which a killed run goes on.
    name
        Of the files; default `deit_DATASET`.
    resume
        False starts over.
    device
        "cpu" or "cuda".
    shards
        As in `run`: 2 is faster on two cores.
    command
        Recorded in the card: what reproduces the run.
    progress
        Show a progress bar.

    Raises
    ------
    ModelError
        On an unknown dataset, settings that do not fit, a loss that is not
        finite, or files that cannot be written.
    """
    check_device(device)
    check_size(config)
    if config.dataset in DATASETS and config.image_size != SIDE:
        raise ModelError(
            f"dataset {config.dataset!r} has images of {SIDE}x{SIDE} pixels, "
            f"image_size is {config.image_size}"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"folder {out}: cannot be made: {error.strerror}") from error
    stream = training_stream(
        config.dataset,
        config.recipe.batch_size,
        config.seed,
        config.epoch_images,
        config.image_size,
    )
    architecture = _architecture(config, len(stream.classes))
    model = initial_model(architecture, config.seed).to(device)
    curve = load_dataset(config.dataset, "validation", None, config.seed, config.image_size)
    curve = curve.first(CURVE_IMAGES)
    identity = json.loads(json.dumps({"task": "train", **asdict(config)}))
    started = time.time()
    records = run(
        model,
        config.recipe,
        lambda epoch: stream.batches(epoch, config.strength(epoch)),
        stream.steps_per_epoch,
        lambda images, labels: cross_entropy(
            model(images), labels, label_smoothing=config.label_smoothing
        ),
        out / "state.pt",
        identity,
        seed=config.seed,
        resume=resume,
        shards=shards,
        hooks=Hooks(after_epoch=lambda: {"validation": top1(model, curve)}),
        progress=progress,
        title=f"training on {config.dataset}",
    )
    accuracy = {"validation_float32": _accuracy(model, config, "validation")}
    _round_to_float16(model)
    for split in ("validation", "test"):
        accuracy[split] = _accuracy(model, config, split)
    stem = name or default_name(config)
    card = {
        "schema": CARD_SCHEMA,
        "name": stem,
        "dataset": config.dataset,
        "classes": list(stream.classes),
        "architecture": architecture,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "stored_as": "float16",
        "accuracy": accuracy,
        "training": {
            "command": command or f"lspsim train {config.dataset}",
            **identity,
            "epochs_done": len(records),
            "images_seen": len(records) * stream.steps_per_epoch * config.recipe.batch_size,
            "wall_time_s": round(sum(record.seconds for record in records), 1),
            "threads": torch.get_num_threads(),
            "shards": shards,
            "device": device,
            "finished_utc": time.strftime("%Y-%m-%d %H:%M", time.gmtime(max(started, time.time()))),
            "epoch_loss": [round(record.loss, 4) for record in records],
            "epoch_validation": [round(record.scores["validation"], 4) for record in records],
        },
        "versions": _versions(),
    }
    weights, card_file = out / f"{stem}.safetensors", out / f"{stem}.json"
    _write(weights, card_file, model, card)
    return Trained(card_file, weights, accuracy, records)


def initial_model(architecture: dict[str, Any], seed: int) -> nn.Module:
    """Return the untrained model: timm's initialisation, sine and cosine positions.

    Positions as in A. Dosovitskiy et al. 2021, appendix D.4, and timm's own
    `build_sincos2d_pos_embed`; they are trained further.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build(architecture)
    side = architecture["img_size"] // architecture["patch_size"]
    table = import_timm().layers.build_sincos2d_pos_embed([side, side], architecture["embed_dim"])
    positions = model.get_parameter("pos_embed")
    with torch.no_grad():
        positions.zero_()
        positions[0, 1:] = 0.5 * table  # beside patch embeddings of about this size
    return model


def _architecture(config: TrainConfig, classes: int) -> dict[str, Any]:
    return {
        "img_size": config.image_size,
        "patch_size": config.patch_size,
        "embed_dim": config.embed_dim,
        "depth": config.depth,
        "num_heads": config.heads,
        "num_classes": classes,
    }


def _accuracy(model: nn.Module, config: TrainConfig, split: str) -> float:
    images = load_dataset(config.dataset, split, None, 0, config.image_size)
    return round(top1(model, images), 5)


def _round_to_float16(model: nn.Module) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.half().float())


def _versions() -> dict[str, str]:
    from lspsim import __version__

    packages = ("torch", "timm", "numpy", "matplotlib", "pillow", "scikit-learn")
    return {
        "lspsim": __version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
    }


def _write(weights: Path, card_file: Path, model: nn.Module, card: dict[str, Any]) -> None:
    from safetensors.torch import save

    content = save({key: value.half().cpu() for key, value in model.state_dict().items()})
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    try:
        write_atomically(weights, lambda file: file.write(content))
        write_atomically(card_file, lambda file: file.write(text.encode()))
    except OSError as error:
        raise ModelError(
            f"{weights.parent}: the trained model cannot be written: {error.strerror}; "
            "its state is kept: run the same command again once there is disk space"
        ) from error

"""Images in folders, one per class, as ImageNet lies on a disk; read when needed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import nn

from lspsim.arrays import IntArray
from lspsim.errors import ModelError
from lspsim.models.data.image_set import SPLITS, ImageSet, Reader
from lspsim.models.torchvision_guard import import_timm

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")

SHARES = {"train": 0.4, "calibration": 0.3, "validation": 0.1, "test": 0.2}
"""Of a folder that holds the classes themselves."""

_HELD_OUT = ("val", "validation", "test")


def folder_images(
    folder: Path,
    split: str,
    size: int | None = None,
    seed: int = 0,
    image_size: int = 224,
    model: nn.Module | None = None,
) -> ImageSet:
    """Return one split of an image folder, through timm's evaluation transforms.

    A folder with `train/` and `val/` (or `validation/`, `test/`), each with
    one folder per class, as ImageNet: the test split is all of `val/`;
    calibration and validation are 10 and 5 % of `train/`, which the train
    split leaves out. Any other folder holds the classes themselves and is cut
    by `SHARES`. A file's split follows from a digest of its path, so it stays
    where it is when others come.

    Labels count the class folders by name. Where these are all ImageNet-1k
    synsets ("n01440764"), labels are ImageNet's, so that a few classes of it
    fit a model of all 1000.

    Parameters
    ----------
    folder
        As above.
    split
        See `SPLITS`.
    size
        A random choice of so many images; default: all.
    seed
        Of that choice and of the order.
    image_size
        Side in pixels after resizing and the centre crop.
    model
        Take size, crop, mean and deviation from this timm model instead.

    Raises
    ------
    ModelError
        When the folder has no class or too few images; when reading, on a file
        that is no image.
    MissingDependencyError
        When timm is not installed.
    """
    root, files = _files(folder, split)
    names = sorted({path.relative_to(root).parts[0] for path in files})
    classes = _imagenet_classes(names) or tuple(names)
    number = {name: index for index, name in enumerate(classes)}
    chosen = _choose(files, root, split, cut_train=root != folder)
    where = f"image folder {folder}, split {split!r}"
    if not chosen or (size is not None and size > len(chosen)):
        wanted = "one is needed" if size is None else f"{size} are asked for"
        raise ModelError(
            f"{where}: {wanted}, and {len(chosen)} of {len(files)} images fall into it (each goes "
            "to a split by a digest of its path); ask for fewer, or add images"
        )
    order = np.random.default_rng(seed).permutation(len(chosen))[:size]
    paths = [chosen[index] for index in order]
    labels = torch.tensor([number[path.relative_to(root).parts[0]] for path in paths])
    return ImageSet(str(folder), split, labels, classes, _reader(paths, image_size, model))


def _files(folder: Path, split: str) -> tuple[Path, list[Path]]:
    """Return the folder of the classes, and all images below them."""
    held_out = [folder / name for name in _HELD_OUT if (folder / name).is_dir()]
    root = folder
    if (folder / "train").is_dir() and held_out:
        root = held_out[0] if split == "test" else folder / "train"
    files = sorted(
        path
        for path in root.glob("*/**/*")
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
    )
    if not files:
        raise ModelError(
            f"image folder {root}: no images in class folders "
            f"(expected {root}/CLASS/IMAGE.jpg; endings: {', '.join(EXTENSIONS)})"
        )
    return root, files


def _choose(files: list[Path], root: Path, split: str, cut_train: bool) -> list[Path]:
    """Return the files of the split."""
    if cut_train and split == "test":
        return files
    shares = {"train": 0.85, "calibration": 0.1, "validation": 0.05} if cut_train else SHARES
    low = sum(shares[name] for name in SPLITS[: SPLITS.index(split)])
    high = low + shares[split]
    if split == list(shares)[-1]:
        high = 1.0  # whatever the sum of the shares rounds to
    return [path for path in files if low <= _position(path.relative_to(root)) < high]


def _position(path: Path) -> float:
    """Return a number in [0, 1) that depends on the path alone."""
    digest = hashlib.sha256(path.as_posix().encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _imagenet_classes(names: list[str]) -> tuple[str, ...] | None:
    """Return ImageNet-1k's synsets in its order if all names are among them."""
    synsets = tuple(import_timm().data.ImageNetInfo("imagenet-1k").label_names())
    return synsets if set(names) <= set(synsets) else None


def _reader(paths: list[Path], image_size: int, model: nn.Module | None) -> Reader:
    data = import_timm().data
    config: dict[str, Any] = {"input_size": (3, image_size, image_size)}
    if model is not None:
        config = data.resolve_model_data_config(model)
        # built from a card: timm knows nothing of it and would assume 224 pixels
        own = getattr(getattr(model, "patch_embed", None), "img_size", None)
        if own is not None and not getattr(model, "pretrained_cfg", None):
            config["input_size"] = (3, *own)
    transform = data.create_transform(**config, is_training=False)

    def read(numbers: IntArray) -> torch.Tensor:
        return torch.stack([_read(paths[number], transform) for number in numbers])

    return read


def _read(path: Path, transform: Any) -> torch.Tensor:
    try:
        with Image.open(path) as image:
            pixels: torch.Tensor = transform(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"image {path}: cannot be read ({reason}); delete or mend it") from error
    return pixels

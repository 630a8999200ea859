"""Build a timm model for its shapes alone: on torch's meta device, without weights."""

from __future__ import annotations

from typing import Any

from torch import device, nn

from lspsim.errors import ModelError
from lspsim.models.cards import card_of, read_card, shipped_models
from lspsim.models.load import build
from lspsim.models.names import unknown_model
from lspsim.models.torchvision_guard import import_timm

ImageSize = int | tuple[int, int]
"""Side of a square image, or (height, width), in pixels."""


def size_pair(image_size: ImageSize) -> tuple[int, int]:
    """Return `image_size` as (height, width).

    Raises
    ------
    ModelError
        When it is not one or two positive integers.
    """
    pair = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(pair) != 2 or not all(type(side) is int and side > 0 for side in pair):
        raise ModelError(
            f"image size must be a positive integer or (height, width), got {image_size!r}"
        )
    return pair[0], pair[1]


def build_on_meta(
    name: str, image_size: ImageSize | None = None, num_classes: int | None = None
) -> nn.Module:
    """Build the model `name` without weights; nothing is downloaded.

    Parameters
    ----------
    name
        A timm model name, with or without its weights' tag
        (`deit_base_patch16_224` or `deit_base_patch16_224.fb_in1k`), a model that
        ships with the package (`lspsim/deit_digits`), or the path of a model card.
    image_size
        Other than the model's own, in pixels.
    num_classes
        Outputs, other than the model's own number; 0 leaves the classifier out.

    Raises
    ------
    ModelError
        When timm has no model of that name, or cannot build it at that size.
    """
    timm = import_timm()
    options: dict[str, Any] = {}
    if image_size is not None:
        options["img_size"] = size_pair(image_size)
    if num_classes is not None:
        options["num_classes"] = num_classes
    if (card := card_of(name)) is not None:
        with device("meta"):
            return build({**read_card(card)["architecture"], **options})
    base = name.partition(".")[0]
    if not timm.is_model(base):
        raise unknown_model(name, list(shipped_models()), timm)
    try:
        with device("meta"):
            model = timm.create_model(base, pretrained=False, **options)
    except (TypeError, AssertionError, ValueError, RuntimeError) as error:
        at = "" if image_size is None else f" at image size {image_size}"
        raise ModelError(f"timm cannot build {name!r}{at}: {error}") from error
    assert isinstance(model, nn.Module)
    return model

"""`load_model`: a vision transformer with its weights, ready to run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lspsim.errors import ModelError
from lspsim.models.cards import card_of, read_card, shipped_models
from lspsim.models.checkpoints import load_state
from lspsim.models.names import unknown_model
from lspsim.models.torchvision_guard import import_timm


def load_model(
    name: str,
    checkpoint: str | Path | None = None,
    pretrained: bool = False,
    num_classes: int | None = None,
) -> nn.Module:
    """Return a model in evaluation mode, float32, on the CPU.

    Parameters
    ----------
    name
        A timm name ("deit_small_patch16_224"), a model that ships with the
        package ("lspsim/deit_digits"), or the path of a model card that
        `lspsim train` wrote, beside its weights.
    checkpoint
        `.safetensors` or torch's format (tensors only) whose weights replace
        the model's; every one must be there and fit. Its classifier says how many
        classes there are; without one, the model has none.
    pretrained
        Take timm's trained weights (a download).
    num_classes
        Outputs of a timm model; default: the checkpoint's number, else the model's own.

    Raises
    ------
    ModelError
        On an unknown name, weights that do not fit or cannot be fetched, or
        options that contradict each other.
    MissingDependencyError
        When timm or torch is not installed.
    """
    path = card_of(name)
    if path is not None and (pretrained or num_classes is not None):
        raise ModelError(f"{name} has its own weights and classes: drop --pretrained/num_classes")
    state = None if checkpoint is None else load_state(checkpoint)
    if state is not None and num_classes is None:
        num_classes = class_count(name, state)
    if path is None:
        model = _from_timm(name, pretrained and state is None, num_classes)
    else:
        own = {} if num_classes is None else {"num_classes": num_classes}
        model = build({**read_card(path)["architecture"], **own})
    if state is not None:
        fill(model, state, f"checkpoint {checkpoint}")
    elif path is not None:
        fill(model, load_state(path.with_suffix(".safetensors")), f"{name} of {path}")
    return model.float().eval()


def class_count(name: str, state: Mapping[str, torch.Tensor]) -> int:
    """Return how many classes the weights of a model have; 0 without a classifier.

    Parameters
    ----------
    name
        As in `load_model`. timm names the classifier of its models, `head` or `head.fc`;
        distilled ones have two, with the same classes.
    state
        The state dict.
    """
    classifier: str | tuple[str, ...] = "head"  # of VisionTransformer, which cards describe
    if card_of(name) is None:
        known = import_timm().get_pretrained_cfg(name.partition(".")[0])
        classifier = (known and known.classifier) or classifier
    first = classifier if isinstance(classifier, str) else classifier[0]
    weight = state.get(f"{first}.weight")
    return 0 if weight is None or weight.ndim == 0 else len(weight)


def build(architecture: dict[str, Any]) -> nn.Module:
    """Return timm's `VisionTransformer` with these arguments, freshly initialised.

    Raises
    ------
    ModelError
        When timm does not take them.
    """
    import_timm()
    from timm.models.vision_transformer import VisionTransformer

    try:
        return VisionTransformer(**architecture)
    except (TypeError, ValueError, AssertionError) as error:
        raise ModelError(
            f"timm cannot build a VisionTransformer of {architecture}: {error}"
        ) from error


def fill(model: nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Load all weights of `model`, or say in one message what does not fit.

    Raises
    ------
    ModelError
        When weights are missing, left over, or of another shape: the state is
        of another architecture.
    """
    own = model.state_dict()
    missing = [key for key in own if key not in state]
    foreign = [key for key in state if key not in own]
    misshapen = [
        f"{key} is {list(state[key].shape)}, not {list(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    found = [
        f"{len(what)} {how} ({', '.join(what[:2])}{', ...' if len(what) > 2 else ''})"
        for what, how in (
            (missing, "missing"),
            (foreign, "unknown"),
            (misshapen, "of another shape"),
        )
        if what
    ]
    if found:
        raise ModelError(
            f"{source}: does not fit a {type(model).__name__} with {len(own)} weights: "
            f"{'; '.join(found)}; name the architecture that it was saved from"
        )
    model.load_state_dict(state)


def _from_timm(name: str, pretrained: bool, num_classes: int | None) -> nn.Module:
    timm = import_timm()
    if not timm.is_model(name.partition(".")[0]):
        raise unknown_model(name, list(shipped_models()), timm)
    options = {} if num_classes is None else {"num_classes": num_classes}
    try:
        model = timm.create_model(name, pretrained=pretrained, **options)
    except Exception as error:
        if not pretrained:
            raise ModelError(f"timm cannot build {name!r}: {error}") from error
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise ModelError(
            f"the trained weights of {name!r} could not be fetched ({reason}); "
            "download them elsewhere and pass the file as --checkpoint"
        ) from error
    assert isinstance(model, nn.Module)
    return model

"""One streaming pass of calibration images through a model, watched layer by layer.

What a layer sees is handed to callbacks and dropped, so that memory depends on
the batch and the model, never on the number of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from lspsim.errors import LspsimError, ModelError

Batches = Iterable[tuple[Tensor, Tensor | None]]
"""Images `[n, channels, height, width]` and labels int64 `[n]` (or None)."""

Labels = Literal["sampled", "given"]
"""Whose labels the loss takes: drawn from the model's own predictions, or the data's."""

OnInput = Callable[[str, Tensor], None]
"""Called with a layer's name and its input `[images, tokens, K]`."""

OnGradient = Callable[[str, Tensor | None, Tensor], None]
"""Called with a layer's name, its input (or None) and its output's gradient
`[images, tokens, N]`."""

Progress = Callable[[int], None]
"""Called after each batch with the number of images seen so far."""


def linear_layers(model: nn.Module, layers: Sequence[str]) -> dict[str, nn.Linear]:
    """Return the named linear layers.

    Raises
    ------
    ModelError
        When `layers` is empty, a name is no linear layer of the model, or a
        weight is not float32.
    """
    if not layers:
        raise ModelError("no layer named: pass module paths such as 'blocks.0.attn.qkv'")
    modules = dict(model.named_modules())
    found = {}
    for name in layers:
        module = modules.get(name)
        if not isinstance(module, nn.Linear):
            what = "missing" if module is None else f"a {type(module).__name__}"
            known = [n for n, m in modules.items() if isinstance(m, nn.Linear)]
            raise ModelError(
                f"layer {name!r} is {what}; linear layers of this model are "
                f"{', '.join(known[:4])}, ... ({len(known)} in all)"
            )
        if module.weight.dtype != torch.float32:
            raise ModelError(
                f"layer {name!r} has {module.weight.dtype} weights; calibration runs in "
                "float32: call model.float()"
            )
        found[name] = module
    return found


def run_pass(
    model: nn.Module,
    batches: Batches,
    layers: Sequence[str],
    *,
    on_input: OnInput | None = None,
    on_gradient: OnGradient | None = None,
    keep_inputs: bool = True,
    labels: Labels = "sampled",
    seed: int = 0,
    progress: Progress | None = None,
) -> int:
    """Send every batch through the model, forward and, if asked, backward.

    The model runs in evaluation mode with frozen parameters and is left as it
    was found. The loss is the cross-entropy summed over images, so that each
    image's gradient is its own; no parameter gradient is computed.

    Parameters
    ----------
    model
        Returns logits `[images, classes]`.
    batches
        Gone through once.
    layers
        Names of the linear layers to watch.
    on_input, on_gradient
        What to do with each layer's input, and with its output's gradient.
        Without `on_gradient` nothing runs backward.
    keep_inputs
        Whether `on_gradient` gets the layer's input too.
    labels
        "sampled": one label per image from the model's prediction, which makes
        squared gradients an unbiased estimate of the true Fisher information
        (Kunstner, Hennig & Balles 2019); "given": those of the batches.
    seed
        Of the sampled labels. One uniform number is drawn per image, so the
        labels do not depend on how images are batched.
    progress
        Told how many images have passed.

    Returns
    -------
    Number of images.

    Raises
    ------
    LspsimError
        When there are no images, labels are missing or out of range, a layer
        is not reached or reached twice, or a layer's input is not finite.
    ModelError
        On a layer that is not linear, or an output that is not logits.
    """
    modules = linear_layers(model, layers)
    device = next(iter(modules.values())).weight.device
    generator = torch.Generator().manual_seed(seed)
    images_seen = 0
    with _watched(model), torch.set_grad_enabled(on_gradient is not None):
        for images, given in batches:
            reached: set[str] = set()
            handles = [
                module.register_forward_hook(
                    _watch(name, len(images), reached, on_input, on_gradient, keep_inputs)
                )
                for name, module in modules.items()
            ]
            try:
                logits = model(images.to(device))
            finally:
                for handle in handles:
                    handle.remove()
            missed = [name for name in layers if name not in reached]
            if missed:
                raise LspsimError(f"layer {missed[0]!r} is not reached by the model's forward pass")
            if on_gradient is not None:
                target = _targets(logits, given, labels, generator, images_seen)
                nn.functional.cross_entropy(logits, target, reduction="sum").backward()  # type: ignore[no-untyped-call]
            del logits  # and with it this batch's graph, before the next one is built
            images_seen += len(images)
            if progress is not None:
                progress(images_seen)
    if images_seen == 0:
        raise LspsimError("calibration: there are no images; pass at least one batch")
    return images_seen


@contextmanager
def _watched(model: nn.Module) -> Iterator[None]:
    """Hold evaluation mode and frozen parameters for as long as the pass lasts."""
    training = [(module, module.training) for module in model.modules()]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        for module, mode in training:
            module.training = mode


def _watch(
    name: str,
    images: int,
    reached: set[str],
    on_input: OnInput | None,
    on_gradient: OnGradient | None,
    keep_inputs: bool,
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    """Return the forward hook of one layer for one batch."""

    def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if name in reached:
            raise LspsimError(f"layer {name!r} is used twice in one forward pass; not supported")
        reached.add(name)
        x = inputs[0].detach()
        # windows of one image lie side by side, so this is image-major for Swin too
        x = x.reshape(images, -1, x.shape[-1])
        if not torch.isfinite(x.sum()):
            raise LspsimError(
                f"layer {name!r}: its input is not finite (NaN or infinity); check the checkpoint "
                "and how the images are normalised"
            )
        if on_input is not None:
            on_input(name, x)
        if on_gradient is not None:
            if not output.requires_grad:
                output.requires_grad_(True)  # the first layer: here the backward graph begins
            kept = x if keep_inputs else None

            def back(gradient: Tensor) -> None:
                on_gradient(name, kept, gradient.reshape(images, -1, gradient.shape[-1]))

            output.register_hook(back)  # type: ignore[no-untyped-call]

    return hook


def _targets(
    logits: Tensor, given: Tensor | None, labels: Labels, generator: torch.Generator, before: int
) -> Tensor:
    """Return the labels `[images]` that the loss is taken at."""
    if logits.ndim != 2:
        raise ModelError(
            f"the model returns shape {tuple(logits.shape)}, not logits [images, classes]"
        )
    images, classes = logits.shape
    if not torch.isfinite(logits.sum()):
        raise LspsimError("the model's logits are not finite (NaN or infinity)")
    if labels == "sampled":
        draws = torch.rand(images, generator=generator, dtype=torch.float64).to(logits.device)
        cumulative = logits.detach().double().softmax(1).cumsum(1)
        return torch.searchsorted(cumulative, draws[:, None]).squeeze(1).clamp_(max=classes - 1)
    if given is None:
        raise LspsimError("labels='given', but the batches hold no labels; use labels='sampled'")
    if given.shape != (images,):
        raise LspsimError(f"{images} images come with labels of shape {tuple(given.shape)}")
    wrong = (given < 0) | (given >= classes)
    if wrong.any():
        at = int(wrong.nonzero()[0])
        raise LspsimError(
            f"image {before + at}: label {int(given[at])} is out of range, the model has "
            f"{classes} classes (0 to {classes - 1}); check the data set or use labels='sampled'"
        )
    return given.to(logits.device)

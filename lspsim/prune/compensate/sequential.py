"""`compensate`: mask a model and make up for it, layer after layer.

Sequential calibration: each layer is fitted to the inputs that the already
pruned network gives it (as GPTQ and SparseGPT do), toward the dense network.
qkv and fc1 aim at the dense outputs. proj and fc2 write into the residual
stream, so they aim at the dense stream minus the pruned stream before them,
which lets each one also make up for what earlier layers lost.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from lspsim.calibrate.damped_gram import ArrayLike, float64
from lspsim.errors import LspsimError
from lspsim.models.walk import attention_branch, scale_of, stations, without
from lspsim.networks.masks import apply_masks
from lspsim.prune.compensate.moments import Moments
from lspsim.prune.compensate.refit import Refit, least_squares_refit
from lspsim.workload.mask import BlockMask

Method = Literal["none", "bias", "least-squares", "obs"]

Solver = Callable[[str, Tensor, Tensor, Tensor], Refit]
"""Called with a layer's name, its dense weight `[N, K]`, the centred Gram `[K, K]` of the
inputs that it gets and its centred cross-Gram `[N, K]` of targets and inputs, float64;
both are about zero where the layer has no bias."""


@dataclass(frozen=True, slots=True)
class LayerReport:
    """What compensation did to one layer.

    Parameters
    ----------
    name
        Layer.
    damping
        Relative damping that was needed; 0 where nothing was solved.
    error_before
        Squared error against the target, the weights merely masked, as a
        fraction of the target's variance.
    error_after
        The same after compensation.
    """

    name: str
    damping: float
    error_before: float
    error_after: float


@dataclass(frozen=True, slots=True)
class Compensated:
    """A pruned model and what was done to each of its layers.

    Parameters
    ----------
    model
        New model; the dense one is untouched.
    report
        One entry per masked layer, in the order they run.
    """

    model: nn.Module
    report: tuple[LayerReport, ...]


def compensate(
    model: nn.Module,
    masks: Mapping[str, BlockMask],
    batches: Iterable[Tensor | tuple[Tensor, Tensor]],
    method: Method = "least-squares",
    damping: float = 0.01,
    anchors: Mapping[str, ArrayLike] | None = None,
    token_weights: Mapping[str, Tensor] | None = None,
    progress: Callable[[str], None] | None = None,
    solver: Solver | None = None,
) -> Compensated:
    """Zero the removed blocks of a copy of `model` and compensate for them.

    Parameters
    ----------
    model
        timm ViT, DeiT or Swin in eval mode.
    masks
        By module path of the layer; layers without a mask keep their weights
        (and are still refitted to their changed inputs by the methods that refit).
    batches
        Images `[n, C, H, W]`, or pairs whose first entry they are. Read once.
        The residual streams of both networks are held: two float32 values per
        token and channel (DeiT-B: 1.2 MB per image).
    method
        "none": zeros only; "bias": also the mean output of every layer with a
        bias is restored; "least-squares": the kept weights are solved for, drawn to
        the dense ones by the ridge; "obs": the same, drawn to `anchors`, the
        weights that block-OBS ended with.
    damping
        Relative ridge, see `least_squares_refit`.
    anchors
        For "obs": per masked layer the block-OBS weight `[N, K]`
        (`BlockObs.weights_at`).
    token_weights
        Per layer, `[tokens]`: how much an error at each token position counts
        (ViT only). Default: all alike.
    progress
        Called with each layer's name when it is done.
    solver
        For "least-squares": solves for each layer's weight in place of
        `least_squares_refit`, under a constraint that no mask expresses and with
        a ridge of its own.

    Raises
    ------
    LspsimError
        For masks that do not fit, no images, NaN activations or an unknown method.
    ModelError
        For a model whose forward pass is not known.
    """
    if method not in get_args(Method):
        known = ", ".join(get_args(Method))
        raise LspsimError(f"compensation {method!r} is not known; choose one of {known}")
    if method == "obs" and (missing := sorted(set(masks) - set(anchors or {}))):
        raise LspsimError(
            f"compensation 'obs' needs the block-OBS weights of every masked layer; "
            f"none for {', '.join(missing)}"
        )
    if solver is not None and method != "least-squares":
        raise LspsimError(f"a solver takes the place of 'least-squares', not of {method!r}")
    pruned = copy.deepcopy(model)
    apply_masks(pruned, masks)
    if method == "none":
        return Compensated(pruned, ())
    was_training = model.training
    model.eval()
    pruned.eval()
    try:
        with torch.no_grad():
            walk = _Walk(model, pruned, masks, method, damping)
            walk.anchors = anchors or {} if method == "obs" else {}
            walk.token_weights = token_weights or {}
            walk.progress = progress
            walk.solver = solver
            report = tuple(walk.run(batches))
    finally:
        model.train(was_training)
        pruned.train(was_training)
    return Compensated(pruned, report)


class _Walk:
    """The two networks side by side, one batch of streams after the other."""

    def __init__(
        self,
        dense: nn.Module,
        pruned: nn.Module,
        masks: Mapping[str, BlockMask],
        method: Method,
        damping: float,
    ) -> None:
        self.dense, self.pruned = dense, pruned
        self.masks, self.method, self.damping = masks, method, damping
        self.anchors: Mapping[str, ArrayLike] = {}
        self.token_weights: Mapping[str, Tensor] = {}
        self.progress: Callable[[str], None] | None = None
        self.solver: Solver | None = None

    def run(self, batches: Iterable[Tensor | tuple[Tensor, Tensor]]) -> Iterator[LayerReport]:
        """Fit every layer in turn."""
        device = next(self.dense.parameters()).device
        start = [(batch if isinstance(batch, Tensor) else batch[0]).to(device) for batch in batches]
        if not start:
            raise LspsimError("compensation: no calibration images were given")
        streams = [(images, images) for images in start]
        first = True
        for station in stations(self.dense):
            if station.block:
                yield from self._block(station.block, streams)
            elif first:  # before the first block both networks are one
                streams = [(y, y) for y in (station.run(self.dense, x) for x, _ in streams)]
            else:
                streams = [
                    (station.run(self.dense, x), station.run(self.pruned, y)) for x, y in streams
                ]
            first = False

    def _block(self, path: str, streams: list[tuple[Tensor, Tensor]]) -> Iterator[LayerReport]:
        """Fit the four layers of one block and move the streams past it, in place."""
        dense: Any = self.dense.get_submodule(path)
        pruned: Any = self.pruned.get_submodule(path)

        moments = self._moments(f"{path}.attn.qkv")
        for x, y in streams:
            self._add(moments, pruned.norm1(y), dense.norm1(x))
        yield self._fit(moments, dense.attn.qkv, pruned.attn.qkv, outputs=True)

        moments = self._moments(f"{path}.attn.proj")
        heads = []
        scale = scale_of(dense, "ls1")
        for index, (x, y) in enumerate(streams):
            with without(pruned.attn, "proj"):
                head = attention_branch(pruned, pruned.norm1(y))
            after = x + _scaled(attention_branch(dense, dense.norm1(x)), scale)
            self._add(moments, head, _target(after - y, scale))
            heads.append(head)
            streams[index] = (after, y)
        yield self._fit(moments, dense.attn.proj, pruned.attn.proj, outputs=False)
        for index, (x, y) in enumerate(streams):
            streams[index] = (x, y + _scaled(pruned.attn.proj(heads[index]), scale))
        del heads

        moments = self._moments(f"{path}.mlp.fc1")
        for x, y in streams:
            self._add(moments, pruned.norm2(y), dense.norm2(x))
        yield self._fit(moments, dense.mlp.fc1, pruned.mlp.fc1, outputs=True)

        moments = self._moments(f"{path}.mlp.fc2")
        scale = scale_of(dense, "ls2")
        for index, (x, y) in enumerate(streams):
            with without(pruned.mlp, "fc2"):
                hidden = pruned.mlp(pruned.norm2(y))
            after = x + _scaled(dense.mlp(dense.norm2(x)), scale)
            self._add(moments, hidden, _target(after - y, scale))
            streams[index] = (after, y)
        yield self._fit(moments, dense.mlp.fc2, pruned.mlp.fc2, outputs=False)
        for index, (x, y) in enumerate(streams):
            streams[index] = (x, y + _scaled(pruned.mlp(pruned.norm2(y)), scale))

    def _moments(self, name: str) -> Moments:
        return Moments(name, reference_gram=name.endswith(("qkv", "fc1")))

    def _add(self, moments: Moments, inputs: Tensor, reference: Tensor) -> None:
        """Add a batch `[images, ..., K]` with the layer's token weights."""
        weights = self.token_weights.get(moments.name)
        rows = None if weights is None else weights.to(inputs).repeat(len(inputs))
        moments.add(inputs.flatten(0, -2), reference.flatten(0, -2), rows)

    def _fit(
        self, moments: Moments, dense: nn.Linear, pruned: nn.Linear, *, outputs: bool
    ) -> LayerReport:
        """Fit one layer in place.

        With `outputs` the references are the dense layer's inputs and the
        target is its output; else the references are the target. A bias restores
        the target's mean.
        """
        name = moments.name
        weight = float64(dense.weight)
        biased = dense.bias is not None
        bias = dense.bias if biased else torch.zeros(len(weight))
        reader = weight if outputs else torch.eye(len(weight), dtype=torch.float64)
        cross = reader @ moments.cross
        offset = float64(bias) if outputs else torch.zeros(len(weight), dtype=torch.float64)
        mean = reader @ moments.reference_mean + offset
        energy = _quadratic(reader, moments.reference_gram) if outputs else moments.reference_gram
        used = 0.0
        if self.method == "bias":
            fitted = float64(pruned.weight)
        else:
            solve = self.solver or self._refit
            gram, wanted = moments.gram, cross
            if not biased:  # the weights have the mean to fit as well: moments about zero
                gram = gram + torch.outer(moments.input_mean, moments.input_mean)
                wanted = wanted + torch.outer(mean, moments.input_mean)
            solved = solve(name, weight, gram, wanted)
            fitted, used = torch.from_numpy(solved.weight), solved.damping
        before = _error(float64(pruned.weight), float64(bias), moments, cross, mean, energy)
        shift = mean - fitted @ moments.input_mean if biased else float64(bias)
        after = _error(fitted, shift, moments, cross, mean, energy)
        pruned.weight.copy_(fitted)
        if biased:
            pruned.bias.copy_(shift)
        if self.progress is not None:
            self.progress(name)
        return LayerReport(name, used, before, after)

    def _refit(self, name: str, weight: Tensor, gram: Tensor, cross: Tensor) -> Refit:
        """Solve for the weights that the layer's mask keeps."""
        mask = self.masks.get(name)
        keep = mask.keep if mask is not None else np.ones((1, 1), np.bool_)
        block = (mask.block_out, mask.block_in) if mask is not None else weight.shape
        return least_squares_refit(
            weight, gram, keep, block[0], block[1], self.damping, cross, self.anchors.get(name)
        )


def _scaled(branch: Tensor, scale: Tensor | None) -> Tensor:
    """Apply a LayerScale; drop path passes everything on in eval mode."""
    return branch if scale is None else branch * scale


def _target(residual: Tensor, scale: Tensor | None) -> Tensor:
    """Return what a layer must put out so that its LayerScale yields `residual`."""
    if scale is None:
        return residual
    # A channel whose scale is zero cannot be corrected: nothing is asked of it.
    return torch.where(scale == 0, torch.zeros_like(residual), residual / scale)


def _quadratic(weight: Tensor, gram: Tensor) -> Tensor:
    return ((weight @ gram) * weight).sum()


def _error(
    weight: Tensor, bias: Tensor, moments: Moments, cross: Tensor, mean: Tensor, energy: Tensor
) -> float:
    """Mean squared error of `weight @ x + bias` against the target, over its variance."""
    spread = energy.sum() - 2 * (weight * cross).sum() + _quadratic(weight, moments.gram)
    offset = (mean - weight @ moments.input_mean - bias).square().sum()
    variance = float(energy.sum())
    return float(spread + offset) / variance if variance > 0 else 0.0

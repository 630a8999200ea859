"""`corrected`: curves of estimated loss, scaled to the KL that is measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from lspsim.allocate.curves import LayerCurve
from lspsim.arrays import FloatArray
from lspsim.calibrate.statistics import LayerStatistics, mean_shift
from lspsim.calibrate.streaming import linear_layers
from lspsim.models.data import ImageSet
from lspsim.models.walk import Station, leave, stations
from lspsim.networks.quality import compare

WeightsAt = Callable[[str, int, int], FloatArray]
"""From layer, number of its curve and removed blocks to its weight `[N, K]`, compensated."""

OptionCurves = Mapping[str, tuple[LayerCurve, ...]]
"""By layer: one curve per block size that it may take."""

AT = (0.5, 0.8)
"""Removed fractions at which KL is measured."""

BATCH = 32
"""Images per forward pass."""


def corrected(
    model: nn.Module,
    images: ImageSet,
    weights_at: WeightsAt,
    curves: OptionCurves,
    statistics: Mapping[str, LayerStatistics],
    fractions: Sequence[float] = AT,
) -> dict[str, tuple[LayerCurve, ...]]:
    """Scale every layer's curves by measured over predicted KL at some sparsities.

    The factor is interpolated in its logarithm over the removed fraction, and
    constant outside; each layer is measured alone, the others dense, with the mean of
    its outputs restored by its bias (where it has one), as centred Grams take for granted.

    Raises
    ------
    LspsimError
        When the logits are not finite.
    ModelError
        When a layer is not linear, or the model's forward pass is not known.
    """
    layers = linear_layers(model, list(curves))
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return _walked(model, images, weights_at, curves, statistics, fractions, layers)
    finally:
        for name in curves:
            put(layers[name], statistics[name], statistics[name].weight)
        model.train(was_training)


def _walked(
    model: nn.Module,
    images: ImageSet,
    weights_at: WeightsAt,
    curves: OptionCurves,
    statistics: Mapping[str, LayerStatistics],
    fractions: Sequence[float],
    layers: Mapping[str, nn.Linear],
) -> dict[str, tuple[LayerCurve, ...]]:
    """Correct block by block.

    What lies before a block is dense in all its measurements, so its input is computed
    once: half of the work of running the whole network each time.
    """
    device = next(model.parameters()).device
    streams = [inputs.to(device) for inputs, _ in images.batches(BATCH)]
    steps = stations(model)
    reference = _logits(model, steps, streams)
    out: dict[str, tuple[LayerCurve, ...]] = {}
    for number, station in enumerate(steps):
        here = [n for n in curves if station.block and n.startswith(f"{station.block}.")]
        for name in here:
            own, options = statistics[name], []
            for option, curve in enumerate(curves[name]):
                logs = []
                for fraction in fractions:
                    removed = round(fraction * curve.blocks)
                    put(layers[name], own, weights_at(name, option, removed))
                    logits = _logits(model, steps[number:], streams)
                    kl = compare(logits, images.labels, reference).kl_nats
                    logs.append(math.log(max(kl, 1e-9) / max(float(curve.loss[removed]), 1e-12)))
                options.append(_scaled(curve, fractions, logs))
            put(layers[name], own, own.weight)
            out[name] = tuple(options)
        streams = [station.run(model, x) for x in streams]
    return {name: out[name] for name in curves}


def _logits(model: nn.Module, steps: Sequence[Station], streams: Sequence[Tensor]) -> Tensor:
    """Return the logits `[n, classes]` after the remaining steps."""
    found = []
    for x in streams:
        for step in steps:
            x = step.run(model, x)
        found.append(leave(model, x).float().cpu())
    return torch.cat(found)


def _scaled(curve: LayerCurve, fractions: Sequence[float], logs: Sequence[float]) -> LayerCurve:
    """Scale a curve by factors given as logarithms at some removed fractions."""
    at = np.arange(curve.blocks + 1) / curve.blocks
    factor = np.exp(np.interp(at, fractions, logs))
    return replace(curve, loss=np.maximum.accumulate(curve.loss * factor), unit="nats")


def put(layer: nn.Linear, own: LayerStatistics, weight: FloatArray) -> None:
    """Give a layer the weight `[N, K]` in place; a bias restores the mean of its own outputs."""
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        if own.bias is not None:
            bias = own.bias + mean_shift(own.weight, weight, own.input_mean)
            layer.bias.copy_(torch.from_numpy(bias))

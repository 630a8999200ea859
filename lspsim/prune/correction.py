"""`corrected`: curves of estimated loss, scaled to the KL that is measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from lspsim.models.data import ImageSet
from lspsim.prune.calibration import LayerStatistics
from lspsim.prune.calibration_pass import linear_layers
from lspsim.prune.compensate.refit import mean_shift
from lspsim.prune.curves import FloatArray, LayerCurve
from lspsim.prune.measure import quality, reference_logits

WeightsAt = Callable[[str, int, int], FloatArray]
"""From layer, number of its curve and removed blocks to its weight `[N, K]`, compensated."""

OptionCurves = Mapping[str, tuple[LayerCurve, ...]]
"""By layer: one curve per block size that it may take."""

AT = (0.5, 0.8)
"""Removed fractions at which KL is measured."""


def corrected(
    model: nn.Module,
    images: ImageSet,
    weights_at: WeightsAt,
    curves: OptionCurves,
    statistics: Mapping[str, LayerStatistics],
    fractions: Sequence[float] = AT,
) -> dict[str, tuple[LayerCurve, ...]]:
    """Scale every layer's curves by measured over predicted KL at two sparsities.

    The factor is interpolated in its logarithm over the removed fraction, and
    constant outside; each layer is measured alone, the others dense, with the mean of
    its outputs restored by its bias, as centred Grams take for granted.

    Raises
    ------
    LspsimError
        When the logits are not finite.
    ModelError
        When a layer is not linear.
    """
    reference = reference_logits(model, images)
    layers = linear_layers(model, list(curves))
    out = {}
    for name, options in curves.items():
        own = statistics[name]
        scaled = []
        try:
            for number, curve in enumerate(options):
                logs = []
                for fraction in fractions:
                    removed = round(fraction * curve.blocks)
                    put(layers[name], own, weights_at(name, number, removed))
                    measured = max(quality(model, images, reference).kl_nats, 1e-9)
                    logs.append(math.log(measured / max(float(curve.loss[removed]), 1e-12)))
                at = np.arange(curve.blocks + 1) / curve.blocks
                factor = np.exp(np.interp(at, fractions, logs))
                loss = np.maximum.accumulate(curve.loss * factor)
                scaled.append(replace(curve, loss=loss, unit="nats"))
        finally:
            put(layers[name], own, own.weight)
        out[name] = tuple(scaled)
    return out


def put(layer: nn.Linear, own: LayerStatistics, weight: FloatArray) -> None:
    """Give a layer the weight `[N, K]` in place; its bias restores the mean of its own outputs."""
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        if layer.bias is not None:
            bias = own.bias + mean_shift(own.weight, weight, own.input_mean)
            layer.bias.copy_(torch.from_numpy(bias))

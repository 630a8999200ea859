"""`input_ranks`: in how many directions the inputs of each layer vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from lspsim.arrays import FloatArray
from lspsim.calibrate.statistics import collect
from lspsim.errors import LspsimError
from lspsim.models.data import ImageSet
from lspsim.workload import Workload
from lspsim.workload.generate import prunable_names

FRACTIONS = (0.9, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class InputRank:
    """How many principal directions hold most of a layer's input variance.

    Parameters
    ----------
    layer
        Module path.
    inputs
        K, the most there can be.
    ranks
        By fraction of the variance: the least number of directions that hold it.
    """

    layer: str
    inputs: int
    ranks: dict[float, int]


def input_ranks(
    model: nn.Module,
    images: ImageSet,
    workload: Workload,
    fractions: Sequence[float] = FRACTIONS,
    batch_size: int = 32,
) -> list[InputRank]:
    """Count the principal directions of every prunable layer's inputs.

    A layer whose inputs lie in few directions can make up for removed weights,
    whichever they are: its other weights see the same inputs. So these numbers
    say how much a comparison of scores on a model can show at all.

    Parameters
    ----------
    model
        timm ViT, DeiT or Swin in float32; left untouched.
    images
        Calibration images. Images x tokens bound the ranks, too.
    workload
        Operators of one inference of `model`; names the prunable layers.
    fractions
        Shares of the total variance, each above 0 and below 1.
    batch_size
        Images per forward pass.

    Returns
    -------
    One row per layer, in the order they run.

    Raises
    ------
    LspsimError
        On a fraction out of range, or activations that are not finite.
    """
    if wrong := [fraction for fraction in fractions if not 0 < fraction < 1]:
        raise LspsimError(
            f"input ranks: a fraction must be above 0 and below 1, got {wrong[0]}; "
            "rounding noise spans every direction, so all of the variance means nothing"
        )
    names = prunable_names(workload)
    found = collect(model, images.batches(batch_size), names, {"gram"})
    return [
        InputRank(
            name,
            len(found[name].covariance),
            {
                fraction: principal_directions(found[name].covariance, fraction)
                for fraction in fractions
            },
        )
        for name in names
    ]


def principal_directions(gram: FloatArray, fraction: float) -> int:
    """Return the least number of eigenvectors of a Gram that hold a share of its trace.

    Parameters
    ----------
    gram
        `[K, K]`, centred `X^T X / rows`.
    fraction
        In (0, 1).
    """
    values = np.linalg.eigvalsh(gram)[::-1].clip(min=0)
    total = float(values.sum())
    if total == 0:
        return 0
    return int(np.searchsorted(values.cumsum(), fraction * total) + 1)

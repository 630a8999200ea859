"""Scikit-learn's handwritten digits: 1797 real scans of 8x8, here 32x32 in three equal channels.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits",
UCI Machine Learning Repository, 1998 (its test part, as shipped by scikit-learn).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from lspsim.errors import MissingDependencyError
from lspsim.models.data.image_set import SPLITS

COUNTS = {"train": 900, "calibration": 256, "validation": 241, "test": 400}
"""Images per split: 1797 together."""

CLASSES = tuple("0123456789")

_ORDER_SEED = 20_240_702  # any fixed number: the split never changes


def digits(split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the fixed split: uint8 `[n, 3, 32, 32]` scans and int64 `[n]` labels.

    Raises
    ------
    MissingDependencyError
        When scikit-learn is not installed.
    """
    scans, labels = _scans()
    order = np.random.Generator(np.random.PCG64(_ORDER_SEED)).permutation(len(labels))
    start = sum(COUNTS[earlier] for earlier in SPLITS[: SPLITS.index(split)])
    chosen = order[start : start + COUNTS[split]]
    return scans[chosen], labels[chosen]


@cache
def _scans() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            'dataset "digits" comes with scikit-learn, which is not installed; '
            'install it with: pip install "lspsim[models]"'
        ) from error
    data = load_digits()
    small = torch.from_numpy(data.images.astype(np.float32))[:, None] / 16  # 17 grey levels
    large = interpolate(small, size=(32, 32), mode="bilinear", align_corners=False)
    pixels = (large * 255).round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    return pixels.numpy(), data.target.astype(np.int64)

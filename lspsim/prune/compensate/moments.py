"""Second moments of a layer's inputs and targets, summed batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor

from lspsim.errors import LspsimError


class Moments:
    """Centred Grams of inputs x and references z over weighted rows.

    Sums are float64. Products are formed in the inputs' own precision per
    batch, after subtracting the first batch's means, so that centring later
    cancels no leading digits.

    Parameters
    ----------
    name
        Layer, named in errors.
    reference_gram
        Whether `z^T z` is summed in full (else only its trace).
    """

    def __init__(self, name: str, reference_gram: bool = False) -> None:
        self.name = name
        self.rows = 0
        self._mass = 0.0
        self._full = reference_gram
        self._shift: tuple[Tensor, Tensor] | None = None

    def add(self, inputs: Tensor, reference: Tensor, weights: Tensor | None = None) -> None:
        """Add rows: `inputs` `[rows, K]`, `reference` `[rows, J]`, `weights` `[rows]` (default 1).

        Raises
        ------
        LspsimError
            When a value is NaN or infinite.
        """
        x, z = inputs.detach(), reference.detach()
        if not (torch.isfinite(x).all() and torch.isfinite(z).all()):
            raise LspsimError(
                f"{self.name}: activations hold NaN or infinity on the calibration images; "
                "check the images and the checkpoint"
            )
        if self._shift is None:
            self._shift = x.mean(0), z.mean(0)
            sizes = x.shape[1], z.shape[1]
            self._sum_x = torch.zeros(sizes[0], dtype=torch.float64)
            self._sum_z = torch.zeros(sizes[1], dtype=torch.float64)
            self._xx = torch.zeros(sizes[0], sizes[0], dtype=torch.float64)
            self._zx = torch.zeros(sizes[1], sizes[0], dtype=torch.float64)
            side = sizes[1] if self._full else 1
            self._zz = torch.zeros(side, side, dtype=torch.float64)
        x, z = x - self._shift[0], z - self._shift[1]
        heavy = x if weights is None else x * weights[:, None]
        heavy_z = z if weights is None else z * weights[:, None]
        self.rows += len(x)
        self._mass += float(len(x) if weights is None else weights.double().sum())
        self._sum_x += heavy.double().sum(0).cpu()
        self._sum_z += heavy_z.double().sum(0).cpu()
        self._xx += (x.mT @ heavy).double().cpu()
        self._zx += (z.mT @ heavy).double().cpu()
        own = z.mT @ heavy_z if self._full else (z * heavy_z).double().sum()
        self._zz += own.double().cpu()

    def _need_rows(self) -> tuple[Tensor, Tensor]:
        if self._shift is None or self.rows < 2:
            raise LspsimError(
                f"{self.name}: {self.rows} calibration rows; give at least one batch of images"
            )
        return self._shift

    @property
    def input_mean(self) -> Tensor:
        """Mean input, float64 `[K]`."""
        return self._need_rows()[0].double().cpu() + self._sum_x / self._mass

    @property
    def reference_mean(self) -> Tensor:
        """Mean reference, float64 `[J]`."""
        return self._need_rows()[1].double().cpu() + self._sum_z / self._mass

    @property
    def gram(self) -> Tensor:
        """Centred `x^T x / rows`, float64 `[K, K]`."""
        self._need_rows()
        return self._centred(self._xx, self._sum_x, self._sum_x)

    @property
    def cross(self) -> Tensor:
        """Centred `z^T x / rows`, float64 `[J, K]`."""
        self._need_rows()
        return self._centred(self._zx, self._sum_z, self._sum_x)

    @property
    def reference_gram(self) -> Tensor:
        """Centred `z^T z / rows`, float64 `[J, J]`; its trace `[1, 1]` where only that was kept."""
        self._need_rows()
        if self._full:
            return self._centred(self._zz, self._sum_z, self._sum_z)
        return self._zz / self._mass - self._sum_z.square().sum() / self._mass**2

    def _centred(self, product: Tensor, left: Tensor, right: Tensor) -> Tensor:
        return product / self._mass - torch.outer(left, right) / self._mass**2

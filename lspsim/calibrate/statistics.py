"""`collect`: what the pruning methods need to know of each layer, from one streaming pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lspsim.arrays import FloatArray
from lspsim.calibrate.damped_gram import ArrayLike, float64
from lspsim.calibrate.streaming import Batches, Labels, Progress, linear_layers, run_pass
from lspsim.errors import LspsimError

WANTS = ("gram", "input", "row_gain")
"""What can be asked for: the centred Gram (brings "input" with it), means and
norms of the input, second moments of the output's gradient."""

ROWS_AT_ONCE = 8192
"""Input rows per single-precision product, before it is added in double precision."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerStatistics:
    """Moments of one linear layer `Y = X W^T + b` over the calibration images.

    Parameters
    ----------
    name
        Module path.
    weight
        float64 `[N, K]`.
    bias
        float64 `[N]`; None where the layer has none.
    rows
        Input rows (images x tokens) behind the moments.
    images
        Calibration images.
    moments
        Arrays by name, as far as collected: `input_mean` `[K]`, `input_norm`
        `[K]`, `gram` `[K, K]` (centred), `row_gain` `[N]`.
    """

    name: str
    weight: FloatArray
    bias: FloatArray | None
    rows: int
    images: int
    moments: dict[str, FloatArray]

    @property
    def covariance(self) -> FloatArray:
        """Centred `X^T X / rows`, float64 `[K, K]`."""
        return self._moment("gram", "gram")

    @property
    def gram(self) -> FloatArray:
        """`X^T X / rows` as a change of the weight is measured in it, float64 `[K, K]`.

        It is centred where the layer has a bias, which can restore the mean output,
        and about zero where it has none.
        """
        if self.bias is not None:
            return self.covariance
        return self.covariance + np.outer(self.input_mean, self.input_mean)

    @property
    def input_mean(self) -> FloatArray:
        """Mean input row, float64 `[K]`."""
        return self._moment("input_mean", "input")

    @property
    def input_norm(self) -> FloatArray:
        """Root mean square of each input, not centred, float64 `[K]`."""
        return self._moment("input_norm", "input")

    @property
    def row_gain(self) -> FloatArray:
        """Mean over images of the squared output gradients, summed over tokens, float64 `[N]`.

        Half of it times the squared change of an output is a loss in nats per
        image: the diagonal of the output factor of K-FAC (Martens & Grosse
        2015).
        """
        return self._moment("row_gain", "row_gain")

    def _moment(self, key: str, want: str) -> FloatArray:
        if key not in self.moments:
            raise LspsimError(
                f"layer {self.name!r}: {key} was not collected; ask collect() for {want!r}"
            )
        return self.moments[key]


def collect(
    model: nn.Module,
    batches: Batches,
    layers: Sequence[str],
    want: Iterable[str] = WANTS,
    *,
    labels: Labels = "sampled",
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, LayerStatistics]:
    """Gather statistics of the named layers, batch by batch.

    Memory is that of one batch plus the statistics themselves (`K x K` doubles
    per layer for the Gram), whatever the number of images.

    Parameters
    ----------
    model
        A timm vision transformer in float32; its mode and gradients are restored.
    batches
        Pairs of images and labels; gone through once.
    layers
        Names of linear layers.
    want
        Out of `WANTS`. Only "row_gain" needs a backward pass.
    labels, seed
        Labels of the loss behind "row_gain", see `run_pass`.
    progress
        Told how many images have passed.

    Raises
    ------
    LspsimError
        On an unknown want, no images, bad labels, values that are not finite.
    ModelError
        On a layer that is not linear or not float32.
    """
    wanted = set(want)
    unknown = wanted - set(WANTS)
    if unknown or not wanted:
        raise LspsimError(f"collect: want {sorted(unknown)} is unknown; choose from {WANTS}")
    modules = linear_layers(model, layers)
    inputs = {
        name: InputMoments(module.in_features, "gram" in wanted)
        for name, module in modules.items()
        if wanted & {"gram", "input"}
    }
    gains: dict[str, Tensor] = {}

    def on_input(name: str, x: Tensor) -> None:
        if inputs:
            inputs[name].add(x.reshape(-1, x.shape[-1]))
        rows[name] += x.shape[0] * x.shape[1]

    def on_gradient(name: str, _: Tensor | None, gradient: Tensor) -> None:
        gain = gradient.square().sum((0, 1), dtype=torch.float64)
        gains[name] = gains[name] + gain if name in gains else gain

    rows = dict.fromkeys(modules, 0)
    images = run_pass(
        model,
        batches,
        layers,
        on_input=on_input,
        on_gradient=on_gradient if "row_gain" in wanted else None,
        keep_inputs=False,
        labels=labels,
        seed=seed,
        progress=progress,
    )
    result = {}
    for name, module in modules.items():
        moments = inputs.pop(name).finish() if inputs else {}
        if name in gains:
            moments["row_gain"] = gains[name].cpu().numpy() / images
        result[name] = LayerStatistics(
            name, weight_of(module), bias_of(module), rows[name], images, moments
        )
    return result


def weight_of(module: nn.Linear) -> FloatArray:
    """Return a layer's weight as float64 `[N, K]`."""
    return module.weight.detach().double().cpu().numpy()


def bias_of(module: nn.Linear) -> FloatArray | None:
    """Return a layer's bias as float64 `[N]`; None where it has none."""
    bias: Tensor | None = getattr(module, "bias", None)
    return None if bias is None else np.asarray(bias.detach().double().cpu().numpy())


class InputMoments:
    """Mean and scatter of rows that come in pieces.

    Pieces are merged by the pairwise update of Chan, Golub & LeVeque (1983),
    which never subtracts two large sums: each piece is centred on its own mean,
    joined by a row for the distance between the means, multiplied in single
    precision, and added in double precision.

    Parameters
    ----------
    columns
        K.
    gram
        Keep the whole scatter `[K, K]`, or its diagonal alone.
    """

    def __init__(self, columns: int, gram: bool) -> None:
        self.rows = 0
        self.gram = gram
        self.mean = torch.zeros(columns, dtype=torch.float64)
        shape = (columns, columns) if gram else (columns,)
        self.scatter = torch.zeros(shape, dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """Take in float32 rows `[n, K]`."""
        if self.scatter.device != rows.device:
            self.mean, self.scatter = self.mean.to(rows.device), self.scatter.to(rows.device)
        for piece in torch.split(rows, ROWS_AT_ONCE):
            self._add(piece)

    def _add(self, piece: Tensor) -> None:
        n = len(piece)
        mean = piece.mean(0, dtype=torch.float64)
        away = mean - self.mean
        total = self.rows + n
        centred = torch.empty(n + 1, piece.shape[1], device=piece.device)
        torch.sub(piece, mean.float(), out=centred[:n])
        centred[n] = away * (self.rows * n / total) ** 0.5  # the distance, as one more row
        if self.gram:
            add_upper_product(self.scatter, centred)
        else:
            self.scatter += centred.square().sum(0, dtype=torch.float64)
        self.mean += away * (n / total)
        self.rows = total

    def finish(self) -> dict[str, FloatArray]:
        """Return `input_mean`, `input_norm` and, if kept, `gram`."""
        mean = self.mean.cpu().numpy()
        moments = {"input_mean": mean}
        spread = self.scatter.cpu().numpy()
        spread /= self.rows
        if self.gram:
            upper = np.triu(spread, 1)
            np.fill_diagonal(upper, np.diag(spread) / 2)
            spread = np.add(upper, upper.T, out=spread)
            moments["gram"] = spread
        variance = np.diag(spread) if self.gram else spread
        moments["input_norm"] = np.sqrt(variance + mean**2)
        return moments


def add_upper_product(total: Tensor, rows: Tensor, panel: int = 256) -> None:
    """Add `rows^T rows` to the upper triangle of `total`, panel by panel.

    Panels below the diagonal are left out: for K far above `panel` that is
    half of the work.
    """
    for start in range(0, rows.shape[1], panel):
        stop = start + panel
        total[start:stop, start:] += rows[:, start:stop].T @ rows[:, start:]


def mean_shift(
    weight: ArrayLike,
    pruned: ArrayLike,
    input_mean: ArrayLike,
    pruned_input_mean: ArrayLike | None = None,
) -> FloatArray:
    """Return what to add to the bias so that the mean output stays.

    `W x - W' x'` for the mean inputs x of the dense and x' of the pruned
    network (default: the same), float64 `[N]`.
    """
    before = float64(weight) @ float64(input_mean)
    mean = input_mean if pruned_input_mean is None else pruned_input_mean
    return (before - float64(pruned) @ float64(mean)).numpy()

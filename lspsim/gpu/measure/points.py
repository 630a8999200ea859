"""What a campaign measures, most valuable first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from lspsim.workload.generate import prunable_names
from lspsim.workload.workload import Workload

Kind = Literal["layer", "model"]
Regime = Literal["burst", "sustained"]
Part = Literal["layers", "models", "energy"]
PARTS: tuple[Part, ...] = ("layers", "models", "energy")

MODEL_SPARSITIES = (0.5, 0.9, 0.8, 0.7)
"""Of whole networks: LPViT's 50 % and 70 to 90 % of SuperBlock's table."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement.

    Parameters
    ----------
    kind
        A linear layer, or a whole network.
    model
        timm's name.
    batch
        Images.
    regime
        `burst`, or `sustained` with energy.
    layer
        Path of the layer, empty for a network.
    block
        (rows of N, columns of K); None: dense.
    sparsity
        Removed fraction of blocks; None with `block`: the masks of a file.
    """

    kind: Kind
    model: str
    batch: int
    regime: Regime
    layer: str = ""
    block: tuple[int, int] | None = None
    sparsity: float | None = None

    @property
    def variant(self) -> Literal["dense", "block-sparse"]:
        """What is multiplied."""
        return "dense" if self.block is None else "block-sparse"

    @property
    def dense(self) -> Point:
        """The same without masks."""
        return Point(self.kind, self.model, self.batch, self.regime, self.layer)

    @property
    def label(self) -> str:
        """Name for people."""
        subject = f"{self.model} {self.layer}".strip()
        how = "dense"
        if self.block is not None:
            removed = "given masks" if self.sparsity is None else f"{self.sparsity:.0%} removed"
            how = f"{self.block[0]}x{self.block[1]} {removed}"
        return f"{subject}, batch {self.batch}, {how}, {self.regime}"


@dataclass(frozen=True, slots=True)
class Choice:
    """What is asked for.

    Parameters
    ----------
    models
        The first one gives the layers and the block-sparse networks; the others are
        measured dense, as a whole.
    batches, blocks, sparsities
        In the order of their worth.
    parts
        Which kinds of points.
    energy_points
        Most points of sustained load (about half a minute each with energy).
    """

    models: Sequence[str]
    batches: Sequence[int] = (64, 1, 256, 16)
    blocks: Sequence[tuple[int, int]] = ((64, 64), (32, 32), (16, 16))
    sparsities: Sequence[float] = (0.9, 0.5, 0.7)
    parts: Sequence[Part] = PARTS
    energy_points: int = 15
    mask_block: tuple[int, int] | None = None
    """Block of a mask file; whole networks are then measured with it, too."""


def campaign_points(choice: Choice, workloads: Mapping[str, Workload]) -> tuple[Point, ...]:
    """Return every point once, most valuable first.

    Layers at the first two batch sizes, whole networks at the first, sustained load with
    energy, then the other batch sizes.

    Parameters
    ----------
    choice
        What is asked for.
    workloads
        Operators of each model, by name.
    """
    main = choice.models[0]
    layers = typical_layers(workloads[main])
    early, late = choice.batches[:2], choice.batches[2:]
    points: list[Point] = []
    if "layers" in choice.parts:
        points += _layer_points(choice, main, layers, early)
    if "models" in choice.parts:
        points += _model_points(choice, choice.batches[:1])
    if "energy" in choice.parts:
        sizes = {gemm.name: gemm.n * gemm.k for gemm in workloads[main].gemms}
        largest_first = sorted(layers, key=lambda name: -sizes[name])
        points += _energy_points(choice, main, largest_first)[: choice.energy_points]
    if "layers" in choice.parts:
        points += _layer_points(choice, main, layers, late)
    if "models" in choice.parts:
        points += _model_points(choice, choice.batches[1:])
    return tuple(dict.fromkeys(points))


def typical_layers(workload: Workload) -> tuple[str, ...]:
    """Return one prunable layer per shape and role: the one in the middle of the network."""
    prunable = set(prunable_names(workload))
    groups: dict[tuple[str, int, int], list[str]] = {}
    for gemm in workload.gemms:
        if gemm.name in prunable:
            role = ".".join(gemm.name.split(".")[-2:])
            groups.setdefault((role, gemm.n, gemm.k), []).append(gemm.name)
    return tuple(names[len(names) // 2] for names in groups.values())


def _layer_points(
    choice: Choice, model: str, layers: Sequence[str], batches: Iterable[int]
) -> list[Point]:
    cells = product(batches, choice.blocks, choice.sparsities, layers)
    return [
        Point("layer", model, batch, "burst", layer, block, sparsity)
        for batch, block, sparsity, layer in cells
    ]


def _model_points(choice: Choice, batches: Iterable[int]) -> list[Point]:
    main, *others = choice.models
    points = []
    for batch in batches:
        points.append(Point("model", main, batch, "burst"))
        if choice.mask_block is not None:
            points.append(Point("model", main, batch, "burst", "", choice.mask_block))
        points += [
            Point("model", main, batch, "burst", "", block, sparsity)
            for sparsity, block in product(_of_models(choice), choice.blocks[:2])
        ]
        points += [Point("model", other, batch, "burst") for other in others]
    return points


def _energy_points(choice: Choice, model: str, layers: Sequence[str]) -> list[Point]:
    """Return points of sustained load: the network first, then its layers from the largest."""
    batch = choice.batches[0]
    common = ("model", model, batch, "sustained", "")
    points = [Point(*common)]  # type: ignore[arg-type]
    if choice.mask_block is not None:
        points.append(Point(*common, choice.mask_block))  # type: ignore[arg-type]
    ends = _of_models(choice)[:2]
    points += [
        Point(*common, block, sparsity)  # type: ignore[arg-type]
        for sparsity, block in product(ends, choice.blocks[:2])
    ]
    first, *more = choice.blocks[:2]
    cells = [(first, sparsity) for sparsity in choice.sparsities]
    cells += [(block, choice.sparsities[0]) for block in more]
    for rank, layer in enumerate(layers):
        points.append(Point("layer", model, batch, "sustained", layer))
        points += [
            Point("layer", model, batch, "sustained", layer, block, sparsity)
            for block, sparsity in (cells if rank == 0 else cells[:1])
        ]
    return points


def _of_models(choice: Choice) -> tuple[float, ...]:
    """Return the sparsities of whole networks: the usual ones among those asked for, or all."""
    if set(choice.sparsities) == {0.9, 0.5, 0.7}:
        return MODEL_SPARSITIES
    return tuple(sorted(choice.sparsities))

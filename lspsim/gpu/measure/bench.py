"""From a point to work that can be timed: set up, tuned, and checked for correctness."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lspsim.errors import LspsimError
from lspsim.gpu.kernels.adapter import kernel_product
from lspsim.gpu.kernels.layout import masked
from lspsim.gpu.kernels.linear import BlockSparseLinear, copy_of
from lspsim.gpu.kernels.sparsify import sparsify
from lspsim.gpu.kernels.tile import candidates, check_block, default_tile, dtype_named
from lspsim.gpu.kernels.tuning import TuningKey, current, tune
from lspsim.gpu.measure.device import Device, Run
from lspsim.gpu.measure.networks import Networks, masks_digest
from lspsim.gpu.measure.points import Point, typical_layers
from lspsim.gpu.measure.timing import Work
from lspsim.workload.mask import BlockMask

Variant = Literal["dense", "block-sparse"]

LAYER_LIMITS = {"fp32": 1e-4, "fp16": 2e-3, "bf16": 1e-2}
"""Largest error of a layer over its largest output: a few roundings of the output (2^-11 in
fp16, 2^-9 in bf16), since products accumulate in fp32 or better."""
MODEL_LIMITS = {"fp32": 5e-3, "fp16": 0.1, "bf16": 0.1}
"""The same for a network's outputs, through which roundings of dozens of layers add up (in
fp32: of the patch embedding, a convolution that cuDNN runs in TF32)."""
MOST_COPIES = 1024
"""Copies of one weight, at most: twice the 60 MB L2 of an H200 hold that many of the smallest
layer of DeiT-B at 90 % (768x768, bf16: 118 KB)."""
MOST_LIGHT_COPIES = 128
"""The same for a weight of less than 1 % of the activations, whose place hardly matters."""
_TUNING_CALLS = 10
_TUNING_REPEATS = 3
_TUNING_WARM_UP_S = 0.02
"""Compiling takes a second, in which clocks fall (an H200's to 345 of 1980 MHz)."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A point, ready to be timed.

    Parameters
    ----------
    works
        By variant: for a burst the dense one and, where the point has blocks, the sparse one;
        for sustained load the point's own.
    errors
        Largest error over the largest output of the float32 reference, by variant.
    limit
        What `errors` may be.
    shape
        (M, N, K) of a layer.
    density
        Kept fraction of the masked weights.
    mask_digest
        SHA-256 of a layer's mask (`BlockMask.digest`), or over those of a network
        (`masks_digest`).
    details
        Copies of weights, tile and where it is from: for provenance.
    """

    works: dict[Variant, Work]
    errors: dict[Variant, float]
    limit: float
    shape: tuple[int, int, int] | None
    density: float
    mask_digest: str | None
    details: dict[str, Any]


class Bench:
    """Prepares points on one device in one dtype.

    Parameters
    ----------
    device, networks
        Where, and what.
    dtype
        `bf16`, `fp16` or `fp32`.
    tuning
        Look for the best tile of a shape that has none yet (GPU only).
    tell
        Called with what is being done.

    Raises
    ------
    LspsimError
        On another dtype.
    """

    def __init__(
        self,
        device: Device,
        networks: Networks,
        dtype: str,
        *,
        tuning: bool = True,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.device, self.networks, self.dtype = device, networks, dtype
        self._torch_dtype = dtype_named(dtype)
        self._tuning = tuning and not device.is_cpu
        self.tell = tell
        self._inputs: tuple[tuple[str, int], dict[str, Tensor]] | None = None

    def prepare(self, point: Point) -> Prepared:
        """Set up a point and compare its outputs with the masked dense product in float32.

        Raises
        ------
        LspsimError
            When the kernel does not take the block, dtype or size.
        """
        if point.block is not None:
            check_block(*point.block)
        with torch.no_grad():
            return self._layer(point) if point.kind == "layer" else self._model(point)

    def forget(self) -> None:
        """Drop the inputs that are kept between points."""
        self._inputs = None

    def _layer(self, point: Point) -> Prepared:
        x = self._layer_inputs(point.model, point.batch)[point.layer]
        dense: Any = copy.deepcopy(self.networks.dense(point.model).get_submodule(point.layer))
        dense = dense.to(self.device.torch_device, self._torch_dtype)
        layers: dict[Variant, nn.Module] = {"dense": dense}
        references: dict[Variant, Tensor] = {"dense": dense.weight}
        masks: dict[str, BlockMask] = {}
        details: dict[str, Any] = {}
        if point.block is not None:
            masks = self.networks.masks(point)
            mask = masks[point.layer]
            sparse = BlockSparseLinear.from_linear(dense, mask)
            details["tuning"] = self._tile(sparse, x)
            layers["block-sparse"] = sparse
            references["block-sparse"] = masked(dense.weight, mask)
        if point.regime == "sustained":
            layers = {point.variant: layers[point.variant]}
        errors = {name: _layer_error(layers[name], references[name], dense, x) for name in layers}
        n, k = dense.weight.shape
        works = {}
        for name, layer in layers.items():
            works[name], details[f"copies_{name}"] = self._rotating(layer, x, n)
        return Prepared(
            works,
            errors,
            LAYER_LIMITS[self.dtype],
            (x.shape[0], n, k),
            masks[point.layer].density if masks else 1.0,
            masks[point.layer].digest if masks else None,
            details,
        )

    def _model(self, point: Point) -> Prepared:
        images = self.networks.images(point.model, point.batch).to(self.device.torch_device)
        masks = self.networks.masks(point) if point.block is not None else {}
        details: dict[str, Any] = {}
        if masks:
            details["tuning"] = self._tiles_of(point, masks)
        variants: list[Variant] = ["dense", "block-sparse"] if masks else ["dense"]
        if point.regime == "sustained":
            variants = [point.variant]
        works: dict[Variant, Work] = {}
        errors: dict[Variant, float] = {}
        for variant in variants:
            used = masks if variant == "block-sparse" else {}
            model = self.networks.pruned(point.model, used)
            exact = copy.deepcopy(model).to(self.device.torch_device)(images).double()
            if used:
                sparsify(model, used)
            model = model.to(self.device.torch_device, self._torch_dtype)
            inputs = images.to(self._torch_dtype)
            errors[variant] = _relative_error(model(inputs), exact)
            works[variant] = Work(self.device.captured(_without_gradient(model, inputs)))
        kept = sum(mask.kept_weights for mask in masks.values())
        total = sum(mask.shape[0] * mask.shape[1] for mask in masks.values())
        return Prepared(
            works,
            errors,
            MODEL_LIMITS[self.dtype],
            None,
            kept / total if masks else 1.0,
            masks_digest(masks) if masks else None,
            details,
        )

    def _rotating(self, layer: nn.Module, x: Tensor, n: int) -> tuple[Work, int]:
        """Return work over copies of a layer, so many that none stays in the L2."""
        weight_bytes = sum(t.numel() * t.element_size() for t in layer.state_dict().values())
        other_bytes = x.shape[0] * (x.shape[1] + n) * x.element_size()
        count = weight_copies(weight_bytes, other_bytes, self.device.l2_bytes)
        copies = [layer]
        for _ in range(count - 1):
            sparse = isinstance(layer, BlockSparseLinear)
            copies.append(copy_of(layer) if sparse else copy.deepcopy(layer))  # type: ignore[arg-type]

        def run() -> None:
            with torch.no_grad():
                for one in copies:
                    one(x)

        return Work(self.device.captured(run), launches=count), count

    def _layer_inputs(self, model: str, batch: int) -> dict[str, Tensor]:
        """Return what the typical layers read; kept until another batch is asked for."""
        if self._inputs is None or self._inputs[0] != (model, batch):
            self.forget()
            self.tell(f"inputs of {model}, batch {batch}")
            layers = typical_layers(self.networks.workload(model))
            found = self.networks.layer_inputs(
                model, layers, batch, self.device.torch_device, self._torch_dtype
            )
            self._inputs = ((model, batch), found)
        return self._inputs[1]

    def _tiles_of(self, point: Point, masks: Mapping[str, BlockMask]) -> dict[str, Any]:
        """Return the tiles of a network's typical layers, tuned where asked."""
        inputs = self._layer_inputs(point.model, point.batch)
        model = self.networks.dense(point.model)
        tiles = {}
        for name, x in inputs.items():
            if name in masks:
                linear: Any = model.get_submodule(name)
                sparse = BlockSparseLinear.from_linear(linear, masks[name])
                sparse = sparse.to(self.device.torch_device, self._torch_dtype)
                tiles[name] = self._tile(sparse, x)
        return tiles

    def _tile(self, layer: BlockSparseLinear, x: Tensor) -> dict[str, Any]:
        """Return the tile that products with `layer` use, after tuning it where asked."""
        if self.device.is_cpu:
            return {"source": "none: plain product on the CPU"}
        n = layer.out_features
        key = TuningKey.of(x, layer.values, n)
        tunings = current()
        if tunings.get(key) is None and self._tuning:
            self.tell(f"tuning {n}x{layer.in_features}, {x.shape[0]} tokens, {layer.block}")

            def product(tile: Any) -> Tensor:
                arrays = (layer.crow, layer.col, layer.values, layer.bias)
                return kernel_product(x, *arrays, n, tile)

            weight, bias = layer.dense_weight().float(), layer.bias
            exact = functional.linear(x.float(), weight, None if bias is None else bias.float())

            def seconds(call: Callable[[], Tensor]) -> float:
                error = _relative_error(call(), exact)
                if not error <= LAYER_LIMITS[self.dtype]:
                    raise ArithmeticError(f"its result is wrong by {error:.2e} of the largest")
                return self._seconds(call)

            tunings.put(key, tune(product, seconds, candidates(x.shape[0], x.dtype)))
        found = tunings.get(key)
        source = "default" if found is None else "tuned"
        return {"source": source, **asdict(found or default_tile(x.shape[0], x.dtype))}

    def _seconds(self, call: Run) -> float:
        """Return the least time of a call among a few repeats."""
        replay = self.device.captured(lambda: [call() for _ in range(_TUNING_CALLS)])
        start = self.device.clock.now_s()
        while self.device.clock.now_s() - start < _TUNING_WARM_UP_S:
            self.device.seconds(replay)
        times = [self.device.seconds(replay) for _ in range(_TUNING_REPEATS)]
        return min(times) / _TUNING_CALLS


def weight_copies(weight_bytes: int, other_bytes: int, l2_bytes: int) -> int:
    """Return how many copies of a weight to use in turn.

    Between two uses of one copy at least twice the L2 passes through it: the other
    copies, and the activations that every launch reads and writes.
    """
    missing = 2 * l2_bytes - other_bytes
    most = MOST_LIGHT_COPIES if 100 * weight_bytes < other_bytes else MOST_COPIES
    return max(1, min(most, -(-missing // max(weight_bytes, 1))))


def check(prepared: Prepared) -> str:
    """Return which variant is wrong and by how much, or an empty text."""
    for variant, error in prepared.errors.items():
        if not error <= prepared.limit:  # not-a-number is wrong, too
            return (
                f"{variant} differs from the float32 reference by {error:.2e} of its largest "
                + (f"output (limit {prepared.limit:g})")
            )
    return ""


def _layer_error(layer: nn.Module, weight: Tensor, dense: nn.Linear, x: Tensor) -> float:
    bias = None if dense.bias is None else dense.bias.float()
    return _relative_error(layer(x), functional.linear(x.float(), weight.float(), bias))


def _relative_error(found: Tensor, exact: Tensor) -> float:
    """Return the largest error over the largest exact value; infinite when not a number."""
    largest = exact.abs().max()
    if not bool(largest > 0):
        raise LspsimError("the reference output is zero everywhere; give weights that are not")
    error = float((found.to(exact.dtype) - exact).abs().max() / largest)
    return error if error == error else float("inf")


def _without_gradient(model: nn.Module, inputs: Tensor) -> Run:
    def run() -> None:
        with torch.no_grad():
            model(inputs)

    return run

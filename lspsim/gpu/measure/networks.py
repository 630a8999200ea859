"""Networks, masks and inputs that a campaign measures with."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lspsim.errors import LspsimError
from lspsim.gpu.kernels.layout import masked
from lspsim.gpu.measure.points import Point
from lspsim.models.cache import cached_workload
from lspsim.models.checkpoints import load_state, masks_from_weights
from lspsim.models.load import class_count, load_model
from lspsim.workload.generate import prunable_names, random_masks
from lspsim.workload.mask import BlockMask
from lspsim.workload.mask_io import load_masks
from lspsim.workload.workload import Workload


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights and masks come from.

    Parameters
    ----------
    model
        The network that `checkpoint` and `masks` belong to.
    checkpoint, masks
        Files; without them weights are the architecture's own initialisation and
        masks are drawn at random, both from the seed.
    block
        With a checkpoint and no masks: its all-zero blocks of this size are a mask.
    seed
        Of weights, masks and images.
    """

    model: str
    checkpoint: Path | None = None
    masks: Path | None = None
    block: tuple[int, int] = (32, 32)
    seed: int = 0


class Networks:
    """Loads each network once.

    Raises
    ------
    LspsimError
        When the mask file holds blocks of several sizes, or is another model's.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._models: dict[str, nn.Module] = {}
        self._digest = ""
        self._classes: int | None = None
        if source.checkpoint is not None:
            self._digest = hashlib.sha256(source.checkpoint.read_bytes()).hexdigest()
            self._classes = class_count(source.model, load_state(source.checkpoint))
        self.given = self._given()
        blocks = {(mask.block_out, mask.block_in) for mask in self.given.values()}
        if len(blocks) > 1:
            raise LspsimError(
                f"masks {source.masks}: blocks of {len(blocks)} sizes; measure one size at a time"
            )
        self.mask_block = next(iter(blocks), None)

    def _given(self) -> dict[str, BlockMask]:
        """Return the masks of the files, if they remove anything."""
        if self.source.masks is not None:
            return load_masks(self.source.masks, self.source.model)
        if self.source.checkpoint is None:
            return {}
        found = masks_from_weights(load_state(self.source.checkpoint), *self.source.block)
        return found if any(mask.density < 1 for mask in found.values()) else {}

    def dense(self, name: str) -> nn.Module:
        """Return the network as it was loaded: float32, on the CPU; not to be changed."""
        if name not in self._models:
            checkpoint = self.source.checkpoint if name == self.source.model else None
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.source.seed)
                self._models[name] = load_model(name, checkpoint)
        return self._models[name]

    def weights(self, name: str) -> str:
        """Return where a network's weights come from, as rows say it."""
        if self._digest and name == self.source.model:
            return f"checkpoint sha256:{self._digest[:16]}"
        if name.startswith("lspsim/"):
            return "shipped"
        return f"initialisation, seed {self.source.seed}"

    def workload(self, name: str) -> Workload:
        """Return a network's operators at one image."""
        return cached_workload(
            name, num_classes=self._classes if name == self.source.model else None
        )

    def masks(self, point: Point) -> dict[str, BlockMask]:
        """Return the masks of a block-sparse point: of its layer, or of its network."""
        assert point.block is not None
        if point.sparsity is None:
            return dict(self.given)
        workload = self.workload(point.model)
        return random_masks(
            workload,
            sparsity=point.sparsity,
            block_out=point.block[0],
            block_in=point.block[1],
            seed=self.source.seed,
            names=[point.layer] if point.layer else prunable_names(workload),
        )

    def pruned(self, name: str, masks: Mapping[str, BlockMask]) -> nn.Module:
        """Return a copy of a network whose removed blocks are zero."""
        model = copy.deepcopy(self.dense(name))
        with torch.no_grad():
            for path, mask in masks.items():
                layer: Any = model.get_submodule(path)
                layer.weight.copy_(masked(layer.weight, mask))
        return model

    def images(self, name: str, batch: int) -> Tensor:
        """Return images of white noise of the network's size `[batch, 3, H, W]`."""
        embed: Any = self.dense(name).get_submodule("patch_embed")
        draw = torch.Generator().manual_seed(self.source.seed)
        size = (batch, embed.proj.in_channels, *embed.img_size)
        return torch.randn(size, generator=draw)

    def layer_inputs(
        self, name: str, layers: tuple[str, ...], batch: int, device: torch.device, dtype: Any
    ) -> dict[str, Tensor]:
        """Return what each layer `[tokens x images, K]` reads while the network runs."""
        model = copy.deepcopy(self.dense(name)).to(device, dtype)
        seen: dict[str, Tensor] = {}

        def keep(path: str) -> Any:
            def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                seen[path] = inputs[0].detach().flatten(0, -2).contiguous()

            return hook

        for path in layers:
            model.get_submodule(path).register_forward_pre_hook(keep(path))
        with torch.no_grad():
            model(self.images(name, batch).to(device, dtype))
        return seen


def masks_digest(masks: Mapping[str, BlockMask]) -> str:
    """Return one SHA-256 over the masks of several layers, as hex."""
    parts = "".join(f"{name}:{mask.digest}" for name, mask in sorted(masks.items()))
    return hashlib.sha256(parts.encode()).hexdigest()

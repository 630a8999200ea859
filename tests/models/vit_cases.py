"""A small random ViT with structure in its activations, and its statistics by hooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lspsim.models.torchvision_guard import import_timm
from lspsim.workload.mask import BlockMask

LAYERS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


def vit(seed: int = 0, **options: Any) -> nn.Module:
    """ViT of width 32, 2 heads of 16, 2 blocks; biases and norms away from their defaults."""
    torch.manual_seed(seed)
    base = {
        "img_size": 16,
        "patch_size": 4,
        "embed_dim": 32,
        "depth": 2,
        "num_heads": 2,
        "num_classes": 7,
        "qkv_bias": True,
    }
    model = import_timm().models.vision_transformer.VisionTransformer(**(base | options))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gamma"):
                parameter.uniform_(0.3, 1.5)
            elif "norm" in name and name.endswith("weight"):
                parameter.uniform_(0.5, 1.5)
            elif parameter.ndim == 1:
                parameter.normal_(0, 0.3)
            else:
                fan = parameter[0].numel() if parameter.ndim > 1 else 1
                parameter.normal_(0, 1.5 / fan**0.5 if parameter.ndim != 3 else 1.0)
    return model.eval()


def images(count: int = 24, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 4, 4, generator=generator)
    fine = torch.randn(count, 3, 16, 16, generator=generator)
    return nn.functional.interpolate(coarse, 16, mode="bilinear") + 0.3 * fine


def names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_modules() if name.endswith(LAYERS)]


@dataclass
class Statistics:
    weight: np.ndarray
    covariance: np.ndarray
    input_mean: np.ndarray
    row_gain: np.ndarray
    biased: bool

    @property
    def gram(self) -> np.ndarray:
        mean = self.input_mean
        return self.covariance if self.biased else self.covariance + np.outer(mean, mean)


def inputs_of(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Input rows of every prunable layer, `[rows, K]`."""
    seen: dict[str, Tensor] = {}
    modules = dict(model.named_modules())
    hooks = [
        modules[name].register_forward_pre_hook(
            lambda _, args, name=name: seen.__setitem__(name, args[0].flatten(0, -2))
        )
        for name in names(model)
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return seen


def statistics(model: nn.Module, x: Tensor) -> dict[str, Statistics]:
    """Everything the transforms ask for, from rows held in full."""
    seen = inputs_of(model, x)
    modules = dict(model.named_modules())
    grads: dict[str, Tensor] = {}
    hooks = [
        modules[name].register_full_backward_hook(
            lambda _, __, out, name=name: grads.__setitem__(name, out[0])
        )
        for name in names(model)
    ]
    logits = model(x)
    labels = torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(logits, labels[:, 0], reduction="sum").backward()
    for hook in hooks:
        hook.remove()
    model.zero_grad()
    found = {}
    for name, rows in seen.items():
        rows64 = rows.double().numpy()
        centred = rows64 - rows64.mean(0)
        found[name] = Statistics(
            modules[name].weight.detach().double().numpy(),
            centred.T @ centred / len(centred),
            rows64.mean(0),
            grads[name].double().square().sum(1).mean(0).numpy(),
            modules[name].bias is not None,
        )
    return found


def random_masks(
    model: nn.Module, block: tuple[int, int], density: float, seed: int = 0
) -> dict[str, BlockMask]:
    rng = np.random.default_rng(seed)
    modules = dict(model.named_modules())
    masks = {}
    for name in names(model):
        out, inputs = modules[name].weight.shape
        keep = rng.random((-(-out // block[0]), -(-inputs // block[1]))) < density
        masks[name] = BlockMask(keep, *block, (out, inputs))
    return masks

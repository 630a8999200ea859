"""Small masked weights, and a ViT that is quick to run."""

import numpy as np
import torch

from lspsim.models.extract import workload_from_model
from lspsim.models.load import build
from lspsim.workload import BlockMask
from lspsim.workload.generate import random_masks

# (N, K, block_out, block_in, tokens): square, rectangular, ragged in N, in K, in both
SHAPES = (
    (64, 96, 32, 32, 50),
    (64, 96, 16, 32, 17),
    (64, 96, 32, 16, 1),
    (70, 64, 32, 16, 20),
    (64, 50, 16, 16, 33),
    (45, 77, 16, 64, 20),
)


def mask_for(n, k, block_out, block_in, density=0.6, seed=0):
    keep = np.random.default_rng(seed).random((-(-n // block_out), -(-k // block_in))) < density
    return BlockMask(keep, block_out, block_in, shape=(n, k))


def element_keep(mask):
    """Spread a mask over its weights, the plain way."""
    n, k = mask.shape
    return torch.tensor(
        [
            [bool(mask.keep[i // mask.block_out, j // mask.block_in]) for j in range(k)]
            for i in range(n)
        ]
    )


def operands(n, k, tokens, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=draw) for shape in ((n, k), (tokens, k), (n,)))


def small_vit():
    torch.manual_seed(0)
    return build(
        {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2}
    ).eval()


def pruned_vit(block_out=16, block_in=32, sparsity=0.5):
    """Return a small ViT whose removed blocks are zero, and the masks."""
    model = small_vit()
    masks = random_masks(
        workload_from_model(model), sparsity=sparsity, block_out=block_out, block_in=block_in
    )
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_submodule(name).weight.mul_(element_keep(mask))
    return model, masks

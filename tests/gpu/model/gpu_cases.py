"""GPUs, networks and masks that several tests share."""

import numpy as np

from lspsim.gpu.config.load import load_gpu
from lspsim.gpu.model.gpu_model import GpuModel
from lspsim.workload import BlockMask, Gemm, VectorOp, Workload


def model(gpu="h200", dtype="bf16"):
    return GpuModel(load_gpu(gpu), dtype)


def random_mask(n, k, block, sparsity, seed=0):
    shape = (-(-n // block[0]), -(-k // block[1]))
    keep = np.random.default_rng(seed).random(shape) >= sparsity
    return BlockMask(keep, *block, (n, k))


def transformer(images=64, tokens=197, width=768, heads=12, blocks=2, masks=None):
    """Return the blocks of a ViT, as `workload_from_model` spells them out."""
    rows = images * tokens
    ops = [Gemm("patch_embed.proj", rows, 768, width, bias=True)]
    before = "patch_embed.proj"
    for i in range(blocks):
        p = f"blocks.{i}"
        groups = images * heads
        ops += [
            VectorOp(f"{p}.norm1", "layernorm", rows, width, (before,), parameters=2 * width),
            Gemm(f"{p}.attn.qkv", rows, width, 3 * width, bias=True),
            Gemm(
                f"{p}.attn.qk",
                tokens,
                width // heads,
                tokens,
                groups,
                "activation",
                inputs=(f"{p}.attn.qkv", f"{p}.attn.qkv"),
            ),
            VectorOp(f"{p}.attn.scale", "scale", groups * tokens, tokens),
            VectorOp(f"{p}.attn.softmax", "softmax", groups * tokens, tokens),
            Gemm(
                f"{p}.attn.av",
                tokens,
                tokens,
                width // heads,
                groups,
                "activation",
                inputs=(f"{p}.attn.softmax", f"{p}.attn.qkv"),
            ),
            Gemm(f"{p}.attn.proj", rows, width, width, bias=True),
            VectorOp(f"{p}.add1", "add", rows, width, (f"{p}.attn.proj", before)),
            VectorOp(f"{p}.norm2", "layernorm", rows, width, parameters=2 * width),
            Gemm(f"{p}.mlp.fc1", rows, width, 4 * width, bias=True),
            VectorOp(f"{p}.mlp.act", "gelu", rows, 4 * width),
            Gemm(f"{p}.mlp.fc2", rows, 4 * width, width, bias=True),
            VectorOp(f"{p}.add2", "add", rows, width, (f"{p}.mlp.fc2", f"{p}.add1")),
        ]
        before = f"{p}.add2"
    workload = Workload(ops, model="vit", batch=images)
    return workload if masks is None else workload.with_masks(masks)

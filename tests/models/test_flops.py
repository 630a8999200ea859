"""GEMM MACs against torch's own operator counter, which runs the model's forward pass."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from lspsim.models import workload_from_model  # noqa: E402
from lspsim.models.build import build_on_meta  # noqa: E402

CASES = [
    ("deit_tiny_patch16_224", None),
    ("deit_small_patch16_224", None),
    ("deit_base_patch16_224", None),
    ("deit_base_distilled_patch16_224", None),
    ("vit_small_patch16_224", (160, 208)),
    ("vit_small_patch14_reg4_dinov2", 224),
    ("vit_base_patch16_siglip_gap_224", None),
    ("swin_tiny_patch4_window7_224", None),
    ("swin_tiny_patch4_window7_224", 256),
]


def counted_macs(model: torch.nn.Module, batch: int, size: tuple[int, int]) -> int:
    """MACs of convolutions and (batched) matrix products, attention unfused; 2 flops each."""
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    images = torch.zeros(batch, 3, *size, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(images)
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return flops // 2


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("name", "image_size"), CASES)
def test_macs_equal_torchs_count(
    name: str, image_size: int | tuple[int, int] | None, batch: int
) -> None:
    model = build_on_meta(name, image_size)
    workload = workload_from_model(name, batch, image_size=image_size)
    assert workload.macs_dense == counted_macs(model, batch, model.patch_embed.img_size)
    assert workload_from_model(model, batch).ops == workload.ops

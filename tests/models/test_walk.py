"""The walk from station to station is the forward pass of timm."""

from __future__ import annotations

import pytest
import torch

from lspsim.errors import ModelError
from lspsim.models.torchvision_guard import import_timm
from lspsim.models.walk import leave, stations
from tests.models import vit_cases as cases


def swin() -> torch.nn.Module:
    torch.manual_seed(0)
    return (
        import_timm()
        .models.swin_transformer.SwinTransformer(
            img_size=16,
            patch_size=2,
            embed_dim=16,
            depths=(1, 2),
            num_heads=(2, 2),
            window_size=4,
            num_classes=5,
        )
        .eval()
    )


def distilled() -> torch.nn.Module:
    torch.manual_seed(0)
    return import_timm().create_model(
        "deit_tiny_distilled_patch16_224", img_size=16, patch_size=4, depth=2
    )


@pytest.mark.parametrize(
    "make",
    [
        cases.vit,
        lambda: cases.vit(init_values=0.5, global_pool="avg", class_token=False),
        lambda: cases.vit(pre_norm=True, reg_tokens=2),
        distilled,
        swin,
    ],
    ids=["vit", "pooled", "registers", "distilled", "swin"],
)
def test_all_steps_and_the_head_are_the_model(make) -> None:
    model = make().eval()
    images = cases.images(4)
    with torch.no_grad():
        x = images
        for step in stations(model):
            x = step.run(model, x)
        torch.testing.assert_close(leave(model, x), model(images), rtol=1e-5, atol=1e-6)


def test_another_model_is_refused() -> None:
    with pytest.raises(ModelError, match="Linear is neither"):
        stations(torch.nn.Linear(2, 2))

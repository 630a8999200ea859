"""The extracted operators against what torch really runs: modules, additions, softmaxes."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from lspsim.models import workload_from_model  # noqa: E402
from lspsim.models.build import build_on_meta  # noqa: E402
from lspsim.workload import Gemm, VectorOp, Workload  # noqa: E402

BATCH = 2
CASES = [
    ("deit_tiny_patch16_224", None),
    ("deit_tiny_distilled_patch16_224", 96),
    ("vit_small_patch14_reg4_dinov2", 98),  # register tokens, layer scale
    ("vit_base_patch16_siglip_gap_224", 64),  # no class token, average pooling
    ("deit3_small_patch16_224", 64),  # positions are added before the class token
    ("vit_base_patch16_clip_224", 64),  # a norm before the blocks
    ("swin_tiny_patch4_window7_224", None),
    ("swin_tiny_patch4_window7_224", (200, 256)),  # windows and merging need padding
]


class Recorder(TorchDispatchMode):
    """Sizes of the results of some aten operators, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[str, list[int]] = {"add": [], "softmax": []}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        kind = {"aten.add.Tensor": "add", "aten._softmax.default": "softmax"}.get(str(func))
        if kind:
            self.sizes[kind].append(result.numel())
        return result


def run(model: torch.nn.Module) -> tuple[list[tuple[str, int]], dict[str, list[int]]]:
    """Return the (path, input size) of each leaf with work, and the recorded sizes."""
    calls: list[tuple[str, int]] = []
    leaves = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.LayerNorm, torch.nn.GELU)
    for path, module in model.named_modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
        if isinstance(module, leaves):
            module.register_forward_hook(
                lambda _, inputs, __, path=path: calls.append((path, inputs[0].numel()))
            )
    with Recorder() as recorder, torch.no_grad():
        model.eval()(torch.zeros(BATCH, 3, *model.patch_embed.img_size, device="meta"))
    return calls, recorder.sizes


def sizes(workload: Workload, kind: str) -> list[int]:
    return [
        op.rows * op.cols for op in workload.ops if isinstance(op, VectorOp) and op.kind == kind
    ]


@pytest.mark.parametrize(("name", "image_size"), CASES)
def test_same_modules_in_the_same_order_with_the_same_inputs(
    name: str, image_size: int | tuple[int, int] | None
) -> None:
    model = build_on_meta(name, image_size)
    workload = workload_from_model(name, BATCH, image_size=image_size)
    calls, recorded = run(model)
    called = {path for path, _ in calls}
    extracted = [
        (op.name, op.m * op.k if isinstance(op, Gemm) else op.rows * op.cols)
        for op in workload.ops
        if op.name in called
    ]
    # a convolution reads only whole patches
    assert extracted[0][1] <= calls[0][1]
    assert [path for path, _ in extracted] == [path for path, _ in calls]
    assert extracted[1:] == calls[1:]
    assert sizes(workload, "add") == recorded["add"]
    assert sizes(workload, "softmax") == recorded["softmax"]


@pytest.mark.parametrize(("name", "image_size"), CASES)
def test_every_result_but_the_last_is_used(
    name: str, image_size: int | tuple[int, int] | None
) -> None:
    workload = workload_from_model(name, BATCH, image_size=image_size)
    used = {source for inputs in workload.resolved_inputs() for source in inputs}
    assert {op.name for op in workload.ops} - used == {workload.ops[-1].name}


@pytest.mark.parametrize(("name", "image_size"), CASES)
def test_stored_values_add_up_to_the_models_parameters(
    name: str, image_size: int | tuple[int, int] | None
) -> None:
    """Swin's bias is read gathered, so its table is counted by itself."""
    model = build_on_meta(name, image_size)
    stored = 0
    for op in workload_from_model(name, BATCH, image_size=image_size).ops:
        if isinstance(op, VectorOp):
            stored += 0 if op.name.endswith(("attn.bias", "attn.mask")) else op.parameters
        elif op.rhs == "weight":
            stored += op.n * op.k + op.n * op.bias
    tables = sum(
        parameter.numel()
        for path, parameter in model.named_parameters()
        if path.endswith("relative_position_bias_table")
    )
    assert stored + tables == sum(parameter.numel() for parameter in model.parameters())

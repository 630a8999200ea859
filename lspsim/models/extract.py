"""`workload_from_model`: every operator of one inference of a vision transformer."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from lspsim.errors import ModelError, UnsupportedOperatorError
from lspsim.models.build import ImageSize, build_on_meta, size_pair
from lspsim.models.operators.builder import OperatorBuilder, typename
from lspsim.models.operators.swin import is_swin, walk_swin
from lspsim.models.operators.vit import is_vit, walk_vit
from lspsim.workload.mask import BlockMask
from lspsim.workload.workload import Workload

SUPPORTED = (
    "timm's VisionTransformer (deit_*, vit_*), VisionTransformerDistilled (deit_*_distilled_*) "
    "and SwinTransformer (swin_*)"
)


def workload_from_model(
    model_or_name: str | nn.Module,
    batch: int = 1,
    masks: Mapping[str, BlockMask | None] | None = None,
    image_size: ImageSize | None = None,
    num_classes: int | None = None,
) -> Workload:
    """Return the operators of one inference, in execution order.

    Weight GEMMs carry the dotted path of their module (`blocks.0.attn.qkv`),
    so that a mask finds its weight. Inputs name the producers, residuals
    included. Nothing is executed: sizes come from attributes and weights.

    Parameters
    ----------
    model_or_name
        A timm name or that of a shipped model (built without weights, nothing is
        downloaded), or a module.
    batch
        Images per inference.
    masks
        Kept blocks by GEMM name; layers without one keep all.
    image_size
        Side or (height, width) in pixels; default: the model's own. A module
        must already take that size (`model.set_input_size`).
    num_classes
        Outputs of a model given by name, other than its own number; 0 leaves the
        classifier out.

    Raises
    ------
    ModelError
        On an unknown name, a size the model does not take, or layers that do
        not fit each other.
    UnsupportedOperatorError
        On a class of model or an operator that is not modelled; it is named.
    WorkloadError
        On a mask for an unknown layer or of the wrong shape.
    """
    if type(batch) is not int or batch < 1:
        raise ModelError(f"batch must be a whole number of images, at least 1, got {batch!r}")
    size = None if image_size is None else size_pair(image_size)
    if isinstance(model_or_name, str):
        name, model = model_or_name, build_on_meta(model_or_name, size, num_classes)
    else:
        if num_classes is not None:
            raise ModelError("a module has its classifier already; leave out num_classes")
        name, model = _name(model_or_name), model_or_name
    if is_vit(model):
        walk = walk_vit
    elif is_swin(model):
        walk = walk_swin
    else:
        raise UnsupportedOperatorError(
            f"{name}: {typename(model)} is not a model whose forward pass is known; "
            f"supported: {SUPPORTED}"
        )
    build = OperatorBuilder(model, batch)
    walk(build, model, size)
    workload = Workload(build.finish(), model=name, batch=batch)
    return workload.with_masks(masks) if masks else workload


def _name(model: nn.Module) -> str:
    """Return timm's name of the architecture, else the class's."""
    config = getattr(model, "pretrained_cfg", None) or {}
    return config.get("architecture") or type(model).__name__

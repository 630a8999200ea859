"""`load_point`: a pruned network read back, ready to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from lspsim.errors import ResultError
from lspsim.models.checkpoints import masks_from_weights
from lspsim.models.load import load_model
from lspsim.networks.record import MASKS, WEIGHTS, PointRecord, read_point
from lspsim.workload import BlockMask
from lspsim.workload.mask_io import load_masks


@dataclass(frozen=True, slots=True, eq=False)
class PrunedModel:
    """A pruned network in memory."""

    model: nn.Module
    masks: Mapping[str, BlockMask]
    record: PointRecord


def load_point(directory: Path) -> PrunedModel:
    """Read back what `write_point` wrote: the model, ready to run, and its masks.

    Parameters
    ----------
    directory
        Of the pruned network.

    Raises
    ------
    ResultError
        When it is no pruned network, or its weights are not zero where a mask removed
        them.
    ModelError
        When the model cannot be built, or its weights do not fit.
    WorkloadError
        When the masks are damaged.
    """
    record = read_point(directory)
    model = load_model(record.model, directory / WEIGHTS)
    masks = load_masks(directory / MASKS)
    state = model.state_dict()
    for name, mask in masks.items():
        key = f"{name}.weight"
        if key not in state:
            raise ResultError(f"{directory}: {MASKS} names {name!r}, which the model lacks")
        found = masks_from_weights({key: state[key]}, mask.block_out, mask.block_in)[name]
        if found.shape != mask.shape or (found.keep & ~mask.keep).any():
            raise ResultError(
                f"{directory}: {WEIGHTS} has weights in blocks of {name!r} that {MASKS} "
                "removed; the files do not belong together: prune again"
            )
    return PrunedModel(model, masks, record)

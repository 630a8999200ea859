"""Where the weights of a dense network came from, and the same network again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import nn

from lspsim.errors import ModelError
from lspsim.models import load_model
from lspsim.networks.record import PointRecord


def dense_model(name: str, checkpoint: str | None, pretrained: bool, seed: int) -> nn.Module:
    """Load a model; without trained weights, the same seed gives the same random ones."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return load_model(name, checkpoint, pretrained)


def weights_record(
    model: nn.Module, checkpoint: str | None, pretrained: bool
) -> dict[str, JsonValue]:
    """Return where weights came from and what they are, as `dense_of` reads it."""
    return {
        "checkpoint": None if checkpoint is None else str(Path(checkpoint).resolve()),
        "pretrained": pretrained,
        "weights_digest": digest(model),
    }


def dense_of(record: PointRecord) -> nn.Module:
    """Load the dense model that a network was pruned from.

    Raises
    ------
    ModelError
        When it cannot be loaded, or its weights are no longer what they were.
    """
    origin = record.provenance
    checkpoint = origin.get("checkpoint")
    model = dense_model(
        record.model,
        None if checkpoint is None else str(checkpoint),
        origin.get("pretrained") is True,
        record.seed,
    )
    if digest(model) != origin.get("weights_digest"):
        source = checkpoint or record.model
        raise ModelError(
            f"the dense weights of {source} are not those that {record.label!r} was pruned from; "
            "prune again, from weights that are kept (--checkpoint or --pretrained)"
        )
    return model


def digest(model: nn.Module) -> str:
    """Return a digest of all weights, so that a state file knows its start."""
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]

"""A tiny model with its card, and chips that suit small blocks."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file

from lspsim.hardware import Hardware, load_hardware
from lspsim.models.cards import CARD_SCHEMA
from tests.models import vit_cases

TINY = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "num_classes": 10,
}


def chip(side: int) -> Hardware:
    """The edge preset with a `side` x `side` array, so that such a block is a tile."""
    return load_hardware("edge_32x32").with_values({"array.rows": side, "array.cols": side})


def tiny_card(folder: Path, seed: int = 0) -> Path:
    """Write a random model of ten classes at 32x32 pixels, as `lspsim train` would."""
    model = vit_cases.vit(seed, **TINY)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()},
        folder / "tiny.safetensors",
    )
    card = folder / "tiny.json"
    card.write_text(json.dumps({"schema": CARD_SCHEMA, "architecture": TINY}))
    return card

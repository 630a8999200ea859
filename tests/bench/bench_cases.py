"""A tiny model on disk, and a table of made-up cells."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from lspsim.bench.cells import Cell
from lspsim.bench.results import Row, Table

TINY = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 32,
    "depth": 1,
    "num_heads": 2,
    "num_classes": 10,
}


def tiny_model(folder: Path, changes: dict[str, int] | None = None) -> Path:
    """Write a card and weights, and return the card's path."""
    shape = TINY | (changes or {})
    from safetensors.torch import save_file

    from lspsim.models.cards import CARD_SCHEMA
    from lspsim.models.load import build

    torch.manual_seed(0)
    model = build(shape)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 1.5 / parameter.shape[1] ** 0.5)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.2)
    card = folder / "tiny.json"
    card.write_text(json.dumps({"schema": CARD_SCHEMA, "architecture": shape}))
    save_file(model.state_dict(), card.with_suffix(".safetensors"))
    return card


def row(cell: Cell, right: np.ndarray, dense: np.ndarray, kl: float = 0.1) -> Row:
    """Return the row of a network that names `right` right."""
    return Row(
        model="tiny",
        data="digits",
        score=cell.method.score,
        compensate=cell.method.compensate,
        allocate=cell.method.allocate,
        block=cell.block,
        sparsity_target=cell.sparsity,
        seed=cell.seed,
        distilled=cell.distilled,
        basis=cell.method.basis,
        couple=cell.method.couple,
        pattern=cell.method.pattern,
        images=len(right),
        top1_dense=float(dense.mean()),
        top1=float(right.mean()),
        drop_points=100 * float(dense.mean() - right.mean()),
        kl_nats=kl,
        lost=int((dense & ~right).sum()),
        won=int((right & ~dense).sum()),
        mcnemar_p=0.5,
        sparsity=cell.sparsity / 100,
        macs_left=0.5,
        unit="nats",
        loss=0.25,
        coupled_blocks=3,
        damping=0.01,
        learning_rate=4e-4 if cell.distilled else 0.0,
        prepare_s=1.0,
        prune_s=2.0,
        measure_s=3.0,
        calibration_images=16,
        model_digest="0123456789abcdef",
        lspsim="1",
        torch="2",
        timm="3",
        numpy="4",
        python="5",
        threads=1,
        finished="2026-01-01T00:00:00+00:00",
    )


def add(table: Table, cell: Cell, wrong: range, images: int = 100, kl: float = 0.1) -> None:
    """Add a network that is wrong on `wrong`, beside a dense one that is always right."""
    dense = np.ones(images, np.bool_)
    right = dense.copy()
    right[list(wrong)] = False
    table.add(row(cell, right, dense, kl), right, dense)

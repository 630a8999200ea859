"""Rows that `lspsim gpu measure` wrote, and predictions of them.

Read are the keys schema, status, kind, gpu, dtype, model, layer, batch, m, n, k, block_out,
block_in, sparsity, variant, regime, latency_s, energy_j, and of provenance seed, mask_digest
and idle_power_w; other keys are left alone. Skipped are rows whose status is not `ok`, rows of
a CPU, and rows measured with a file of masks, which a seed does not draw again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from lspsim.errors import ResultError
from lspsim.gpu.config.load import gpu_names
from lspsim.gpu.config.schema import BYTES, Dtype
from lspsim.gpu.fit.gemm_table import GemmTable
from lspsim.workload import BlockMask
from lspsim.workload.generate import prunable_names, random_masks

SCHEMA = "lspsim/gpu-measurement/v1"


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """One measurement of a layer or a network."""

    gpu: str
    """Name of its description in hw_configs/gpu."""
    dtype: Dtype
    kind: str
    """`layer` or `model`."""
    model: str
    layer: str
    batch: int
    m: int
    n: int
    k: int
    """0 for networks."""
    block: tuple[int, int] | None
    sparsity: float
    seed: int
    mask_digest: str
    """Of a layer's mask; "" where the row has none."""
    regime: str
    """`burst` or `sustained`."""
    latency_s: float
    energy_j: float | None
    idle_w: float | None
    """Board power without a running kernel, as measured beside it."""
    source: str

    @property
    def label(self) -> str:
        """What to call it in tables."""
        how = "dense"
        if self.block is not None:
            how = f"{self.block[0]}x{self.block[1]} {100 * self.sparsity:.0f} % removed"
        subject = f"{self.model} {self.layer}".strip()
        return f"{subject}, batch {self.batch}, {how}, {self.regime}"

    def masks(self, batch: int = 1) -> dict[str, BlockMask]:
        """Draw the masks again that it was measured with, by layer.

        Raises
        ------
        ResultError
            When they are not those of the row: it was measured with a file of masks.
        """
        from lspsim.models import cached_workload

        if self.block is None:
            return {}
        workload = cached_workload(self.model, batch=batch)
        names = [self.layer] if self.layer else list(prunable_names(workload))
        masks = random_masks(
            workload,
            sparsity=self.sparsity,
            block_out=self.block[0],
            block_in=self.block[1],
            seed=self.seed,
            names=names,
        )
        if self.kind == "layer" and (
            self.mask_digest not in ("", masks[self.layer].digest)
            or masks[self.layer].shape != (self.n, self.k)
        ):
            raise ResultError(
                f"{self.source}: {self.label} was measured with other masks than its seed "
                "draws; such rows cannot be predicted"
            )
        return masks


def shipped_measurements() -> tuple[Path, ...]:
    """Return the files of measurements that ship with the package; there may be none."""
    folder = resources.files("lspsim.gpu") / "measurements"
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(Path(str(path)) for path in folder.iterdir() if path.name.endswith(".jsonl"))
    )


def read_measurements(paths: Iterable[Path]) -> tuple[MeasuredRow, ...]:
    """Read files of measurements; of rows with the same key in a file the last good one counts.

    Raises
    ------
    ResultError
        When a line is no row of `lspsim gpu measure`, or of a GPU without a description.
    """
    return tuple(row for path in paths for row in _rows_of(path))


def dense_table(rows: Iterable[MeasuredRow], source: str) -> GemmTable:
    """Return the dense layers, timed in bursts, as a table of GEMMs."""
    chosen = [r for r in rows if r.kind == "layer" and r.block is None and r.regime == "burst"]
    return GemmTable(
        np.array([row.m for row in chosen], dtype=float),
        np.array([row.n for row in chosen], dtype=float),
        np.array([row.k for row in chosen], dtype=float),
        np.array([row.latency_s for row in chosen], dtype=float),
        source,
    )


def gpu_of_device(device: str) -> str | None:
    """Return which description a device's own name means: `NVIDIA H200` is `h200`."""
    flat = "".join(char for char in device.lower() if char.isalnum())
    found = [name for name in gpu_names() if all(part in flat for part in name.split("-"))]
    return max(found, key=len) if found else None


def _rows_of(path: Path) -> list[MeasuredRow]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResultError(f"{path}: cannot be read: {reason}; check the path") from None
    if lines and not lines[-1].endswith("\n"):
        lines.pop()  # cut off while it was written
    rows: dict[str, MeasuredRow] = {}
    for number, line in enumerate(lines, start=1):
        try:
            data = json.loads(line)
            if data["schema"] != SCHEMA:
                raise ValueError(f"its schema is {data['schema']!r}, not {SCHEMA!r}")
            drawn = data["variant"] == "dense" or data["sparsity"] is not None
            if data["status"] == "ok" and not data["kind"].startswith("cpu") and drawn:
                rows[data["key"]] = _row(data, path.name)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"no key {error}" if isinstance(error, KeyError) else str(error)
            raise ResultError(
                f"{path}:{number}: no row of lspsim gpu measure ({reason}); name another file"
            ) from None
    return list(rows.values())


def _row(data: dict[str, Any], source: str) -> MeasuredRow:
    gpu = gpu_of_device(data["gpu"])
    if gpu is None:
        raise ValueError(
            f"{data['gpu']!r} has no description in hw_configs/gpu: {', '.join(gpu_names())}"
        )
    if data["dtype"] not in BYTES:
        raise ValueError(f"number format {data['dtype']!r}")
    origin = data.get("provenance") or {}
    block = None
    if data["block_out"] is not None and data["variant"] != "dense":
        block = (int(data["block_out"]), int(data["block_in"]))
    row = MeasuredRow(
        gpu,
        data["dtype"],
        data["kind"],
        data["model"],
        data["layer"] or "",
        int(data["batch"]),
        int(data["m"] or 0),
        int(data["n"] or 0),
        int(data["k"] or 0),
        block,
        float(data["sparsity"] or 0.0),
        int(origin.get("seed", 0)),
        origin.get("mask_digest") or "" if data["kind"] == "layer" else "",
        data["regime"],
        float(data["latency_s"]),
        _number(data["energy_j"]),
        _number(origin.get("idle_power_w")),
        source,
    )
    _check(row)
    return row


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _check(row: MeasuredRow) -> None:
    """Refuse values that no measurement has (`ValueError`)."""
    for key, text, choices in (
        ("kind", row.kind, ("layer", "model")),
        ("regime", row.regime, ("burst", "sustained")),
    ):
        if text not in choices:
            raise ValueError(f"{key} is {text!r}, not {' or '.join(choices)}")
    for key, value in (
        ("latency_s", row.latency_s),
        ("energy_j", row.energy_j),
        ("idle_power_w", row.idle_w),
    ):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{key} is {value}, not above 0")
    if not 0 <= row.sparsity <= 1:
        raise ValueError(f"sparsity is {row.sparsity}, not within 0..1")
    sizes = {"batch": row.batch}
    if row.kind == "layer":
        if not row.layer:
            raise ValueError("a row of kind 'layer' names no layer")
        sizes |= {"m": row.m, "n": row.n, "k": row.k}
    if row.block is not None:
        sizes |= dict(zip(("block_out", "block_in"), row.block, strict=True))
    for key, size in sizes.items():
        if size < 1:
            raise ValueError(f"{key} is {size}, not at least 1")

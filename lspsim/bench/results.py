"""`Table`: finished cells on disk, as CSV, with what each network did image by image.

| file | content |
|---|---|
| `NAME.csv` | one row per finished cell: choices, figures, origin |
| `NAME.images.npz` | per cell, which images it classifies otherwise than the dense network |
"""

from __future__ import annotations

import csv
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from lspsim.bench.cells import Cell, Method
from lspsim.errors import ResultError
from lspsim.report.files import whole_file

Bits = NDArray[np.bool_]

DENSE = "dense"
"""Key of the images that the dense network classifies correctly."""

_Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Row:
    """One finished cell.

    Parameters
    ----------
    model, data
        Names, as the command took them.
    score, compensate, allocate, block, sparsity_target, seed, distilled
        The cell; the target is in per cent of the prunable weights' MACs.
    basis, couple, pattern
        The rest of the method.
    images
        Test images that the figures are over.
    top1_dense, top1
        Share of them classified correctly.
    drop_points
        Percentage points lost against dense.
    kl_nats
        Mean KL divergence from the dense network.
    lost, won
        Images that only the dense network classifies correctly; that only this one does.
    mcnemar_p
        Two-sided exact test that both are equally often right; not corrected.
    sparsity, macs_left
        What came out: removed share of the prunable weights, and MACs over dense ones
        (attention, patch embedding and head included).
    unit, loss
        Estimated loss of the chosen masks and its unit.
    coupled_blocks
        Blocks removed at no loss with dead units.
    damping
        Largest relative damping that a layer needed.
    learning_rate
        Of distillation: the best on validation images; 0 where none was better than none.
    prepare_s, prune_s, measure_s
        Wall time; the first is shared by all cells of one preparation.
    calibration_images
        How many.
    model_digest
        Of the dense weights.
    lspsim, torch, timm, numpy, python
        Versions.
    threads
        Of torch.
    finished
        UTC time.
    """

    model: str
    data: str
    score: str
    compensate: str
    allocate: str
    block: str
    sparsity_target: int
    seed: int
    distilled: bool
    basis: str
    couple: bool
    pattern: str
    images: int
    top1_dense: _Share
    top1: _Share
    drop_points: float
    kl_nats: float
    lost: int
    won: int
    mcnemar_p: _Share
    sparsity: _Share
    macs_left: _Share
    unit: str
    loss: float
    coupled_blocks: int
    damping: float
    learning_rate: float
    prepare_s: float
    prune_s: float
    measure_s: float
    calibration_images: int
    model_digest: str
    lspsim: str
    torch: str
    timm: str
    numpy: str
    python: str
    threads: int
    finished: str

    @property
    def cell(self) -> Cell:
        """Which cell this is."""
        block_out, block_in = map(int, self.block.split("x"))
        method = Method(
            self.score, self.compensate, self.allocate, self.basis, self.couple, self.pattern
        )
        return Cell(method, block_out, block_in, self.sparsity_target, self.seed, self.distilled)


COLUMNS = tuple(field.name for field in fields(Row))
_ADAPTER = TypeAdapter(Row)


class Table:
    """Finished cells, kept on disk after each one.

    Parameters
    ----------
    path
        The CSV file; read where it exists.

    Raises
    ------
    ResultError
        When it is damaged, or written by another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[Cell, Row] = {row.cell: row for row in read_rows(path)}
        self._images: dict[str, Bits] = {}
        if self.images_path.exists():
            self._images = _read_images(self.images_path)

    @property
    def images_path(self) -> Path:
        """Where the images are."""
        return self.path.with_suffix(".images.npz")

    def check(self, model_digest: str, data: str, calibration_images: int) -> None:
        """Raise unless the rows that are there answer the same question."""
        for row in self.rows.values():
            asked = (model_digest, data, calibration_images)
            if (row.model_digest, row.data, row.calibration_images) != asked:
                raise ResultError(
                    f"{self.path} holds cells of {row.model} (weights {row.model_digest}) on "
                    f"{row.data} with {row.calibration_images} calibration images; name another "
                    "--out, or remove it"
                )

    def add(self, row: Row, right: Bits, dense: Bits) -> None:
        """Take a finished cell, and write.

        Parameters
        ----------
        row
            Its figures.
        right, dense
            bool `[images]`: which test images it classifies correctly, and which the dense network.

        Raises
        ------
        ResultError
            When the disk is full, say; the files are then as before.
        """
        self.rows[row.cell] = row
        self._images[row.cell.key] = np.logical_xor(right, dense)
        known = self._images.get(DENSE)
        if known is None or len(known) < len(dense):
            self._images[DENSE] = dense
        self.path.parent.mkdir(parents=True, exist_ok=True)
        packed = {key: np.packbits(bits) for key, bits in self._images.items()}
        counts = {f"{key}.count": np.int64(len(bits)) for key, bits in self._images.items()}
        with whole_file(self.images_path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **packed, **counts)  # type: ignore[arg-type]
        with whole_file(self.path) as temporary:
            write_rows(temporary, list(self.rows.values()))

    def right(self, cell: Cell) -> Bits:
        """Return which test images the network of a finished cell classifies correctly."""
        if cell.key not in self._images or DENSE not in self._images:
            raise ResultError(
                f"{self.images_path} does not hold {cell.key}; keep it beside {self.path.name}, "
                "or remove both and measure again"
            )
        changed = self._images[cell.key]
        return np.logical_xor(changed, self._images[DENSE][: len(changed)])


def read_rows(path: Path) -> list[Row]:
    """Read a CSV file; none yet is no row.

    Raises
    ------
    ResultError
        When it is damaged, or written by another version.
    """
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = []
        for entry in reader:
            try:
                rows.append(_ADAPTER.validate_python(entry))
            except ValidationError as failure:
                first = failure.errors(include_url=False)[0]
                where = ".".join(map(str, first["loc"]))
                raise ResultError(
                    f"{path}, line {reader.line_num}: {where}: {first['msg']}. Is it damaged, or "
                    "of another version of lspsim? Name another --out, or remove it"
                ) from failure
    return rows


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write rows as CSV with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _read_images(path: Path) -> dict[str, Bits]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            keys = [key for key in stored.files if not key.endswith(".count")]
            return {
                key: np.unpackbits(stored[key], count=int(stored[f"{key}.count"])).astype(np.bool_)
                for key in keys
            }
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise ResultError(
            f"{path}: cannot be read ({error}); remove it and its CSV, and measure again"
        ) from error

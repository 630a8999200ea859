"""Matrices that grow by rows: in memory up to a limit, then in temporary files."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from lspsim.errors import LspsimError

Float32Array = NDArray[np.float32]

SLAB_BYTES = 2**20
"""Rows in memory lie in pieces of about this size."""


class GrowingMatrices:
    """Float32 matrices of fixed width, one per name, that take rows as they come.

    Once all of them together pass `memory_bytes`, they move to files that have
    no name in the file system, so that nothing is left behind even by a kill.
    In memory they lie outside the C heap: small arrays that stay, in between a
    batch's large ones that go, would break the heap up and let the process grow
    by a good part of every batch.

    Parameters
    ----------
    columns
        Width of each matrix.
    memory_bytes
        Limit of what stays in memory, over all matrices.
    """

    def __init__(self, columns: Mapping[str, int], memory_bytes: int) -> None:
        self._columns = dict(columns)
        self._limit = memory_bytes
        self._bytes = 0
        self._rows = dict.fromkeys(columns, 0)
        self._slabs: dict[str, list[Float32Array]] = {name: [] for name in columns}
        self._files: dict[str, IO[bytes]] = {}

    @property
    def on_disk(self) -> bool:
        """Whether the rows went to files."""
        return bool(self._files)

    def append(self, name: str, rows: Float32Array) -> None:
        """Add float32 rows `[n, columns]` to one matrix.

        Raises
        ------
        LspsimError
            When the disk is full.
        """
        rows = np.ascontiguousarray(rows, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self._columns[name]:
            raise ValueError(f"{name}: rows of shape {rows.shape}, width {self._columns[name]}")
        if self.on_disk:
            self._rows[name] += len(rows)
            self._write(name, rows)
            return
        self._keep(name, rows)
        self._bytes += rows.nbytes
        if self._bytes > self._limit:
            self._spill()

    def finish(self) -> dict[str, Float32Array]:
        """Return the matrices `[rows, columns]`, mapped from disk where they are there."""
        result: dict[str, Float32Array] = {}
        for name, width in self._columns.items():
            shape = (self._rows[name], width)
            if self.on_disk and shape[0]:
                result[name] = np.memmap(self._files[name], np.float32, "r", shape=shape)
            else:
                matrix = np.empty(shape, np.float32)
                for start, slab in self._filled(name):
                    matrix[start : start + len(slab)] = slab
                self._slabs[name].clear()
                result[name] = matrix
        self.close()
        return result

    def close(self) -> None:
        """Close the files; matrices that were mapped stay readable."""
        for file in self._files.values():
            file.close()
        self._files = {}
        self._slabs = {}

    def __enter__(self) -> GrowingMatrices:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _keep(self, name: str, rows: Float32Array) -> None:
        """Copy rows behind those that are there."""
        width, slabs = self._columns[name], self._slabs[name]
        height = max(1, SLAB_BYTES // (4 * width))
        while len(rows):
            at = self._rows[name] % height
            if at == 0:
                pages = mmap.mmap(-1, 4 * height * width)
                slabs.append(np.frombuffer(pages, np.float32).reshape(height, width))
            piece = rows[: height - at]
            slabs[-1][at : at + len(piece)] = piece
            self._rows[name] += len(piece)
            rows = rows[len(piece) :]

    def _filled(self, name: str) -> Iterator[tuple[int, Float32Array]]:
        """Yield each slab's filled part, and the row at which it begins."""
        start = 0
        for slab in self._slabs[name]:
            part = slab[: self._rows[name] - start]
            yield start, part
            start += len(part)

    def _spill(self) -> None:
        try:
            for name in self._columns:
                self._files[name] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  close() does
        except OSError as error:
            raise self._no_room(error) from error
        for name, slabs in self._slabs.items():
            for _, slab in self._filled(name):
                self._write(name, slab)
            slabs.clear()

    def _write(self, name: str, rows: Float32Array) -> None:
        rest = memoryview(rows.tobytes())
        try:
            while rest:
                rest = rest[self._files[name].write(rest) :]
        except OSError as error:
            raise self._no_room(error) from error

    def _no_room(self, error: OSError) -> LspsimError:
        return LspsimError(
            f"calibration: block scores beyond {self._limit / 2**20:.0f} MiB go to a temporary "
            f"file in {tempfile.gettempdir()}, which failed: {error.strerror or error}; free "
            "space, set TMPDIR to another folder, or use fewer calibration images"
        )

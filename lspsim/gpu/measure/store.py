"""Rows of measurements as JSON lines: each is on the disk before the next is begun."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lspsim.errors import ResultError

SCHEMA = "lspsim/gpu-measurement/v1"
FINAL = ("ok", "incorrect", "unsupported", "out-of-memory")
"""Statuses that measuring again would not change; other rows are measured again."""

Row = dict[str, Any]


class Store:
    """One file of rows of one device.

    Parameters
    ----------
    path
        A `.jsonl` file; it need not exist. A line that was cut off by a crash is dropped.
    gpu
        Name of the device. Rows of two devices are never mixed in one file.

    Raises
    ------
    ResultError
        When the file holds something else, or rows of another device.
    """

    def __init__(self, path: Path, gpu: str) -> None:
        self.path = path
        self.rows: list[Row] = []
        if path.exists():
            self.rows = read_rows(path)
            _cut_off_partial_line(path)
        foreign = {row["gpu"] for row in self.rows} - {gpu}
        if foreign:
            raise ResultError(
                f"{path} holds rows of {', '.join(map(repr, sorted(foreign)))}, this is {gpu!r}; "
                "name another file with --out"
            )
        self._final = {row["key"]: row for row in self.rows if row["status"] in FINAL}
        self._tried = {row["key"] for row in self.rows}

    def final(self, key: str) -> Row | None:
        """Return the finished row of a key, or None."""
        return self._final.get(key)

    def tried(self, key: str) -> bool:
        """Whether a row of this key was there when the file was opened."""
        return key in self._tried

    def add(self, row: Row) -> None:
        """Append a row; it is on the disk when this returns.

        Raises
        ------
        ResultError
            When it cannot be written; a part of it that was is cut off by the next run.
        """
        line = json.dumps({"schema": SCHEMA, **row}, allow_nan=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ResultError(
                f"{self.path}: cannot be written: {error.strerror or error}; free disk space, or "
                "name another file with --out; finished rows stay"
            ) from error
        self.rows.append(row)
        if row["status"] in FINAL:
            self._final[row["key"]] = row


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file, without a last line that was cut off.

    Raises
    ------
    ResultError
        When a line is no row of measurements.
    """
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
            if row.pop("schema") != SCHEMA:
                raise ValueError(f'"schema" must be "{SCHEMA}"')
            for key in ("key", "kind", "gpu", "status"):
                row[key]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ResultError(
                f"{path}, line {number}: not a row of lspsim gpu measure ({error}); name another "
                "file with --out"
            ) from error
        rows.append(row)
    return rows


def _cut_off_partial_line(path: Path) -> None:
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        with open(path, "r+b") as file:
            file.truncate(whole)

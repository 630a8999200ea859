"""The event engine against cycles that the RTL took, case by case; needs no Verilator."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from lspsim.rtl import rtl_digest
from tests.rtl.tier import (
    BUILDS,
    GOLDEN,
    IDEAL_CASES,
    LAYERS_TABLE,
    STALLED_CASES,
    Build,
    cases_of,
    digest,
    layer_cases,
)

FIGURES = ("cycles", "weight_reads", "activation_reads", "accumulator_reads", "accumulator_writes")


def table(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        next(file)
        yield from csv.DictReader(file)


ROWS = list(table(GOLDEN))


@pytest.mark.parametrize("path", [GOLDEN, LAYERS_TABLE], ids=lambda path: path.name)
def test_the_table_is_that_of_this_rtl(path: Path) -> None:
    stamp = path.read_text(encoding="utf-8").partition("\n")[0]
    assert stamp == f"# rtl sha256 {rtl_digest()}", "run: python -m tests.rtl.tier [layers]"


def test_the_table_is_complete() -> None:
    names = (*(field.name for field in fields(Build)), "case")
    keys = [tuple(row[name] for name in names) for row in ROWS]
    assert len(set(keys)) == len(keys) == len(BUILDS) * (IDEAL_CASES + STALLED_CASES)
    for stationary in ("0", "1"):  # weights, outputs
        busy = [r for r in ROWS if r["output_stationary"] == stationary and r["folds"] != "0"]
        assert sum(row["ideal"] == "1" for row in busy) >= (1000, 300)[int(stationary)]
        assert sum(row["ideal"] == "0" for row in busy) >= (300, 100)[int(stationary)]
    assert {row["overlap"] for row in ROWS} == {"0", "1", "2"}
    assert {row["gather"] for row in ROWS} == {"1", "2", "3", "4", "6", "7", "8"}
    assert any(row["folds"] == "0" for row in ROWS)


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.name)
def test_event_engine_says_what_the_rtl_did(build: Build) -> None:
    own = {key: str(value) for key, value in asdict(build).items()}
    rows = [row for row in ROWS if own.items() <= row.items()]
    for row, case in zip(rows, cases_of(build), strict=True):
        assert row["digest"] == digest(case), f"case {row['case']} is drawn differently here"
        measured = {name: int(row[name]) for name in FIGURES}
        assert asdict(case.expected) == measured, f"case {row['case']}"


def test_event_engine_says_what_the_rtl_did_with_layers_of_deit() -> None:
    rows = list(table(LAYERS_TABLE))
    assert len(rows) == 50
    for row, (what, case) in zip(rows, layer_cases(), strict=True):
        assert {name: row[name] for name in what} == {k: str(v) for k, v in what.items()}
        assert asdict(case.expected) == {name: int(row[name]) for name in FIGURES}, what

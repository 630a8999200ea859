"""docs/validation.md shows what `lspsim validate` prints."""

from __future__ import annotations

from pathlib import Path

from lspsim.validate import validate_chips, validate_scalesim

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "validation.md").read_text(encoding="utf-8")


def test_chips_table() -> None:
    for e in validate_chips().entries:
        row = (
            f"| {e.chip} | `{e.quantity}` | {e.role} | {e.low:.3g} | {e.predicted:.3g} "
            f"| {e.high:.3g} | {e.published:.3g} | {e.ratio:.2f} |"
        )
        assert row in PAGE


def test_scalesim_table() -> None:
    for e in validate_scalesim("analytic").entries:
        row = (
            f"| {e.layer} | {e.m} x {e.k} x {e.n} | {e.dataflow} "
            f"| {e.folds} x {e.cycles_per_fold} | {e.scalesim_cycles} | {e.lspsim_cycles} "
            f"| {e.scalesim_sram_reads} | {e.lspsim_sram_reads} |"
        )
        assert row in PAGE

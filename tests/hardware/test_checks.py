"""Rules that span fields: each refuses what it should, and nothing else."""

from __future__ import annotations

import pytest

from lspsim.errors import ConfigError
from lspsim.hardware import load_hardware
from lspsim.hardware.checks import CHECKS
from lspsim.hardware.fields import fields_of
from lspsim.hardware.schema import Hardware

EDGE = load_hardware("edge_32x32")
SHARES = {"weights": "1/3", "activations": "1/3", "writeback": "1/3"}
OUTPUT = {"array.dataflow": "output-stationary"}
FLOAT = {"precision.number": "float", "precision.weight_bits": 16, "precision.activation_bits": 16}

CASES = [
    ({"technology": "3nm"}, {"technology": "45nm"}, "technology: there is no technology '3nm'"),
    (
        {**OUTPUT, "array.fold_overlap": "single-buffered"},
        {**OUTPUT, "array.fold_overlap": "none"},
        "array.fold_overlap: an output-stationary array has no single-buffered form",
    ),
    (
        {**OUTPUT, "array.accumulator_rows": 31},
        {**OUTPUT, "array.accumulator_rows": 32},
        "array.accumulator_rows: .* drains 32 results per column, but a bank holds 31",
    ),
    (
        {"precision.accumulator_bits": 15},
        {"precision.accumulator_bits": 16},
        "precision.accumulator_bits: 15 bits do not hold a product of 16 bits",
    ),
    (
        {**FLOAT, "precision.accumulator_bits": 8},
        {**FLOAT, "precision.accumulator_bits": 16},
        "precision.accumulator_bits: 8 bits do not hold an? operand of 16 bits",
    ),
    (
        {**FLOAT, "precision.weight_bits": 8},
        FLOAT,
        "precision.number: there is no float arithmetic for 8-bit weights",
    ),
    (
        {"array.rows": 1025, "array.cols": 512},
        {"array.rows": 1024, "array.cols": 512},
        "buffers.weight: .* one 1025x512 tile of 8-bit weights takes .* holds 512 KiB",
    ),
    (
        {"memory.channels": "separate"},
        {"memory.channels": "separate", "memory.shares": SHARES},
        "memory.channels: separate channels need their shares",
    ),
    (
        {"memory.shares": SHARES},
        {"memory.shares": None},
        "memory.shares: a shared channel has no shares",
    ),
    (
        {"memory.channels": "separate", "memory.shares": {**SHARES, "writeback": "33/100"}},
        {"memory.channels": "separate", "memory.shares": SHARES},
        "memory.shares: the shares sum to 299/300; make them sum to exactly 1",
    ),
    (
        {"cores": 2, "noc": None},
        {"cores": 2, "noc.bandwidth": "1 GB/s"},
        "cores: 2 cores need a network",
    ),
]


@pytest.mark.parametrize(("wrong", "right", "message"), CASES)
def test_rule(wrong: dict[str, object], right: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        EDGE.with_values(wrong)
    assert "\n" not in str(caught.value)
    assert EDGE.with_values(right).name == EDGE.name


def test_every_rule_reads_paths_that_exist_and_is_explained() -> None:
    known = fields_of(Hardware)
    for check in CHECKS:
        assert check.reads
        assert set(check.reads) <= set(known), check.find.__name__
        assert check.find.__doc__

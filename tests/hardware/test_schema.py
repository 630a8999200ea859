"""Hardware as a value: replacing values, writing, loading back, digests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lspsim import units
from lspsim.errors import ConfigError
from lspsim.hardware import Hardware, check_file, load_hardware

EDGE = load_hardware("edge_32x32")


def test_values_are_replaced_and_the_rest_stays() -> None:
    changed = EDGE.with_values({"array.rows": 64, "clock": "800 MHz", "array.index": "bsr"})
    assert (changed.array.rows, changed.clock_hz, changed.array.index) == (64, 800_000_000, "bsr")
    assert (
        changed.with_values({"array.rows": 32, "clock": "1 GHz", "array.index": "bitmap"}) == EDGE
    )
    assert EDGE.array.rows == 32


@pytest.mark.parametrize(
    ("value", "rows"), [(64, 64), ("64", 64), (" 64 ", 64), (np.int64(64), 64), ("+8", 8)]
)
def test_values_come_as_objects_or_as_text(value: object, rows: int) -> None:
    assert EDGE.with_values({"array.rows": value}).array.rows == rows


def test_texts_are_read_as_the_field_needs_them() -> None:
    changed = EDGE.with_values(
        {
            "memory.ideal": "true",
            "memory.dram.efficiency": "1/3",
            "name": "64",
            "vector.overlap": False,
        }
    )
    assert changed.memory.ideal is True
    assert changed.memory.dram.efficiency == Fraction(1, 3)
    assert changed.name == "64"
    assert changed.vector.overlap is False


def test_mappings_and_optional_parts() -> None:
    quad = EDGE.with_values({"cores": 4, "noc": {"bandwidth": "32 GB/s"}})
    assert quad.noc is not None
    assert quad.noc.bandwidth_bytes_per_s == 32_000_000_000
    alone = quad.with_values({"cores": 1, "noc": None})
    assert alone.noc is None
    assert quad.with_values({"cores": "1", "noc": "null"}) == alone
    split = EDGE.with_values(
        {
            "memory.channels": "separate",
            "memory.shares.weights": 0.7,
            "memory.shares": {"activations": 0.2, "writeback": "1/10"},
        }
    )
    assert split.memory.shares is not None
    assert split.memory.shares.weights == Fraction(7, 10)


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        EDGE.with_values({"array.rwos": 1, "clock": 1e9, "rows": 3, "vector.lanes": "many"})
    assert str(caught.value).splitlines() == [
        "edge_32x32: 4 mistakes",
        "edge_32x32: array.rwos: unknown key 'rwos'; did you mean 'rows'?",
        "edge_32x32: rows: unknown key 'rows'; did you mean 'array.rows'?",
        "edge_32x32: clock: the bare number 1000000000.0 has no unit, and a frequency needs one; "
        "write it with its unit, such as '1 GHz'",
        "edge_32x32: vector.lanes: 'many' is not a whole number; write one, such as 32",
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"memory.dram.bandwidth.x": 1}, "memory.dram.bandwidth is a single value"),
        ({"array": 3}, "array: this must be a section; give below it `rows: 32`, `cols: 32`"),
        ({"nonsense.rows": 3}, "unknown key 'nonsense'"),
        ({"": 3}, "unknown key ''"),
        ({"array.rows": None}, "array.rows: None is not a whole number"),
        ({"array.dataflow": "row-stationary"}, "did you mean"),
    ],
)
def test_unusable_values(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EDGE.with_values(values)


def test_hardware_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        EDGE.cores = 2
    with pytest.raises(ValidationError, match="frozen"):
        EDGE.array.rows = 2


def test_digest_follows_the_content_and_not_the_spelling(tmp_path: Path) -> None:
    respelt = EDGE.to_yaml().replace('"512 KiB"', '"0.5 MiB"').replace('"1 GHz"', '"1000 MHz"')
    file = tmp_path / "x.yaml"
    file.write_text(respelt)
    assert respelt != EDGE.to_yaml()
    assert check_file(file).digest == EDGE.digest
    assert hash(check_file(file)) == hash(EDGE)
    assert EDGE.with_values({"array.rows": 31}).digest != EDGE.digest
    assert len(EDGE.digest) == 64


def test_derived_sizes() -> None:
    assert EDGE.weight_tile_bytes == 1024
    assert EDGE.macs_per_cycle == 1024
    odd = EDGE.with_values({"array.rows": 3, "array.cols": 3, "precision.weight_bits": 4})
    assert odd.weight_tile_bytes == 5


def _text(dimension: units.Dimension, low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(lambda n: units.format_quantity(n, dimension))


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Values for `with_values` that make a valid chip, reaching every kind of field."""
    rows, cols = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    weights = draw(st.fractions(min_value=Fraction(1, 100), max_value=Fraction(1, 2)))
    activations = draw(st.fractions(min_value=Fraction(1, 100), max_value=Fraction(1, 3)))
    separate = draw(st.booleans())
    shares = {
        "weights": weights,
        "activations": activations,
        "writeback": 1 - weights - activations,
    }
    energy = draw(st.integers(1, 10**6))
    return {
        "name": draw(st.text(min_size=1, alphabet=st.characters(codec="utf-8"))),
        "description": draw(st.text(alphabet=st.characters(codec="utf-8"))),
        "source": draw(st.none() | st.text(alphabet=st.characters(codec="utf-8"))),
        "clock": draw(_text(units.FREQUENCY, 1, 10**12)),
        "cores": draw(st.integers(1, 64)),
        "noc.bandwidth": draw(_text(units.BANDWIDTH, 1, 10**15)),
        "array.rows": rows,
        "array.cols": cols,
        "array.zero_gating": draw(st.booleans()),
        "array.dataflow": draw(st.sampled_from(["weight-stationary", "input-stationary"])),
        "buffers.weight": draw(_text(units.SIZE, rows * cols, 2**50)),
        "buffers.activation": draw(_text(units.SIZE, 1, 2**50)),
        "memory.channels": "separate" if separate else "shared",
        "memory.shares": shares if separate else None,
        "memory.dram.efficiency": draw(st.fractions(min_value=Fraction(1, 10**6), max_value=1)),
        "memory.dram.latency": units.format_quantity(
            draw(st.fractions(min_value=0, max_value=1)), units.TIME
        ),
        "memory.dram.energy": {
            "value": f"{energy}/7 fJ/bit",
            "low": f"{energy}/8 fJ/bit",
            "high": f"{energy} fJ/bit",
            "source": draw(st.text(min_size=1, alphabet=st.characters(codec="utf-8"))),
        },
        "vector.latency_cycles": draw(st.integers(0, 1000)),
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(documents())
def test_saving_and_loading_loses_nothing(tmp_path: Path, values: dict[str, Any]) -> None:
    made = EDGE.with_values(values)
    file = tmp_path / "saved.yaml"
    file.write_text(made.to_yaml(), encoding="utf-8", newline="")
    again = check_file(file)
    assert again == made
    assert again.to_yaml() == made.to_yaml()
    assert again.digest == made.digest
    assert again.memory.dram.efficiency == values["memory.dram.efficiency"]


def test_the_saved_form_is_a_plain_config() -> None:
    text = EDGE.to_yaml()
    assert text.startswith("schema: lspsim/hardware/v1\nname: edge_32x32\n")
    assert '    bandwidth: "25.6 GB/s"\n    efficiency: 0.8\n' in text
    assert "null" not in text


def test_type_is_exported() -> None:
    assert isinstance(EDGE, Hardware)

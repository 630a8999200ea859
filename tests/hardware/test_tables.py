"""Tables for the command line and the docs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lspsim.hardware import hardware_table, list_presets, load_hardware, preset_names
from lspsim.hardware.fields import fields_of
from lspsim.hardware.schema import Hardware
from lspsim.hardware.tables import field_reference

DOCS = Path(__file__).parents[2] / "docs" / "hardware.md"


def test_settings_carry_units_meanings_and_sources() -> None:
    rows = {row.path: row for row in hardware_table(load_hardware("edge_32x32"))}
    assert rows["clock"].value == "1 GHz"
    assert rows["array.rows"].value == "32 PEs"
    assert rows["cores"].value == "1 core"
    assert rows["memory.ideal"].value == "false"
    assert rows["memory.dram.energy"].value == "6 pJ/bit (4 pJ/bit to 8 pJ/bit)"
    assert "LPDDR4" in rows["memory.dram.energy"].source
    assert "JESD209-4" in rows["memory.dram.bandwidth"].source
    assert all(row.description for row in rows.values())


def test_a_changed_value_loses_the_presets_source() -> None:
    changed = load_hardware("edge_32x32").with_values({"memory.dram.bandwidth": "10 GB/s"})
    rows = {row.path: row for row in hardware_table(changed)}
    assert rows["memory.dram.bandwidth"].source == ""
    assert rows["memory.dram.burst"].source != ""


def test_hardware_of_ones_own_has_a_table_too() -> None:
    own = load_hardware("edge_32x32").with_values({"name": "own"})
    assert {row.path for row in hardware_table(own) if row.source} == {"memory.dram.energy"}


def test_presets_are_listed() -> None:
    rows = {row.name: row for row in list_presets()}
    assert list(rows) == preset_names()
    quad = rows["quad_32x32"]
    assert (quad.array, quad.precision, quad.clock) == ("4 x 32x32", "int8", "1 GHz")
    assert (quad.peak, quad.dram) == ("8.192 TOPS", "25.6 GB/s")
    assert rows["tpu_like_128x128"].precision == "float16"


def test_every_field_is_described() -> None:
    for spec in fields_of(Hardware).values():
        assert spec.description, spec.path
        assert not spec.description.endswith("."), spec.path


def test_the_reference_page_is_current() -> None:
    text = DOCS.read_text(encoding="utf-8")
    _, _, rest = text.partition("<!-- fields: begin -->\n")
    table, _, _ = rest.partition("<!-- fields: end -->")
    assert table == field_reference(Hardware), "run python -m lspsim.hardware.tables"


def test_the_reference_pages_example_loads(tmp_path: Path) -> None:
    _, _, rest = DOCS.read_text(encoding="utf-8").partition("```yaml\n")
    example, _, _ = rest.partition("```")
    file = tmp_path / "tiny.yaml"
    file.write_text(example)
    assert load_hardware(file).name == "tiny"


@pytest.mark.parametrize("name", preset_names())
def test_the_reference_page_names_every_preset(name: str) -> None:
    assert f"| `{name}` |" in DOCS.read_text(encoding="utf-8")

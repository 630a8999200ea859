"""Files in: what is read, and that every mistake is named where it stands."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lspsim.errors import ConfigError
from lspsim.hardware import check_file, load_hardware

GOOD = """\
schema: lspsim/hardware/v1
name: tiny
technology: 28nm
clock: "800 MHz"
array:
  rows: 16
  cols: 8
buffers:
  weight: "64 KiB"
  activation: "512 KiB"
memory:
  dram:
    bandwidth: "12.8 GB/s"
    energy: {value: "6 pJ/bit", source: "a test"}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chip.yaml"


def mistakes(file: Path, text: str) -> list[str]:
    """What `check_file` says of a text, without the counting line and the folder."""
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        check_file(file)
    lines = str(caught.value).replace(str(file), "F").splitlines()
    if len(lines) > 1:
        assert lines.pop(0) == f"F: {len(lines)} mistakes"
    return lines


def test_a_short_file_gets_defaults(file: Path) -> None:
    file.write_text(GOOD)
    h = check_file(file)
    assert (h.clock_hz, h.cores, h.array.rows, h.array.cols) == (800_000_000, 1, 16, 8)
    assert h.array.dataflow == "weight-stationary"
    assert (h.buffers.weight_bytes, h.buffers.activation_bytes) == (65_536, 524_288)
    assert h.memory.dram.bandwidth_bytes_per_s == 12_800_000_000
    assert h.memory.dram.efficiency == Fraction(4, 5)
    assert h.memory.dram.latency_s == Fraction(1, 10**7)
    assert h.memory.dram.energy.band == (Fraction(6, 10**12),) * 3
    assert h.memory.shares is None
    assert h.noc is None
    assert h.vector.passes.softmax == 3
    assert h.technology.node_m == Fraction(28, 10**9)
    assert load_hardware(str(file)) == load_hardware(file) == h


def test_five_mistakes_are_all_named_with_line_and_column(file: Path) -> None:
    text = (
        GOOD.replace('"800 MHz"', "800000000")
        .replace("rows: 16", "rwos: 16")
        .replace('"64 KiB"', '"64 kib"')
        .replace("  dram:", "  channel: shared\n  ideal: maybe\n  dram:")
    )
    assert mistakes(file, text) == [
        "F:4:8: clock: the bare number 800000000 has no unit, and a frequency needs one; "
        "write it with its unit, such as '1 GHz'",
        "F:6:3: array.rwos: unknown key 'rwos'; did you mean 'rows'?",
        "F:9:11: buffers.weight: 'kib' is not a unit of size; did you mean 'KiB'?",
        "F:12:3: memory.channel: unknown key 'channel'; did you mean 'channels'?",
        "F:13:10: memory.ideal: 'maybe' is neither true nor false; "
        "write true or false, without quotes",
    ]


def test_rules_across_fields_are_checked_beside_faulty_fields(file: Path) -> None:
    text = GOOD.replace("800 MHz", "800 mhz").replace("cols: 8", "cols: 8192") + "cores: 2\n"
    lines = mistakes(file, text)
    assert [line.partition(": ")[0] for line in lines] == ["F:4:8", "F:9:11", "F:15:8"]
    assert "too big for its buffer" in lines[1]
    assert "2 cores need a network" in lines[2]


def test_a_rule_that_needs_a_faulty_field_is_not_guessed_at(file: Path) -> None:
    text = GOOD.replace("cols: 8", "cols: 8192").replace("rows: 16", "rows: sixteen")
    (line,) = mistakes(file, text)
    assert line == "F:6:9: array.rows: 'sixteen' is not a whole number; write one, such as 32"


def test_array_too_big_for_its_buffer_names_both_sizes(file: Path) -> None:
    (line,) = mistakes(file, GOOD.replace("rows: 16", "rows: 1024").replace("cols: 8", "cols: 128"))
    assert line.startswith("F:9:11: buffers.weight: the array is too big for its buffer")
    assert "takes 128 KiB" in line
    assert "holds 64 KiB" in line
    assert "make buffers.weight at least 128 KiB" in line


def test_every_duplicate_key_is_named(file: Path) -> None:
    text = GOOD.replace("rows: 16", "rows: 16\n  rows: 32") + "name: other\n"
    assert mistakes(file, text) == [
        "F:7:3: array.rows: given twice, first in line 6; keep one of the two",
        "F:16:1: name: given twice, first in line 2; keep one of the two",
    ]


def test_missing_keys_are_named_at_their_section(file: Path) -> None:
    text = GOOD.replace("  cols: 8\n", "").replace("name: tiny\n", "")
    one, two = mistakes(file, text)
    assert one.startswith("F:1:1: name: missing; add `name: my_chip`")
    assert two.startswith("F:4:1: array.cols: missing; add `cols: 32`")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lspsim/hardware/v1", "lspsim/hardware/v9", "schema: 'lspsim/hardware/v9' is not a choi"),
        ("  rows: 16", '  rows: "16"', "array.rows: '16' is not a whole number"),
        ("  rows: 16", "  rows: 16.5", "array.rows: 16.5 is not a whole number"),
        ("  rows: 16", "  rows: true", "array.rows: True is not a whole number"),
        ("  rows: 16", "  rows: 0", "array.rows: 0 is too small; it must be at least 1"),
        ("  rows: 16", "  rows: 10000000", "array.rows: 10000000 is too large"),
        ("  rows: 16", "  rows: [16]", "array.rows: [16] is not a whole number"),
        ("  rows: 16", "  rows:", "array.rows: None is not a whole number"),
        ("  cols: 8", "  cols: 8\n  dataflow: ws", "use weight-stationary, output-stationary or"),
        ("  cols: 8", "  cols: 8\n  index: BSR", "did you mean 'bsr'?"),
        ("name: tiny", "name: 12", "name: 12 is not a text; put it in quotes"),
        ("name: tiny", 'name: ""', "name: empty; say what it is"),
        ("28nm", "28mn", "there is no technology '28mn'; did you mean '28nm'?"),
        ("28nm", "./no_such.yaml", "there is no technology"),
        ('"64 KiB"', '"64.5 B"', "is not a whole number of B; round it to whole B"),
        ('"64 KiB"', '"0 B"', "0 B is out of range"),
        ('"800 MHz"', '"5 THz"', "a frequency here is at most 1 THz"),
        ('"800 MHz"', '"-1 Hz"', "a frequency here is more than 0"),
        ('{value: "6 pJ/bit", source: "a test"}', '"6 pJ/bit"', "energy: this must be a section"),
        ('source: "a test"', 'low: "7 pJ/bit", source: "x"', "make it low <= value <= high"),
        (', source: "a test"', "", "memory.dram.energy.source: missing"),
        ("  dram:", "  channels: separate\n  dram:", "add `shares:` with weights, activations"),
        ("  cols: 8", "  cols: 8\nlanes: 4", "did you mean 'vector.lanes'?"),
        ("  cols: 8", "  cols: 8\nzzz: {a: {b: 1}}", "zzz: unknown key 'zzz'; known here: schema"),
        ("  cols: 8", "  cols: &a 8\ncores: *a", "aliases (`*name`) are not read"),
        ("name: tiny", "name: !!python/object:os.system tiny", "the tag"),
        ("name: tiny", "name: ? [a]", "not valid YAML: mapping keys are not allowed here"),
        ("name: tiny", "? [a]\n: b", "a key is not a word"),
        ("array:", "array: {rows: 1", "not valid YAML"),
        ("array:", "\tarray:", "not valid YAML"),
    ],
)
def test_each_mistake_has_its_message(file: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    assert message in "\n".join(mistakes(file, GOOD.replace(old, new)))


def test_a_single_mistake_is_a_single_line(file: Path) -> None:
    assert mistakes(file, GOOD.replace("name: tiny", "nmae: tiny")) == [
        "F:2:1: nmae: unknown key 'nmae'; did you mean 'name'?"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- a\n- b\n", "the file holds no mapping"),
        ("just words", "the file holds no mapping"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ("a: " + "[" * 3000, "nested far too deeply"),
        ("a: " + "{b: " * 50 + "1" + "}" * 50, "nested too deeply"),
    ],
)
def test_files_that_are_no_description(file: Path, text: str, message: str) -> None:
    assert message in "\n".join(mistakes(file, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        load_hardware(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_hardware(tmp_path)
    binary = tmp_path / "model.yaml"
    binary.write_bytes(b"\x80\x04pickle")
    with pytest.raises(ConfigError, match=r"not a text file \(byte 0"):
        load_hardware(binary)


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'edge_32x23'; did you mean 'edge_32x32'") as caught:
        load_hardware("edge_32x23")
    assert "quad_32x32" in str(caught.value)


def test_a_technology_path_starts_at_the_file(file: Path) -> None:
    import lspsim.hardware.presets as presets

    own = file.parent / "own.yaml"
    own.write_text(presets.technology_path("28nm").read_text())
    file.write_text(GOOD.replace("28nm", "own.yaml"))
    h = check_file(file)
    assert h.technology_name == str(own)
    assert h.technology.arithmetic == load_hardware("edge_32x32").technology.arithmetic


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60), st.integers(0, len(GOOD)))
def test_no_text_brings_anything_but_a_description_or_a_config_error(
    file: Path, noise: str, at: int
) -> None:
    file.write_text(GOOD[:at] + noise + GOOD[at:], encoding="utf-8", newline="")
    try:
        outcome = check_file(file).schema_
    except ConfigError as error:
        outcome = str(error)
    assert outcome.startswith((str(file), "lspsim/hardware/v1"))

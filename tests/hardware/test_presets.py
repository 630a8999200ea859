"""The shipped configurations."""

from __future__ import annotations

import pytest

from lspsim.hardware import hardware_table, load_hardware, preset_names
from lspsim.hardware.checks import CHECKS
from lspsim.hardware.fields import fields_of
from lspsim.hardware.presets import config_dir
from lspsim.hardware.schema import Hardware
from lspsim.hardware.sourced import Quantity, Ratio

PRESETS = preset_names()


def test_the_named_presets_are_there() -> None:
    assert set(PRESETS) >= {
        "edge_32x32",
        "mid_64x64",
        "tpu_like_128x128",
        "quad_32x32",
        "vita_date2024",
    }
    assert [(config_dir() / f"{name}.yaml").is_file() for name in PRESETS]


@pytest.mark.parametrize("name", PRESETS)
def test_loads_under_its_own_name_and_its_technology_too(name: str) -> None:
    h = load_hardware(name)
    assert h.name == name
    assert h.description
    assert h.source
    assert h.technology.name == h.technology_name
    assert all(check.find(h) is None for check in CHECKS)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("dataflow", ["weight-stationary", "output-stationary", "input-stationary"])
def test_takes_every_dataflow(name: str, dataflow: str) -> None:
    assert load_hardware(name).with_values({"array.dataflow": dataflow}).array.dataflow == dataflow


@pytest.mark.parametrize("name", PRESETS)
def test_every_number_has_its_source(name: str) -> None:
    specs = fields_of(Hardware)
    rows = hardware_table(load_hardware(name))
    numbers = [r for r in rows if specs[r.path].kind in (int, Quantity, Ratio) or "/bit" in r.value]
    assert len(numbers) >= 20
    assert [row.path for row in numbers if not row.source] == []


def test_published_figures() -> None:
    edge = load_hardware("edge_32x32")
    assert (edge.array.rows, edge.array.cols, edge.cores) == (32, 32, 1)
    assert edge.clock_hz == 10**9
    assert edge.memory.dram.bandwidth_bytes_per_s == 3200 * 10**6 * 8
    tpu = load_hardware("tpu_v1")
    assert tpu.macs_per_cycle == 65_536
    assert tpu.buffers.activation_bytes == 24 * 2**20
    assert tpu.buffers.weight_bytes == 4 * tpu.weight_tile_bytes
    vita = load_hardware("vita_date2024")
    assert 2 * vita.macs_per_cycle * vita.clock_hz == 16_384 * 10**9
    published = load_hardware("arxiv_2510_14393")
    assert 2 * published.macs_per_cycle * published.clock_hz == 1024 * 10**9
    a = published.array
    accumulators = 2 * a.cols * a.accumulator_rows * published.precision.accumulator_bits // 8
    buffers = published.buffers
    assert buffers.weight_bytes + buffers.activation_bytes + accumulators == 232 * 1024


def test_what_is_not_public_is_said_to_be_assumed() -> None:
    rows = {row.path: row for row in hardware_table(load_hardware("vita_date2024"))}
    assert "not public" in rows["description"].value
    for path in ("cores", "array.rows", "buffers.weight", "noc.bandwidth"):
        assert rows[path].source.startswith("assumed")

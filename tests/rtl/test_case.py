"""Laying GEMMs out for the core, without a simulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lspsim.errors import ConfigError, LspsimError, MissingDependencyError, ScheduleError
from lspsim.hardware import load_hardware
from lspsim.rtl import build_simulator, lower_case, parameters_of, rtl_digest, source_names
from lspsim.rtl.generate import generate, wrapper
from lspsim.rtl.sources import sources
from lspsim.validate.rtl import make_case
from lspsim.workload import BlockMask, Gemm

EDGE = load_hardware("edge_32x32")


def test_what_has_no_rtl_is_refused_with_all_reasons() -> None:
    wrong = EDGE.with_values(
        {
            "array.dataflow": "input-stationary",
            "array.rows": 1,
            "precision.number": "float",
            "precision.weight_bits": 32,
            "precision.activation_bits": 32,
        }
    )
    with pytest.raises(ConfigError, match=r"input-stationary.*number is float.*rows is 1.*have 32"):
        parameters_of(wrong)
    with pytest.raises(ConfigError, match="gather is 5; use a divisor of array"):
        parameters_of(EDGE, 5)
    gathering = EDGE.with_values({"array.packing": "k-compact"})
    with pytest.raises(ConfigError, match=r"gather is 1; .*above 1"):
        parameters_of(gathering, 1)
    assert parameters_of(gathering).gather == 4
    assert parameters_of(gathering.with_values({"array.rows": 7})).gather == 7


def test_without_verilator_it_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"apt-get install .*verilator make g\+\+"):
        build_simulator(parameters_of(EDGE), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_too_fine_blocks_are_refused() -> None:
    hardware = EDGE.with_values({"array.packing": "k-compact"})
    mask = BlockMask(np.eye(16, dtype=bool), 4, 4)
    with pytest.raises(ScheduleError, match="gathers multiples of 8; build it with a larger"):
        lower_case(Gemm("g", 4, 64, 64, mask=mask), hardware, parameters_of(hardware))


def test_cases_are_one_core_and_one_layer() -> None:
    gemm = Gemm("g", 4, 32, 32)
    with pytest.raises(LspsimError, match="set cores=1"):
        make_case("c", gemm, EDGE.with_values({"cores": 2}), parameters_of(EDGE))
    with pytest.raises(LspsimError, match="prefetch_across_layers=false"):
        make_case("c", gemm, EDGE, parameters_of(EDGE), x_on_chip=True)


def test_sums_wrap_as_registers_do() -> None:
    hardware = EDGE.with_values({"precision.accumulator_bits": 16})
    case = lower_case(Gemm("g", 3, 200, 4), hardware, parameters_of(hardware))
    exact = case.x @ case.w.T
    assert abs(exact).max() >= 1 << 15
    assert not ((case.product() - exact) % (1 << 16)).any()
    assert case.product().min() >= -(1 << 15)
    assert case.product().max() < 1 << 15


@pytest.mark.parametrize("dataflow", ["weight-stationary", "output-stationary"])
def test_generate(dataflow: str, tmp_path: Path) -> None:
    parameters = parameters_of(EDGE.with_values({"array.dataflow": dataflow, "array.cols": 16}))
    names = {path.name for path in generate(parameters, "edge", tmp_path / "core")}
    assert names == {*source_names(), "core.sv", "README.md", "Makefile"}
    assert "| `C` | 16 |" in (tmp_path / "core" / "README.md").read_text()
    assert "parameter int C = 16," in wrapper(parameters)
    assert str(tmp_path) not in (tmp_path / "core" / "Makefile").read_text()
    generate(parameters, "edge", tmp_path / "core")  # again into its own folder
    (tmp_path / "core" / "mine.txt").touch()
    with pytest.raises(ConfigError, match=r"holds other files \(mine.txt\)"):
        generate(parameters, "edge", tmp_path / "core")


def test_the_digest_is_of_every_byte() -> None:
    files = sources()
    assert rtl_digest() == rtl_digest(files)
    for name in files:
        assert rtl_digest(files | {name: files[name] + " "}) != rtl_digest()

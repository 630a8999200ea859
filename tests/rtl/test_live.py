"""The RTL itself: it lints, and a small core computes and counts as the event engine says."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from lspsim.rtl import build_simulator
from lspsim.rtl.generate import generate
from lspsim.validate.rtl import random_case, run_cases
from tests.rtl.live import full_tier, needs_verilator
from tests.rtl.tier import BUILDS, Build, cases_of

pytestmark = needs_verilator
LINTED = [BUILDS[i] for i in (0, 1, 2, 19, 21)]
"""Every dataflow and fold overlap."""


@pytest.mark.parametrize("build", LINTED, ids=lambda build: build.name)
def test_lint(build: Build, tmp_path: Path) -> None:
    generate(build.parameters(), build.name, tmp_path / "core")
    command = ["verilator", "--lint-only", "-Wall", "-sv", "--top-module", "core"]
    files = sorted(path.name for path in (tmp_path / "core").glob("*.sv"))
    done = subprocess.run(
        [*command, *files], cwd=tmp_path / "core", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("ideal", [True, False])
def test_a_small_core(ideal: bool, rtl_cache: Path) -> None:
    build = BUILDS[0]
    parameters = build.parameters()
    simulator = build_simulator(parameters, rtl_cache)
    rng = random.Random(f"live {ideal}")
    cases = [random_case(rng, build.hardware(), parameters, ideal=ideal) for _ in range(25)]
    assert [row for row in run_cases(simulator, cases) if not row.agrees] == []
    known = set(rtl_cache.iterdir())
    assert build_simulator(parameters, rtl_cache) == simulator
    assert set(rtl_cache.iterdir()) == known


@full_tier
@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.name)
def test_every_build(build: Build, rtl_cache: Path) -> None:
    rows = run_cases(build_simulator(build.parameters(), rtl_cache), cases_of(build))
    assert [row for row in rows if not row.agrees] == []

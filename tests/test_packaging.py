"""What a newcomer meets: the public names, the README's commands, what starting imports."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lspsim

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def python(code):
    """Run `code` in a fresh interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", lspsim.__all__)
def test_every_public_name_is_there(name):
    assert getattr(lspsim, name).__name__.rpartition(".")[2] == name


def test_type_checkers_see_the_same_names():
    assert importlib.import_module("lspsim.public").__all__ == lspsim.__all__


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="'lspsim' has no attribute 'simulator'"):
        lspsim.simulator  # noqa: B018


@pytest.mark.parametrize(
    "order",
    [
        "from lspsim import simulate; import lspsim.simulate",
        "import lspsim.simulate; from lspsim import simulate",
        "from lspsim.simulate.result import SimulationResult; from lspsim import simulate",
    ],
)
def test_simulate_is_both_package_and_function(order):
    code = f"""
{order}
import lspsim
workload = lspsim.Workload([lspsim.Gemm("g", m=8, k=32, n=32)])
hardware = lspsim.load_hardware("edge_32x32")
result = simulate(workload, hardware, engine="analytic")
assert lspsim.simulate is simulate
assert lspsim.simulate.SimulationResult is type(result)
print(result.layers[0].tiles_total)
"""
    assert python(code) == "1\n"


HEAVY = ("numba", "pandas", "pyarrow", "scipy", "torch", "timm", "matplotlib")


@pytest.mark.parametrize(
    "words",
    [
        None,
        ["--help"],
        ["simulate", "--help"],
        ["check", "hw_configs/edge_32x32.yaml"],
        ["hardware", "list"],
    ],
)
def test_starting_imports_nothing_heavy(words):
    code = "import sys, lspsim\n"
    if words is not None:
        code += f"""
from lspsim.cli import main
sys.argv = ["lspsim", *{words!r}]
try:
    main()
except SystemExit as stop:
    assert not stop.code
"""
    code += f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    assert python(code).endswith("heavy: []\n")


def readme_commands():
    """Every command line of the README that sets up an environment."""
    text = (ROOT / "README.md").read_text()
    return re.findall(r"^python3 -m venv .*$", text, flags=re.MULTILINE)


def test_readme_has_two_commands_and_ci_runs_the_second():
    main_job, tests = readme_commands()
    assert main_job.endswith("&& .venv/bin/lspsim demo")
    simulating = ".venv/bin/lspsim simulate deit_base_patch16_224 --hw edge_32x32 --sparsity 0.5"
    assert simulating in (ROOT / "README.md").read_text()
    assert tests.endswith("-m pytest")
    assert tests in (ROOT / ".ci" / "run").read_text().splitlines()


def test_torch_has_an_upper_end():
    models = PROJECT["project"]["optional-dependencies"]["models"]
    assert "torch>=2.6,<2.14" in models


def test_presets_travel_in_the_wheel():
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"hw_configs": "lspsim/hw_configs"}

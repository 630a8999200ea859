import subprocess
import sys

import pytest

import lspsim.gpu

MODULES = [
    "accuracy",
    "breakeven",
    "calibrate",
    "calibrate_networks",
    "calibrate_sparse",
    "cost",
    "dense",
    "edit",
    "fitting",
    "inference",
    "kernel_time",
    "limits",
    "load",
    "lower",
    "measured",
    "model",
    "networks",
    "quantities",
    "roofline",
    "schema",
    "sparse",
    "table",
    "tables",
]


def test_the_model_needs_no_torch():
    names = ", ".join(f"lspsim.gpu.{name}" for name in MODULES)
    code = f"import sys, {names}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


@pytest.mark.parametrize("name", lspsim.gpu.__all__)
def test_public_names_are_there(name):
    assert getattr(lspsim.gpu, name).__name__ == name


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match=r"'lspsim\.gpu' has no attribute 'cuda'"):
        lspsim.gpu.cuda  # noqa: B018

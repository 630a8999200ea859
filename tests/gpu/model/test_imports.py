import subprocess
import sys
from pathlib import Path

import pytest

import lspsim.gpu

FOLDERS = ("config", "model", "fit")
MODULES = [
    f"lspsim.gpu.{folder}.{path.stem}"
    for folder in FOLDERS
    for path in sorted((Path(lspsim.gpu.__file__).parent / folder).glob("[a-z]*.py"))
]


def test_the_model_needs_no_torch():
    assert len(MODULES) > 20
    code = f"import sys, {', '.join(MODULES)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


@pytest.mark.parametrize("name", lspsim.gpu.__all__)
def test_public_names_are_there(name):
    assert getattr(lspsim.gpu, name).__name__ == name


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match=r"'lspsim\.gpu' has no attribute 'cuda'"):
        lspsim.gpu.cuda  # noqa: B018

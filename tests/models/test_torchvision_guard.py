from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

torch = pytest.importorskip("torch")

from lspsim.errors import MissingDependencyError  # noqa: E402
from lspsim.models import torchvision_guard  # noqa: E402
from lspsim.models.torchvision_guard import SYMPTOM, import_timm  # noqa: E402

FAKE_TORCHVISION = """
import torch
from pathlib import Path
count = Path(__file__).with_name("imports")
count.write_text(count.read_text() + "x" if count.exists() else "x")
torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::nms", "Meta")
"""
"""Fails as the real one does: it asks torch about an operator nobody declared."""


def python(code: str, *, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    prologue = f"import sys; sys.path.insert(0, {str(path)!r})\n" if path else ""
    return subprocess.run(
        [sys.executable, "-c", prologue + code], capture_output=True, text=True, check=False
    )


def test_timm_imports_here_and_its_models_build() -> None:
    """Whether this torchvision loads or not; if it does not, it is for the cured reason."""
    plain = python("import timm")
    assert plain.returncode == 0 or SYMPTOM in plain.stderr
    guarded = python(
        "from lspsim.models.torchvision_guard import import_timm\n"
        "timm = import_timm()\n"
        "assert timm is import_timm()\n"
        "print(timm.create_model('deit_tiny_patch16_224').num_classes)"
    )
    assert (guarded.returncode, guarded.stdout.strip()) == (0, "1000"), guarded.stderr


def test_a_torchvision_without_operators_is_imported_anew(tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text(FAKE_TORCHVISION)
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "__init__.py").write_text("import timm.sub, torchvision\nwhole = True")
    (tmp_path / "timm" / "sub.py").write_text("")
    broken = python("import timm", path=tmp_path)
    assert SYMPTOM in broken.stderr
    (tmp_path / "imports").unlink()
    cured = python(
        "from lspsim.models.torchvision_guard import import_timm\n"
        "assert import_timm().whole and import_timm() is sys.modules['timm']\n"
        "import torch\n"
        "print(torch.ops.torchvision.nms.default._schema, torch.ops.torchvision.qnms.default)",
        path=tmp_path,
    )
    assert cured.returncode == 0, cured.stderr
    assert "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" in cured.stdout
    assert (tmp_path / "imports").read_text() == "xx"


@pytest.fixture
def untouchable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make any attempt to cure something fail."""

    def touch(*_: str) -> None:
        raise AssertionError("the guard touched a healthy import")

    monkeypatch.setattr(torchvision_guard, "_forget", touch)
    monkeypatch.setattr(torchvision_guard, "_declare_operators", touch)


@pytest.mark.usefixtures("untouchable")
def test_nothing_is_touched_where_torchvision_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    timm, torchvision = ModuleType("timm"), ModuleType("torchvision")
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    assert import_timm() is timm
    assert sys.modules["torchvision"] is torchvision


@pytest.mark.usefixtures("untouchable")
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operator torchvision::roi_align does not exist"),
        ImportError("libcudart.so.12: cannot open shared object file"),
        ModuleNotFoundError("No module named 'huggingface_hub'", name="huggingface_hub"),
    ],
)
def test_any_other_error_passes_through(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(_: str) -> ModuleType:
        raise error

    monkeypatch.setattr(torchvision_guard, "import_module", fail)
    with pytest.raises(type(error), match=str(error)):
        import_timm()


def test_a_missing_timm_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingDependencyError, match=r"'timm' is not installed.*lspsim\[models\]"):
        import_timm()

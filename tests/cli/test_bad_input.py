"""Each mistake: one clear message (what, where, cure), exit code 2, nothing half-written."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from lspsim.hardware import load_hardware
from lspsim.workload import BlockMask
from lspsim.workload.mask_io import save_masks

HW = ("--hw", "edge_32x32")


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_unknown_model(refused):
    message = refused("simulate", "deit_bse_patch16_224", *HW)
    assert "no model 'deit_bse_patch16_224'" in message
    assert "did you mean deit_base_patch16_224" in message


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("vit_giant_patch14_dinov2", ("blocks.0.mlp", "GluMlp", "not modelled")),
        ("vit_so400m_patch14_siglip_224", ("attn_pool", "not modelled")),
        ("resnet18", ("resnet18", "ResNet", "supported:")),
    ],
)
def test_unsupported_operator(refused, model, named):
    message = refused("simulate", model, *HW)
    assert all(part in message for part in named)


def test_unknown_hardware(refused, small):
    message = refused("simulate", small, "--hw", "edge_32x3")
    assert "'edge_32x3'" in message
    assert "did you mean 'edge_32x32'" in message


def test_unknown_value_to_set(refused, small):
    message = refused("simulate", small, *HW, "--set", "array.rws=64")
    assert "array.rws" in message
    assert "did you mean 'rows'" in message


@pytest.mark.parametrize("text", ["array.rows", "=64", "array.rows="])
def test_malformed_set(refused, small, text):
    assert "PATH=VALUE" in refused("simulate", small, *HW, "--set", text)


@pytest.fixture
def edited(tmp_path):
    """Write the edge preset with some texts replaced."""

    def edited(*replacements):
        text = load_hardware("edge_32x32").to_yaml()
        for old, new in replacements:
            assert text.count(old) == 1, f"{old!r} must occur once in:\n{text}"
            text = text.replace(old, new)
        path = tmp_path / "core.yaml"
        path.write_text(text)
        return path

    return edited


def line_of(path, part):
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if part in line)


@pytest.mark.parametrize("command", ["check", "simulate"])
def test_five_mistakes_at_once(refused, edited, small, command):
    path = edited(
        ("  rows: 32", "  rows: -32"),
        ("  cols: 32", "  colums: 32"),
        ("dataflow: weight-stationary", "dataflow: weight-stationery"),
        ('clock: "1 GHz"', "clock: 1000000000"),
        ('burst: "64 B"', 'burst: "64 parsecs"'),
    )
    words = ("check", path) if command == "check" else ("simulate", small, "--hw", path)
    message = refused(*words)
    assert "5 mistakes" in message
    for part in ("rows: -32", "colums", "weight-stationery", "1000000000", "64 parsecs"):
        assert f"{path}:{line_of(path, part)}:" in message
    assert "did you mean 'cols'" in message
    assert "did you mean 'weight-stationary'" in message


def test_bare_number_for_a_size(refused, edited):
    text = next(
        line for line in load_hardware("edge_32x32").to_yaml().splitlines() if "  weight: " in line
    )
    path = edited((text, "  weight: 524288"))
    message = refused("check", path)
    assert f"{path}:{line_of(path, '524288')}:" in message
    assert "KiB" in message


def test_array_too_big_for_its_buffer(refused, small):
    message = refused(
        "simulate", small, *HW, "--set", "array.rows=4096", "--set", "array.cols=4096"
    )
    assert "buffers.weight" in message
    assert "16 MiB" in message


@pytest.mark.parametrize("value", ["1.5", "-0.1", "nan", "half"])
def test_sparsity_outside_0_to_1(refused, small, value):
    message = refused("simulate", small, *HW, f"--sparsity={value}")
    assert "--sparsity" in message
    assert value in message


def test_per_cent_are_recognised(refused, small):
    assert "0.5" in refused("simulate", small, *HW, "--sparsity", "50")


@pytest.mark.parametrize("value", ["32", "0x32", "32x", "32x32x32"])
def test_malformed_block(refused, small, value):
    message = refused("simulate", small, *HW, "--sparsity", "0.5", "--block", value)
    assert "--block" in message
    assert "32x32" in message


def test_two_sources_of_masks(refused, small, tmp_path):
    message = refused("simulate", small, *HW, "--sparsity", "0.5", "--masks", tmp_path / "m.npz")
    assert "--sparsity and --masks exclude each other" in message


@pytest.fixture
def masks(tmp_path):
    path = tmp_path / "masks.npz"
    save_masks(path, {"blocks.0.mlp.fc1": BlockMask(np.eye(4, 2, dtype=bool), 32, 32)})
    return path


def test_mask_of_wrong_shape(refused, small, tmp_path):
    path = tmp_path / "wrong.npz"
    save_masks(path, {"blocks.0.mlp.fc1": BlockMask(np.ones((3, 2), bool), 32, 32)})
    message = refused("simulate", small, *HW, "--masks", path)
    assert "blocks.0.mlp.fc1" in message
    assert "96x64" in message
    assert "128x64" in message


def test_mask_of_an_unknown_layer(refused, small, tmp_path):
    path = tmp_path / "other.npz"
    save_masks(path, {"blocks.7.mlp.fc1": BlockMask(np.ones((4, 2), bool), 32, 32)})
    assert "blocks.7.mlp.fc1" in refused("simulate", small, *HW, "--masks", path)


@pytest.mark.parametrize("damage", ["cut", "noise", "changed", "empty"])
def test_corrupted_npz(refused, small, masks, damage):
    whole = masks.read_bytes()
    middle = len(whole) // 2
    masks.write_bytes(
        {
            "cut": whole[:middle],
            "noise": bytes(range(256)),
            "changed": whole[:60] + bytes([whole[60] ^ 255]) + whole[61:],
            "empty": b"",
        }[damage]
    )
    assert str(masks) in refused("simulate", small, *HW, "--masks", masks)


def test_missing_npz(refused, small, tmp_path):
    assert "none.npz" in refused("simulate", small, *HW, "--masks", tmp_path / "none.npz")


@pytest.mark.parametrize("disguise", ["whole file", "member", "object array"])
def test_pickle_in_disguise_as_masks(refused, small, tmp_path, disguise):
    path, sprung = tmp_path / "masks.npz", tmp_path / "sprung"
    if disguise == "whole file":
        path.write_bytes(pickle.dumps(Trap(sprung)))
    elif disguise == "member":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("blocks.0.mlp.fc1.npy", pickle.dumps(Trap(sprung)))
    else:
        buffer = io.BytesIO()
        np.savez(buffer, **{"blocks.0.mlp.fc1": np.array([Trap(sprung)], dtype=object)})
        path.write_bytes(buffer.getvalue())
    assert str(path) in refused("simulate", small, *HW, "--masks", path)
    assert not sprung.exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_pickle_in_disguise_as_checkpoint(refused, small, tmp_path, name):
    path, sprung = tmp_path / name, tmp_path / "sprung"
    path.write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    assert str(path) in refused("simulate", small, *HW, "--checkpoint", path)
    assert not sprung.exists()


def test_workload_file_with_unknown_operator(refused, small):
    small.write_text(small.read_text().replace('"softmax", "rows"', '"fourier", "rows"'))
    message = refused("simulate", small, *HW)
    assert "fourier" in message
    assert str(small) in message


def test_out_below_a_file(refused, small, tmp_path):
    (tmp_path / "taken").write_text("mine")
    out = tmp_path / "taken" / "run"
    assert str(out) in refused("simulate", small, *HW, "--out", out)
    assert (tmp_path / "taken").read_text() == "mine"


def test_out_is_a_file(refused, small, tmp_path):
    out = tmp_path / "taken"
    out.write_text("mine")
    assert str(out) in refused("simulate", small, *HW, "--out", out)
    assert out.read_text() == "mine"


def test_out_is_somebody_elses_directory(refused, small, tmp_path):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter1.tex").write_text("mine")
    assert str(out) in refused("simulate", small, *HW, "--out", out, "--overwrite")
    assert [path.name for path in out.iterdir()] == ["chapter1.tex"]


def test_full_disk(refused, small, tmp_path, monkeypatch):
    from lspsim.report import run_directory

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_directory, "save_workload", full)
    before = sorted(tmp_path.iterdir())
    message = refused("simulate", small, *HW, "--out", tmp_path / "run")
    assert "No space left on device" in message
    assert sorted(tmp_path.iterdir()) == before


def test_trace_below_a_file(refused, small, tmp_path):
    (tmp_path / "taken").write_text("mine")
    out = tmp_path / "taken" / "trace.json.gz"
    assert str(out) in refused("trace", small, *HW, "--out", out)


def test_compare_needs_something_to_run(refused):
    assert "--model" in refused("compare", "edge_32x32", "--set", "array.rows=64")


def test_compare_needs_a_second_design(refused, small):
    assert "--set" in refused("compare", "edge_32x32", "--model", small)


def test_compare_with_no_run_directory(refused, tmp_path):
    assert str(tmp_path) in refused("compare", tmp_path, tmp_path)

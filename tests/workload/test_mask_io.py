from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lspsim.errors import WorkloadError
from lspsim.workload import BlockMask
from lspsim.workload.mask_io import MANIFEST, load_masks, save_masks

KEEP = np.array([[True, False, True], [False, True, True]])
MASKS = {
    "blocks.0.attn.qkv": BlockMask(KEEP, 4, 8),
    "blocks.0.mlp.fc1": BlockMask(KEEP, 4, 8, shape=(7, 17)),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_masks(tmp_path / "masks.npz", MASKS)
    return tmp_path / "masks.npz"


@given(rows=st.integers(1, 9), cols=st.integers(1, 9), ragged=st.booleans(), seed=st.integers(0, 9))
def test_saving_and_loading_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, rows: int, cols: int, ragged: bool, seed: int
) -> None:
    path = tmp_path_factory.mktemp("masks") / "m.npz"
    keep = np.random.default_rng(seed).random((rows, cols)) < 0.5
    masks = {"a": BlockMask(keep, 3, 5, shape=(rows * 3 - ragged, cols * 5 - 3 * ragged))}
    save_masks(path, masks)
    assert load_masks(path) == masks


def test_order_bytes_and_plain_numpy(path: Path, tmp_path: Path) -> None:
    assert list(load_masks(path)) == list(MASKS)
    save_masks(tmp_path / "again.npz", MASKS)
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
    with np.load(path, allow_pickle=False) as arrays:
        assert np.array_equal(arrays["blocks.0.mlp.fc1"], KEEP)
    save_masks(path, {})
    assert load_masks(path) == {}


@pytest.mark.parametrize(
    ("named", "asked", "refused"),
    [
        ("deit_tiny_patch16_224", "deit_small_patch16_224", True),
        ("deit_tiny_patch16_224", "lspsim/deit_digits", True),
        ("deit_tiny_patch16_224", "deit_tiny_patch16_224", False),
        ("deit_tiny_patch16_224", "deit_tiny_patch16_224.fb_in1k", False),
        ("deit_tiny_patch16_224.fb_in1k", "deit_tiny_patch16_224", False),
        ("", "deit_tiny_patch16_224", False),
        ("deit_tiny_patch16_224", "", False),
        ("runs/digits.json", "lspsim/deit_digits", False),
    ],
)
def test_a_file_that_names_its_model_is_not_taken_for_another(
    tmp_path: Path, named: str, asked: str, refused: bool
) -> None:
    path = tmp_path / "masks.npz"
    save_masks(path, MASKS, named)
    if refused:
        with pytest.raises(WorkloadError, match=f"masks.npz belongs to {named}, not to {asked}"):
            load_masks(path, asked)
    else:
        assert load_masks(path, asked) == MASKS
    assert load_masks(path) == MASKS


def rewrite(path: Path, **changes: Any) -> None:
    """Save the file's arrays again, some of them changed or (None) dropped."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def manifest_of(path: Path) -> Any:
    with np.load(path) as archive:
        return json.loads(str(archive[MANIFEST][()]))


def test_truncated_and_foreign_files(path: Path) -> None:
    content = path.read_bytes()
    middle = bytearray(content)
    middle[60:70] = b"##########"
    for damaged in (b"", b"hello", content[: len(content) // 2], content[:-9], bytes(middle)):
        path.write_bytes(damaged)
        with pytest.raises(WorkloadError, match=r"masks .*masks.npz: .*corrupted.*save_masks"):
            load_masks(path)


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_pickles_are_refused_and_not_run(path: Path, tmp_path: Path) -> None:
    bomb = np.array([Bomb(tmp_path / "ran")], dtype=object)
    np.savez(path, allow_pickle=True, **{"blocks.0.attn.qkv": bomb})
    with pytest.raises(WorkloadError, match=r"masks.npz: .*allow_pickle=False.*save_masks"):
        load_masks(path)
    path.write_bytes(pickle.dumps(bomb))
    with pytest.raises(WorkloadError, match=r"masks.npz: .*no zip archive"):
        load_masks(path)
    assert not (tmp_path / "ran").exists()


def test_changed_blocks_are_noticed(path: Path) -> None:
    rewrite(path, **{"blocks.0.mlp.fc1": ~KEEP})
    with pytest.raises(WorkloadError, match=r"layer 'blocks.0.mlp.fc1': .*digest"):
        load_masks(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (KEEP[:1], r"layer 'blocks.0.mlp.fc1': .*shape \(1, 3\), but a 7x17 weight"),
        (KEEP.astype(np.uint8), r"layer 'blocks.0.mlp.fc1': .*2-D bool array, got 2-D uint8"),
        (None, r"disagree about 'blocks.0.mlp.fc1'"),
    ],
)
def test_wrong_arrays(path: Path, array: Any, message: str) -> None:
    rewrite(path, **{"blocks.0.mlp.fc1": array})
    with pytest.raises(WorkloadError, match=message):
        load_masks(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "it has no manifest"),
        (lambda _: "{", "its manifest is malformed"),
        (lambda _: "[]", "its manifest is malformed"),
        (lambda m: json.dumps(m | {"schema": "lspsim/masks/v9"}), "schema 'lspsim/masks/v9'"),
        (lambda m: json.dumps(m | {"layers": {}}), "disagree about 'blocks.0.attn.qkv', 'blocks"),
        (
            lambda m: json.dumps(m | {"layers": {name: {"shape": 3} for name in m["layers"]}}),
            "manifest entry is malformed",
        ),
    ],
)
def test_wrong_manifests(path: Path, change: Any, message: str) -> None:
    text = None if change is None else np.array(change(manifest_of(path)))
    rewrite(path, **{MANIFEST: text})
    with pytest.raises(WorkloadError, match=message):
        load_masks(path)


def test_wrong_places_and_names(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"none.npz: cannot be read: No such file"):
        load_masks(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError):
        save_masks(tmp_path / "no" / "masks.npz", MASKS)
    for name in ("", "a/b", MANIFEST, "x.npy"):
        with pytest.raises(WorkloadError, match="cannot be stored"):
            save_masks(tmp_path / "masks.npz", {name: MASKS["blocks.0.attn.qkv"]})
    assert list(tmp_path.iterdir()) == []

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

from lspsim.errors import ModelError  # noqa: E402
from lspsim.models import load_state, masks_from_weights, workload_from_model  # noqa: E402
from lspsim.models.build import build_on_meta  # noqa: E402
from lspsim.models.torchvision_guard import import_timm  # noqa: E402
from lspsim.workload.generate import prunable_names  # noqa: E402

STATE = {"blocks.0.attn.qkv.weight": torch.ones(6, 4), "head.weight": torch.zeros(2, 4)}


def small() -> Any:
    torch.manual_seed(0)
    return import_timm().models.VisionTransformer(
        img_size=16, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=5
    )


def test_zero_blocks_of_prunable_layers_are_removed() -> None:
    model = small()
    with torch.no_grad():
        model.blocks[0].attn.qkv.weight[8:16, 20:] = 0  # the ragged last column of blocks
        model.blocks[1].mlp.fc2.weight[:, :10] = 0
        model.blocks[1].mlp.fc2.weight[0, 0] = 1
        model.head.weight[:] = 0
    masks = masks_from_weights(model, 8, 10)
    workload = workload_from_model(model, masks=dict(masks))
    assert tuple(masks) == prunable_names(workload)
    expected = np.ones((9, 3), np.bool_)
    expected[1, 2] = False
    assert np.array_equal(masks["blocks.0.attn.qkv"].keep, expected)
    fc2 = masks["blocks.1.mlp.fc2"].keep
    assert fc2.shape == (3, 10)
    assert fc2[:, 0].tolist() == [True, False, False]
    assert fc2[:, 1:].all()
    assert masks["blocks.0.mlp.fc1"].density == 1
    assert masks == masks_from_weights(model.state_dict(), 8, 10)


def test_half_precision_and_gradients_are_no_obstacle() -> None:
    weight = torch.ones(4, 4, dtype=torch.bfloat16, requires_grad=True)
    (mask,) = masks_from_weights({"blocks.3.mlp.fc1.weight": weight}, 2, 2).values()
    assert mask.keep.all()


def test_weights_without_values_or_without_blocks() -> None:
    with pytest.raises(ModelError, match=r"qkv.weight has no values.*load weights"):
        masks_from_weights(build_on_meta("deit_tiny_patch16_224"), 32, 32)
    with pytest.raises(ModelError, match=r"no prunable layer .* among the 1 weights"):
        masks_from_weights({"conv.weight": torch.ones(2, 2)}, 2, 2)


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_torch_checkpoints_are_unwrapped(tmp_path: Path, wrapper: str | None) -> None:
    path = tmp_path / "weights.pth"
    torch.save({wrapper: STATE, "epoch": 3} if wrapper else STATE, path)
    state = load_state(path)
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[key], STATE[key]) for key in STATE)


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.save_file(STATE, path)
    assert torch.equal(load_state(path)["blocks.0.attn.qkv.weight"], torch.ones(6, 4))


class Bomb:
    """Pickles to a call that leaves a file behind."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("through_torch", [True, False])
def test_a_pickle_in_disguise_is_refused_and_not_run(
    tmp_path: Path, name: str, through_torch: bool
) -> None:
    path, proof = tmp_path / name, tmp_path / "ran"
    bomb = {"model": Bomb(proof)}
    torch.save(bomb, path) if through_torch else path.write_bytes(pickle.dumps(bomb))
    with pytest.raises(ModelError, match=f"checkpoint .*{name}: (refused|not a)") as caught:
        load_state(path)
    assert not proof.exists()
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_corrupted_files(tmp_path: Path, name: str) -> None:
    whole = tmp_path / name
    safetensors.save_file(STATE, whole) if "safe" in name else torch.save(STATE, whole)
    content = whole.read_bytes()
    half = content[: len(content) // 2]
    for damaged in (b"", b"\x80", b"hello, world\n" * 9, half, content[9:]):
        whole.write_bytes(damaged)
        with pytest.raises(ModelError, match=f"checkpoint .*{name}: .*(corrupted|state dict)"):
            load_state(whole)


def test_what_is_no_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save([torch.ones(1)], path)
    with pytest.raises(ModelError, match="holds a list, not a state dict"):
        load_state(path)
    torch.save({"weight": torch.ones(1), "epoch": 3}, path)
    with pytest.raises(ModelError, match="entry 'epoch' is a int, not a tensor"):
        load_state(path)
    with pytest.raises(ModelError, match=r"none.pth: cannot be read: No such file"):
        load_state(tmp_path / "none.pth")
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        load_state(tmp_path)

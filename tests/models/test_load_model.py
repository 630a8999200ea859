from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

pytest.importorskip("torch")

from lspsim.errors import ModelError
from lspsim.models import workload_from_model
from lspsim.models.load import load_model, read_card, shipped_models
from lspsim.models.torchvision_guard import import_timm

NAME = "vit_tiny_patch16_224"
SHIPPED = sorted(shipped_models())


@pytest.fixture(scope="module")
def tiny() -> nn.Module:
    return load_model(NAME, num_classes=3)


def test_a_timm_model_with_its_own_number_of_classes(tiny: nn.Module) -> None:
    assert not tiny.training
    assert tiny.get_submodule("head").weight.shape == (3, 192)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_checkpoint_replaces_the_weights(tmp_path: Path, suffix: str, tiny: nn.Module) -> None:
    first, path = tiny, tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"model": first.state_dict()}, path)
    else:
        save_file(first.state_dict(), path)
    second = load_model(NAME, checkpoint=path, num_classes=3)
    for key, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[key])


def test_a_checkpoint_of_another_architecture_is_one_message(
    tmp_path: Path, tiny: nn.Module
) -> None:
    path = tmp_path / "other.safetensors"
    state = tiny.state_dict()
    state.pop("norm.bias")
    save_file({**state, "extra": torch.zeros(1)}, path)
    with pytest.raises(ModelError) as caught:
        load_model(NAME, checkpoint=path)
    for words in ("1 missing (norm.bias)", "1 unknown (extra)", "head.weight is [3, 192]"):
        assert words in str(caught.value)


@pytest.mark.parametrize("name", ["deit_smal_patch16_224", "lspsim/deit_digit"])
def test_an_unknown_name_suggests(name: str) -> None:
    with pytest.raises(ModelError, match=r"did you mean .*deit_"):
        load_model(name)


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = import_timm()

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ModelError, match=r"could not be fetched .*no route to host.*--checkpoint"):
        load_model(NAME, pretrained=True)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_load_and_are_extracted(name: str) -> None:
    model, card = load_model(name), read_card(shipped_models()[name])
    outputs = model(torch.zeros(2, 3, 32, 32))
    assert outputs.shape == (2, len(card["classes"]))
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    assert sum(weight.numel() for weight in model.parameters()) == card["parameters"]
    names = [gemm.name for gemm in workload_from_model(model).ops]
    assert "blocks.0.attn.qkv" in names


def test_what_ships_is_small_and_has_its_recipe() -> None:
    assert SHIPPED == ["lspsim/deit_digits", "lspsim/deit_glyphs"]
    paths = [path for card in shipped_models().values() for path in card.parent.iterdir()]
    assert sum(path.stat().st_size for path in set(paths)) < 8_000_000
    for path in shipped_models().values():
        card = read_card(path)
        assert card["training"]["command"].startswith("lspsim train ")
        assert {"validation", "test"} <= card["accuracy"].keys()
        assert {"torch", "timm", "lspsim"} <= card["versions"].keys()


def test_a_shipped_model_takes_no_other_weights_by_accident() -> None:
    with pytest.raises(ModelError, match="has its own weights and classes"):
        load_model("lspsim/deit_digits", num_classes=3)


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "cannot be read"), ("{}", '"schema" must be'), (None, "cannot be read")],
)
def test_bad_cards(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "card.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ModelError, match=words):
        load_model(str(path))
    path.write_text(json.dumps({"schema": "lspsim/model/v1"}))
    with pytest.raises(ModelError, match='"architecture" is missing'):
        load_model(str(path))

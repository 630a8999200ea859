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
from lspsim.models.cards import read_card, shipped_models
from lspsim.models.checkpoints import load_state
from lspsim.models.load import build, class_count, load_model
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
    second = load_model(NAME, checkpoint=path)
    for key, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[key])


def test_a_checkpoint_of_another_architecture_is_one_message(
    tmp_path: Path, tiny: nn.Module
) -> None:
    path = tmp_path / "other.safetensors"
    state = tiny.state_dict()
    state.pop("norm.bias")
    save_file({**state, "extra": torch.zeros(1), "norm.weight": torch.zeros(5)}, path)
    with pytest.raises(ModelError) as caught:
        load_model(NAME, checkpoint=path)
    for words in ("1 missing (norm.bias)", "1 unknown (extra)", "norm.weight is [5], not [192]"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("deit_tiny_patch16_224", {"head": 3}),
        ("deit_tiny_distilled_patch16_224", {"head": 3, "head_dist": 3}),
        ("swin_tiny_patch4_window7_224", {"head.fc": 3}),
        ("deit_tiny_patch16_224.fb_in1k", {}),
        ("lspsim/deit_digits", {"head": 3}),
        ("lspsim/deit_digits", {}),
    ],
)
def test_a_checkpoint_says_how_many_classes_there_are(
    tmp_path: Path, name: str, heads: dict[str, int]
) -> None:
    """Its workload by name and its module agree about the classifier, or that there is none."""
    count = max(heads.values(), default=0)
    shipped = shipped_models().get(name)
    if shipped is None:
        own = import_timm().create_model(name.partition(".")[0], num_classes=count)
    else:
        own = build({**read_card(shipped)["architecture"], "num_classes": count})
    path = tmp_path / "own.safetensors"
    save_file(own.state_dict(), path)
    assert class_count(name, load_state(path)) == count
    model = load_model(name, path)
    assert {head: model.get_submodule(head).weight.shape[0] for head in heads} == heads
    by_name, by_module = (
        [(op.name, op.n) for op in workload.gemms if op.name.startswith("head")]
        for workload in (workload_from_model(name, num_classes=count), workload_from_model(model))
    )
    assert by_name == by_module == list(heads.items())


def test_a_module_brings_its_own_classes(tiny: nn.Module) -> None:
    with pytest.raises(ModelError, match="leave out num_classes"):
        workload_from_model(tiny, num_classes=3)


def test_two_heads_of_different_size_do_not_fit(tmp_path: Path) -> None:
    name, path = "deit_tiny_distilled_patch16_224", tmp_path / "own.safetensors"
    state = import_timm().create_model(name, num_classes=3).state_dict()
    state["head_dist.weight"], state["head_dist.bias"] = torch.zeros(4, 192), torch.zeros(4)
    save_file(state, path)
    with pytest.raises(ModelError, match=r"head_dist.weight is \[4, 192\], not \[3, 192\]"):
        load_model(name, path)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("deit_small", "deit_small_patch16_224"),
        ("vit_base_patch16_siglip_38", "vit_base_patch16_siglip_384"),
        ("deit_dig", "lspsim/deit_digits"),
        ("swin_tinny_patch4_window7_224", "swin_tiny_patch4_window7_224"),
        ("resnot_small", None),
    ],
)
def test_suggestions_are_models_that_run(name: str, first: str | None) -> None:
    for ask in (load_model, workload_from_model):
        with pytest.raises(ModelError, match=f"no model '{name}") as caught:
            ask(f"{name}.tag")
        _, _, hint = str(caught.value).partition("did you mean ")
        close = hint.rstrip("?").split(", ") if hint else []
        assert all(one.startswith(("deit", "vit_", "swin_", "lspsim/")) for one in close)
        assert first is None or close[0] == first
        assert hint or "known are" in str(caught.value)


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

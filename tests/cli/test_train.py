"""`lspsim train`: weights, card, and going on after an interrupt."""

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from lspsim.models.cards import read_card
from lspsim.models.load import load_model
from lspsim.train import from_scratch as module


@pytest.fixture
def tiny(monkeypatch):
    """The preset of the digits with a model and epochs of a second."""
    preset = module.PRESETS["digits"]
    small = replace(
        preset,
        recipe=replace(preset.recipe, batch_size=32, bf16=False),
        embed_dim=16,
        heads=2,
        depth=1,
        patch_size=8,
        epoch_images=64,
    )
    monkeypatch.setattr(module, "PRESETS", {**module.PRESETS, "digits": small})


def test_weights_and_card(run, tiny, tmp_path):
    out = tmp_path / "models"
    answer = run("train", "digits", "--out", out, "--epochs", "1", "--seed", "3")
    assert answer.code == 0
    assert f"written: {out / 'deit_digits.safetensors'}" in answer.out
    card = read_card(out / "deit_digits.json")
    assert card["training"]["command"] == "lspsim train digits --out DIR --epochs 1 --seed 3"
    assert card["training"]["epochs_done"] == 1
    assert f"test {100 * card['accuracy']['test']:.2f} %" in answer.out
    assert load_model(str(out / "deit_digits.json")).num_classes == 10


def test_a_smaller_model_has_its_own_name_and_card(run, refused, tiny, tmp_path):
    words = ("train", "digits", "--epochs", "1", "--out")
    answer = run(*words, tmp_path, "--width", "12", "--heads", "3", "--depth", "1")
    assert answer.code == 0
    assert f"written: {tmp_path / 'deit_digits_w12_h3.safetensors'}" in answer.out
    card = read_card(tmp_path / "deit_digits_w12_h3.json")
    assert card["name"] == "deit_digits_w12_h3"
    assert card["architecture"]["embed_dim"] == card["training"]["embed_dim"] == 12
    assert card["architecture"]["num_heads"] == 3
    assert card["training"]["command"] == (
        "lspsim train digits --out DIR --epochs 1 --width 12 --heads 3 --depth 1"
    )
    model = load_model(str(tmp_path / "deit_digits_w12_h3.json"))
    assert model.get_submodule("blocks.0.mlp.fc1").weight.shape == (48, 12)
    assert "embed_dim: 12 there, 16 here" in refused(*words, tmp_path)
    message = refused(*words, tmp_path / "other", "--width", "14")
    assert "a width of 14 must be a multiple of the heads (2)" in message
    assert not (tmp_path / "other").exists()


def test_it_goes_on_after_an_interrupt(run, tiny, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    words = ("train", "digits", "--epochs", "2", "--out")
    assert run(*words, whole).code == 0
    measure, calls = module.top1, []

    def interrupt(*arguments):
        calls.append(0)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "top1", interrupt)
        assert run(*words, broken).code == 130
    assert [path.name for path in broken.iterdir()] == ["state.pt"]
    assert run(*words, broken).code == 0
    one, other = (path / "deit_digits.safetensors" for path in (whole, broken))
    assert one.read_bytes() == other.read_bytes()


def test_another_seed_is_no_continuation(run, refused, tiny, tmp_path):
    words = ("train", "digits", "--out", tmp_path, "--epochs", "1")
    assert run(*words).code == 0
    message = refused(*words, "--seed", "1")
    assert "seed" in message
    assert run(*words, "--seed", "1", "--restart").code == 0


def test_bad_input(refused, tmp_path):
    assert "glyfs" in refused("train", "glyfs", "--out", tmp_path)
    assert "--epochs" in refused("train", "digits", "--out", tmp_path, "--epochs", "0")
    assert "--width" in refused("train", "digits", "--out", tmp_path, "--width", "0")
    (tmp_path / "file").write_text("mine")
    assert "file" in refused("train", "digits", "--out", tmp_path / "file", "--epochs", "1")

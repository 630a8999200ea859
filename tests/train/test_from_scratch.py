from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file

from lspsim.errors import ModelError
from lspsim.models.cards import read_card
from lspsim.models.data import load_dataset
from lspsim.models.load import load_model
from lspsim.networks.accuracy import top1
from lspsim.train.from_scratch import PRESETS, TrainConfig, initial_model, preset, train, variant
from lspsim.train.loop import Hooks, KeepBest, Recipe, run
from lspsim.train.state import read_state, write_state

TINY = TrainConfig(
    dataset="digits",
    recipe=Recipe(epochs=3, batch_size=32, learning_rate=2e-3),
    embed_dim=16,
    heads=2,
    depth=1,
    patch_size=8,
    epoch_images=64,
)

CHILD = """
import sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from lspsim.train import from_scratch as module
from test_from_scratch import TINY
measure = module.top1
module.top1 = lambda *arguments: (time.sleep(1.5), measure(*arguments))[1]  # time to be killed
module.train(TINY, Path({out!r}))
"""


@pytest.fixture(autouse=True)
def one_thread():
    """Sums come out the same only with the same number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The tiny run, never interrupted."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    trained = train(TINY, tmp_path_factory.mktemp("whole"))
    torch.set_num_threads(before)
    return trained


def test_weights_card_and_model_agree(whole) -> None:
    card = read_card(whole.card)
    model = load_model(str(whole.card))
    assert top1(model, load_dataset("digits", "test")) == pytest.approx(
        card["accuracy"]["test"], abs=1e-5
    )
    assert card["accuracy"] == whole.accuracy
    assert card["training"]["command"] == "lspsim train digits"
    assert card["training"]["recipe"]["epochs"] == len(whole.records) == 3
    assert card["training"]["images_seen"] == 3 * 64
    assert card["parameters"] == sum(weight.numel() for weight in model.parameters())
    assert all(value.dtype == torch.float16 for value in load_file(whole.weights).values())


def test_it_descends_to_what_can_be_learnt(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 4, generator=draw)
    labels = (inputs[:, 0] > inputs[:, 1]).long()
    model = torch.nn.Linear(4, 2)

    def batches(epoch: int):
        yield from zip(inputs.split(32), labels.split(32), strict=True)

    def loss(images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(images), targets)

    recipe = Recipe(epochs=30, batch_size=32, learning_rate=0.1, weight_decay=0.0, clip=None)
    records = run(model, recipe, batches, 8, loss, tmp_path / "state.pt", {})
    assert records[-1].loss < 0.1 < records[0].loss
    assert not model.training
    assert (model(inputs).argmax(1) == labels).float().mean() > 0.97


def best_of(scores, folder: Path, start: float, **recipe):
    """Run an epoch per score; return records, weights as measured from the start on, the last."""
    model = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    weights = [1.0]

    def batches(epoch: int):
        yield torch.ones(1, 1), torch.zeros(1)

    def measure() -> dict[str, float]:
        score = scores[len(weights) - 1]
        if score is None:
            raise KeyboardInterrupt
        weights.append(model.weight.item())
        return {"score": score}

    options = {"learning_rate": 0.1, "weight_decay": 0.0, "epochs": len(scores)} | recipe
    records = run(
        model,
        Recipe(batch_size=1, **options),
        batches,
        1,
        lambda images, _: model(images).square().mean(),
        folder / "state.pt",
        {},
        hooks=Hooks(after_epoch=measure),
        keep_best=KeepBest("score", start),
    )
    return records, weights, model.weight.item()


@pytest.mark.parametrize(
    ("scores", "start", "best"),
    [
        ([3, 1, 2], 4, 2),
        ([3, 1, 1], 4, 2),
        ([3, 2, 1], 4, 3),
        ([3, 1, 2], 1, 0),
        ([3, 1, 2], 0.5, 0),
    ],
)
def test_the_best_epoch_is_kept(tmp_path: Path, scores, start: float, best: int) -> None:
    records, weights, final = best_of(scores, tmp_path, start)
    assert len(set(weights)) == 4
    assert final == weights[best]
    assert [record.scores["score"] for record in records] == scores
    assert KeepBest("score", start).epochs(records) == best


@pytest.mark.parametrize(("start", "best"), [(4, 1), (0.5, 0)])
def test_the_best_epoch_outlives_a_kill(tmp_path: Path, start: float, best: int) -> None:
    _, weights, straight = best_of([1, 3, 2], tmp_path / "straight", start)
    with pytest.raises(KeyboardInterrupt):
        best_of([1, 3, None], tmp_path, start, epochs=3)
    for _ in range(2):  # going on, and a finished run again
        records, _, resumed = best_of([2], tmp_path, start, epochs=3)
        assert len(records) == 3
        assert resumed == straight == weights[best]


def test_averages_are_what_is_measured_and_kept(tmp_path: Path) -> None:
    _, measured, final = best_of([3, 1, 2], tmp_path, 4, ema_decay=0.5)
    _, weights, _ = best_of([3, 2, 1], tmp_path / "plain", 4)
    first = (1 + weights[1]) / 2
    assert measured[1] == pytest.approx(first)
    assert final == measured[2] == pytest.approx((first + weights[2]) / 2)


def test_a_killed_run_resumes_to_the_same_weights(whole, tmp_path: Path) -> None:
    script = CHILD.format(tests=str(Path(__file__).parent), out=str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
    state, deadline = tmp_path / "state.pt", time.monotonic() + 100
    while not state.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    _, stderr = child.communicate()
    assert child.returncode == -signal.SIGKILL, stderr.decode()
    kept = torch.load(state, weights_only=True)["records"]
    assert 0 < len(kept) < TINY.recipe.epochs
    resumed = train(TINY, tmp_path)
    assert [record.loss for record in resumed.records] == [record.loss for record in whole.records]
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]


def test_a_finished_run_is_not_run_again(whole) -> None:
    again = train(TINY, whole.card.parent)
    assert again.records == whole.records
    assert again.accuracy == whole.accuracy


def test_another_configuration_is_no_continuation(whole) -> None:
    other = replace(TINY, seed=5)
    with pytest.raises(ModelError, match=r"other settings .seed: 0 there, 5 here"):
        train(other, whole.card.parent)


def test_starting_over_ignores_the_state(whole, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"damaged .*delete it to start over"):
        train(TINY, tmp_path)
    train(TINY, tmp_path, resume=False)
    assert (tmp_path / "deit_digits.safetensors").read_bytes() == whole.weights.read_bytes()


def test_shards_change_rounding_only(whole, tmp_path: Path) -> None:
    halves = train(TINY, tmp_path, shards=2)
    for one, other in zip(whole.records, halves.records, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)


def test_a_full_disk_is_one_message_and_keeps_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.pt"
    write_state(path, {"seed": 1}, {"epoch": 4})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        ModelError, match="No space left on device; what was written before is kept"
    ):
        write_state(path, {"seed": 1}, {"epoch": 5})
    monkeypatch.undo()
    state = read_state(path, {"seed": 1})
    assert state is not None
    assert state["epoch"] == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.pt"]


def test_a_loss_that_explodes_is_named(tmp_path: Path) -> None:
    recipe = replace(TINY.recipe, learning_rate=1e30, clip=None, warmup_steps=0)
    with pytest.raises(ModelError, match=r"not finite; use a lower learning rate than 1e.30"):
        train(replace(TINY, recipe=recipe), tmp_path)


def test_rates_rise_and_fall() -> None:
    recipe = Recipe(epochs=1, learning_rate=1.0, warmup_steps=10, final_fraction=0.1)
    rates = [recipe.rate_at(step, 200) for step in range(200)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == 1.0
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)
    assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize("name", ["epochs", "batch_size", "learning_rate"])
def test_recipes_that_do_nothing(name: str) -> None:
    with pytest.raises(ModelError, match=f"{name} must be above 0, got 0"):
        replace(TINY.recipe, **{name: 0})


def test_distortion_rises_to_the_end_of_the_ramp() -> None:
    config = replace(TINY, recipe=replace(TINY.recipe, epochs=10), start_strength=0.2, ramp=0.4)
    assert [round(config.strength(epoch), 3) for epoch in (0, 2, 4, 9)] == [0.2, 0.6, 1.0, 1.0]


def test_positions_are_sines_and_the_class_token_has_none() -> None:
    model = initial_model(
        {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2}, 0
    )
    positions = model.get_parameter("pos_embed")[0]
    assert not positions[0].any()
    # sine and cosine of the same angles
    assert torch.allclose(positions[1:].square().sum(1), torch.full((16,), 2.0))


def test_presets_of_names_and_folders(tmp_path: Path) -> None:
    assert preset("glyphs-hard").depth == 12
    assert preset(str(tmp_path)).dataset == str(tmp_path)
    with pytest.raises(ModelError, match=r"unknown dataset 'glyfs'.*digits, glyphs, glyphs-hard"):
        preset("glyfs")


def test_a_variant_differs_in_size_alone_and_in_its_name() -> None:
    base = PRESETS["glyphs"]
    assert variant("glyphs") == (base, "deit_glyphs")
    assert variant("glyphs", width=base.embed_dim, depth=base.depth) == (base, "deit_glyphs")
    smaller = replace(base, embed_dim=84)
    assert variant("glyphs", width=84, depth=6) == (smaller, "deit_glyphs_w84")
    other, name = variant("glyphs-hard", 80, 4, 9)
    assert other == replace(PRESETS["glyphs-hard"], embed_dim=80, heads=4, depth=9)
    assert name == "deit_glyphs_hard_w80_h4_d9"
    with pytest.raises(ModelError, match=r"a width of 85 .*the heads \(3\).*take 84 or 96"):
        variant("glyphs", width=85)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_size": 64}, "has images of 32x32 pixels, image_size is 64"),
        (
            {"heads": 3},
            r"a width of 16 must be a multiple of the heads \(3\).*take 12 or 24, or other heads",
        ),
        ({"embed_dim": 18}, r"a width of 18 .*the heads \(2\) and of 4 .*take 16 or 20"),
        ({"embed_dim": 2, "heads": 1}, r"a width of 2 .*the heads \(1\).*take 4,"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"dataset": "glyfs"}, "unknown dataset 'glyfs'"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        train(replace(TINY, **change), tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"file.*cannot be made"):
        train(TINY, tmp_path / "file")


def test_shipped_presets_are_the_shipped_cards() -> None:
    from lspsim.models.cards import shipped_models

    for name, path in shipped_models().items():
        recorded = read_card(path)["training"]
        preset = PRESETS[name.removeprefix("lspsim/deit_")]
        for field in ("seed", "depth", "embed_dim", "heads", "patch_size", "epoch_images"):
            assert recorded[field] == getattr(preset, field), field
        for field in ("epochs", "batch_size", "learning_rate", "weight_decay"):
            assert recorded["recipe"][field] == getattr(preset.recipe, field), field

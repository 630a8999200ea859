from __future__ import annotations

import itertools
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from lspsim.errors import ModelError
from lspsim.models.cache import CacheWarning
from lspsim.models.data import SPLITS, load_dataset
from lspsim.models.data import cache as image_cache
from lspsim.models.data.glyphs import ALL_FONTS, EASY, GLYPHS, HARD, GlyphSet
from lspsim.models.data.render import Distortion, glyph_atlas, render
from lspsim.models.data.stream import training_stream


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LSPSIM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


def test_class_counts() -> None:
    assert len(EASY.characters) == len(set(EASY.characters)) == 50
    assert len(HARD.characters) == len(set(HARD.characters)) >= 200


@pytest.mark.parametrize("glyphs", GLYPHS.values(), ids=list(GLYPHS))
def test_every_font_draws_every_class_differently(glyphs: GlyphSet) -> None:
    count = len(glyphs.characters)
    atlas = glyph_atlas(glyphs.characters, ALL_FONTS)
    assert (atlas.sum((1, 2, 3)) > 20).all()  # no empty drawing
    drawings = avg_pool2d(atlas, 3, 1, 1).reshape(len(ALL_FONTS), count, -1)
    drawings = drawings / drawings.norm(dim=2, keepdim=True)
    cosine = torch.einsum("fad,fbd->fab", drawings, drawings)
    cosine -= 2 * torch.eye(count)
    assert cosine.max() < (0.9 if glyphs is HARD else 0.98)


def test_an_image_depends_on_its_number_and_not_on_how_many_there_are() -> None:
    arguments = (EASY.characters, ALL_FONTS[:2])
    few, few_labels = render(*arguments, 5, [7], Distortion())
    many, many_labels = render(*arguments, 1300, [7], Distortion())  # more than one chunk
    np.testing.assert_array_equal(few, many[:5])
    np.testing.assert_array_equal(few_labels, many_labels[:5])


def test_splits_seeds_and_epochs_share_no_image(folder: Path) -> None:
    sets = [load_dataset("glyphs", split, 64, seed).images for split in SPLITS for seed in (0, 1)]
    stream = training_stream("glyphs", 64, 0, 64)
    sets += [next(iter(stream.batches(epoch, 1.0)))[0] for epoch in (0, 1)]
    for one, other in itertools.combinations(sets, 2):
        equal = (one[:, None] == other[None]).flatten(2).all(2)
        assert not equal.any()


def test_hard_fonts_of_the_test_are_never_seen_before() -> None:
    fonts = {split: set(HARD.fonts[split]) for split in SPLITS}
    assert fonts["train"] == fonts["calibration"]
    assert not fonts["train"] & fonts["validation"]
    assert not (fonts["train"] | fonts["validation"]) & fonts["test"]
    assert set.union(*fonts.values()) == set(ALL_FONTS)


def test_pixels_and_labels_fill_their_ranges(folder: Path) -> None:
    images = load_dataset("glyphs-hard", "calibration", 600)
    assert images.images.shape == (600, 3, 32, 32)
    assert images.images.dtype == torch.float32
    assert images.images.min() == -1
    assert images.images.max() == 1
    assert len(images.classes) == len(HARD.characters)
    assert len(images.labels.unique()) > 180


def test_without_distortion_a_class_is_recognised_by_its_nearest_drawing() -> None:
    clean = Distortion(clutter=0.0).scaled(0.0)
    template, names = render(EASY.characters, ALL_FONTS[:1], 400, [1], clean)
    images, labels = render(EASY.characters, ALL_FONTS[:1], 100, [2], clean)

    def shapes(pixels: np.ndarray) -> np.ndarray:
        grey = pixels.astype(np.float64).mean(1)
        ink = np.abs(grey - grey[:, :1, :1]).reshape(len(grey), -1)
        return ink / np.linalg.norm(ink, axis=1, keepdims=True)

    nearest = names[(shapes(images) @ shapes(template).T).argmax(1)]
    assert (nearest == labels).mean() > 0.95


def test_the_second_call_reads_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_dataset("glyphs", "validation", 32)
    monkeypatch.setattr(image_cache, "render", None)  # would raise if called
    second = load_dataset("glyphs", "validation", 32)
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)
    assert sorted(path.suffix for path in folder.iterdir()) == [".npy", ".npy"]


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"not an array"])
def test_a_damaged_entry_is_drawn_anew(folder: Path, damage: bytes) -> None:
    first = load_dataset("glyphs", "validation", 8)
    for path in folder.iterdir():
        path.write_bytes(damage)
    assert torch.equal(load_dataset("glyphs", "validation", 8).images, first.images)
    assert all(path.read_bytes() != damage for path in folder.iterdir())


def test_a_cache_that_cannot_be_written_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LSPSIM_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(CacheWarning, match="LSPSIM_CACHE_DIR"):
        images = load_dataset("glyphs", "validation", 8)
    assert len(images) == 8


def test_strength_ramps_from_print_to_the_full_distortion() -> None:
    full, same = Distortion(), Distortion().scaled(1.0)
    for field in fields(Distortion):
        assert getattr(same, field.name) == pytest.approx(getattr(full, field.name))
    clean = Distortion().scaled(0.0)
    assert (clean.rotation, clean.noise, clean.bar_probability) == (0, (0, 0), 0)


def test_a_stream_repeats_itself_and_leaves_out_the_rest(folder: Path) -> None:
    stream = training_stream("glyphs", 16, 3, 40)
    assert stream.steps_per_epoch == 2
    first, second = (list(stream.batches(1, 0.5)) for _ in range(2))
    assert [len(labels) for _, labels in first] == [16, 16]
    for (images, labels), (again, labels_again) in zip(first, second, strict=True):
        assert torch.equal(images, again)
        assert torch.equal(labels, labels_again)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("glyfs", "test"), r"unknown dataset 'glyfs'.*digits, glyphs, glyphs-hard"),
        (("glyphs", "tset"), r"'glyphs' has no split 'tset'.*train, calibration"),
        (("glyphs", "test", 0), "at least 1, got 0"),
        (("glyphs", "test", 5, -1), "seed must not be negative"),
    ],
)
def test_bad_requests(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_dataset(*arguments)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("torch")

from lspsim.errors import ModelError
from lspsim.models.data import SPLITS, load_dataset
from lspsim.models.load import build, load_model


def fill(folder: Path, names: list[str], count: int, shade: int = 0) -> None:
    """Write `count` images per class; the red channel holds the class."""
    for index, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.full((12, 20, 3), shade, np.uint8)
            pixels[..., 0] = 40 * index
            pixels[..., 2] = number
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    fill(tmp_path / "flat", ["ant", "bee", "cat"], 20)
    return tmp_path / "flat"


def paint(images: torch.Tensor) -> set[tuple[int, int]]:
    """Return (red, blue) of each image, back in 0 to 255."""
    mean, deviation = torch.tensor([0.485, 0.406]), torch.tensor([0.229, 0.225])
    middle = images[:, [0, 2], 16, 16] * deviation + mean
    return {(int(red), int(blue)) for red, blue in (middle * 255).round().tolist()}


def test_the_splits_of_a_flat_folder_share_nothing_and_miss_nothing(flat: Path) -> None:
    painted = []
    for split in SPLITS:
        images = load_dataset(str(flat), split, image_size=32)
        assert images.classes == ("ant", "bee", "cat")
        assert images.images.shape[1:] == (3, 32, 32)
        painted.append(paint(images.images))
        assert {40 * int(label) for label in images.labels} == {red for red, _ in painted[-1]}
    assert sum(map(len, painted)) == len(set.union(*painted)) == 60


def test_files_stay_in_their_split_when_others_come(flat: Path) -> None:
    before = paint(load_dataset(str(flat), "calibration", image_size=32).images)
    Image.fromarray(np.full((9, 9, 3), 200, np.uint8)).save(flat / "bee" / "new.png")
    after = paint(load_dataset(str(flat), "calibration", image_size=32).images)
    assert after - {(200, 200)} == before


def test_imagenet_layout_keeps_val_for_the_test(tmp_path: Path) -> None:
    fill(tmp_path / "train", ["ant", "bee"], 100)
    fill(tmp_path / "val", ["ant", "bee"], 3, shade=7)
    assert len(load_dataset(str(tmp_path), "test", image_size=32)) == 6
    rest = [load_dataset(str(tmp_path), split, image_size=32) for split in SPLITS[:3]]
    assert sum(map(len, rest)) == 200
    assert len(rest[0]) > len(rest[1]) > len(rest[2]) > 0


def test_synsets_get_the_labels_of_imagenet(tmp_path: Path) -> None:
    fill(tmp_path, ["n01440764", "n01484850"], 12)
    images = load_dataset(str(tmp_path), "train", image_size=32)
    assert len(images.classes) == 1000
    assert set(images.labels.tolist()) == {0, 2}


def test_images_come_as_the_model_wants_them(flat: Path) -> None:
    model = load_model("vit_tiny_patch16_224")
    images = load_dataset(str(flat), "test", 2, model=model).images
    assert images.shape == (2, 3, 224, 224)
    assert images.min() == -1  # mean and deviation are 0.5 there; black is -1


def test_images_are_read_when_needed(flat: Path) -> None:
    images = load_dataset(str(flat), "train", image_size=32)
    broken = sorted((flat / "ant").iterdir())
    for path in broken:
        path.write_bytes(b"no image")
    with pytest.raises(ModelError, match=r"image .*ant.*png: cannot be read"):
        list(images.batches(4))


def test_sizes_and_seeds(flat: Path) -> None:
    first = load_dataset(str(flat), "train", 10, seed=1, image_size=32)
    again = load_dataset(str(flat), "train", 10, seed=1, image_size=32)
    other = load_dataset(str(flat), "train", 10, seed=2, image_size=32)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    with pytest.raises(ModelError, match="1000 are asked for, and 20 of 60 images"):
        load_dataset(str(flat), "train", 1000)


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "ant").mkdir()
    with pytest.raises(ModelError, match="no images in class folders"):
        load_dataset(str(tmp_path), "train")


def test_a_model_without_a_timm_name_gets_images_of_its_own_size(flat: Path) -> None:
    card = {"img_size": 48, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    images = load_dataset(str(flat), "test", 2, model=build(card)).images
    assert images.shape[1:] == (3, 48, 48)
    same = load_dataset(str(flat), "test", 2, image_size=48).images
    assert torch.equal(images, same)  # as `lspsim train` showed them

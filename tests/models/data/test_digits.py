from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from lspsim.errors import ModelError
from lspsim.models.data import SPLITS, load_dataset
from lspsim.models.data.augment import augment
from lspsim.models.data.image_set import ImageSet, centred_reader
from lspsim.models.data.stream import training_stream


def test_splits_hold_every_scan_once() -> None:
    from sklearn.datasets import load_digits

    sets = [load_dataset("digits", split) for split in SPLITS]
    assert [len(images) for images in sets] == [900, 256, 241, 400]
    # the upscaled scan averages back to the scan, but for the edges between cells
    labels = torch.cat([images.labels for images in sets])
    assert np.bincount(labels).tolist() == np.bincount(load_digits().target).tolist()
    fingerprints = {image.numpy().tobytes() for images in sets for image in images.images}
    assert len(fingerprints) == len({scan.tobytes() for scan in load_digits().images})


def test_images_are_the_scans_enlarged() -> None:
    from sklearn.datasets import load_digits

    images = load_dataset("digits", "test").images
    assert images.shape == (400, 3, 32, 32)
    assert (images[:, 0] == images[:, 1]).all()
    assert (images[:, 0] == images[:, 2]).all()
    scans = load_digits().images / 8 - 1
    small = torch.nn.functional.avg_pool2d(images[:, :1], 4)[:, 0]
    distance = torch.cdist(
        small.reshape(400, -1).double(), torch.from_numpy(scans).reshape(len(scans), -1)
    )
    # each lies nearest to a scan of its own label
    labels = torch.from_numpy(load_digits().target)[distance.argmin(1)]
    assert torch.equal(labels, load_dataset("digits", "test").labels)


def test_a_smaller_set_is_a_choice_of_the_split() -> None:
    whole, some = load_dataset("digits", "test"), load_dataset("digits", "test", 20, seed=4)
    known = {image.numpy().tobytes() for image in whole.images}
    assert all(image.numpy().tobytes() in known for image in some.images)
    assert not torch.equal(some.labels, load_dataset("digits", "test", 20, seed=5).labels)


def test_too_many_images() -> None:
    with pytest.raises(
        ModelError, match="split 'calibration': 300 images asked for, there are 256"
    ):
        load_dataset("digits", "calibration", 300)


def test_batches_hold_every_image_once() -> None:
    images = load_dataset("digits", "validation")
    plain = list(images.batches(100))
    assert [len(labels) for _, labels in plain] == [100, 100, 41]
    assert torch.equal(torch.cat([pixels for pixels, _ in plain]), images.images)
    shuffled = torch.cat([labels for _, labels in images.batches(100, shuffle_seed=1)])
    assert not torch.equal(shuffled, images.labels)
    assert torch.equal(shuffled.sort().values, images.labels.sort().values)
    with pytest.raises(ModelError, match="batch size must be at least 1"):
        next(images.batches(0))


@pytest.mark.parametrize(("label", "words"), [(2, "label 2 is out of range"), (-1, "label -1")])
def test_labels_out_of_range(label: int, words: str) -> None:
    pixels = np.zeros((1, 3, 4, 4), np.uint8)
    with pytest.raises(ModelError, match=words):
        ImageSet("mine", "test", torch.tensor([label]), ("a", "b"), centred_reader(pixels))


def test_no_images() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(ModelError, match="holds no image"):
        ImageSet("mine", "test", none, ("a",), centred_reader(np.zeros((0, 3, 4, 4), np.uint8)))


def test_augmentation_is_seeded_and_vanishes_at_strength_0() -> None:
    images = load_dataset("digits", "test", 8).images
    assert torch.allclose(augment(images, 0.0, 1), images, atol=1e-5)
    assert torch.equal(augment(images, 1.0, 1), augment(images, 1.0, 1))
    assert not torch.equal(augment(images, 1.0, 1), augment(images, 1.0, 2))


def test_training_stream_shows_the_train_split_only() -> None:
    stream = training_stream("digits", 100, 0)
    assert stream.steps_per_epoch == 9
    labels = torch.cat([labels for _, labels in stream.batches(0, 1.0)])
    assert torch.equal(labels.sort().values, load_dataset("digits", "train").labels.sort().values)

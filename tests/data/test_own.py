"""Datasets of one's own."""

import numpy as np
import pytest
import torch

import parts_made
from deeptwins import data
from deeptwins.data import own
from deeptwins.errors import PartError, notes

IMAGES, LABELS = np.zeros((4, 3, 5), np.uint8), np.arange(4) % 2


@pytest.fixture
def load(monkeypatch):
    """Load a dataset whose function returns this."""

    def from_(made):
        monkeypatch.setattr(own, "check_name", lambda *_: None)
        monkeypatch.setitem(own.LOADERS, "own:made", lambda folder: made(folder) if callable(made) else made)
        return data.load("own:made")

    return from_


def test_the_example_is_loaded_as_other_data_is():
    """The documents' dataset has three classes, images that are not square, and a checksum."""
    parts_made.install()

    found = data.load(parts_made.NAMED["dataset"])

    assert (found.classes, found.image, len(found.train), len(found.test)) == (3, (1, 8, 6), 429, 108)
    assert found.checksum.startswith("sha256:")
    assert data.load(parts_made.NAMED["dataset"], image_size=4).image == (1, 4, 4)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_any_order_and_any_arrays_are_the_same_data(load, kind):
    """The checksum is of the images with their labels, in whatever order and kind of array they come."""
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 5, 3), np.uint8)
    labels, test = np.arange(6) % 2, (IMAGES[:2, ..., None].repeat(3, 3), LABELS[:2])
    order = [3, 1, 0, 5, 4, 2]

    one = load(((images, labels), test))
    other = load([[kind(images[order]), kind(labels[order])], test])

    assert one.image == (3, 3, 5)
    assert one.checksum == other.checksum
    assert torch.equal(one.train.images.at(torch.arange(6)), other.train.images.at(torch.arange(6)))


def test_the_folder_is_that_of_the_data(load, monkeypatch, tmp_path):
    """A function is called with the folder that is given, or else the cache folder."""
    monkeypatch.setattr(own, "cache_folder", lambda: tmp_path)
    asked = []

    load(lambda folder: asked.append(folder) or ((IMAGES, LABELS), (IMAGES, LABELS)))

    assert asked == [tmp_path]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (None, r"returns NoneType, and must return \(\(images, labels\), \(images, labels\)\)"),
        ((IMAGES, LABELS), r"returns tuple, and must"),
        (((IMAGES, LABELS), (IMAGES,)), r"returns tuple, and must"),
        (((IMAGES / 255, LABELS), (IMAGES, LABELS)), r"images for training of float64 \(4, 3, 5\), and must"),
        (((IMAGES, LABELS), (IMAGES[0], LABELS)), r"images for test of uint8 \(3, 5\)"),
        (((IMAGES[:0], LABELS[:0]), (IMAGES, LABELS)), r"images for training of uint8 \(0, 3, 5\)"),
        (((np.zeros((4, 3, 8, 8), np.uint8), LABELS), (IMAGES, LABELS)), r"shape \(4, 3, 8, 8\), .*channels last"),
        (((IMAGES, LABELS[:3]), (IMAGES, LABELS)), r"training of int64 \(3,\), and must return integers \(4,\)"),
        (((IMAGES, LABELS * 1.0), (IMAGES, LABELS)), r"labels for training of float64"),
        (((IMAGES, LABELS - 1), (IMAGES, LABELS)), r"labels for training from -1 to 0"),
        (((IMAGES, LABELS), (IMAGES, LABELS * 10**6)), r"labels for test from 0 to 1000000"),
    ],
)  # fmt: skip
def test_what_is_no_dataset_is_told(load, made, told):
    """What a function returns is checked, and the error says what it must be, and of which dataset."""
    with pytest.raises(PartError, match=told) as refused:
        load(made)

    assert notes(refused.value) == ["dataset = 'own:made'"]

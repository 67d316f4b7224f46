"""Tests of the datasets."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from sklearn.datasets import load_digits

from deeptwins import data
from deeptwins.data import available, datasets, files, layouts, load
from deeptwins.data.datasets import checksum
from deeptwins.errors import InputError
from layouts_made import made, write_folder
from places import DATA

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs data sets: DEEPTWINS_DATA, or ../shared/data")


def test_digits_are_those_of_scikit_learn():
    """Digits are 1,437 training and 360 test images of 8x8, of ten classes, on all levels from black to white."""
    digits = load("digits")
    assert (len(digits.train), len(digits.test), digits.classes, digits.image) == (1437, 360, 10, (1, 8, 8))
    pixels, labels = load_digits(return_X_y=True)
    assert digits.test.labels.bincount().tolist() == np.bincount(labels[::5]).tolist()
    assert digits.train.images.at(torch.arange(1437)).unique().tolist() == [int(i * 255 / 16 + 0.5) for i in range(17)]
    for i in (1, 10, 1796):  # 10 is for test
        part = digits.train if i % 5 else digits.test
        same = (
            part.images.at(torch.arange(len(part))).flatten(1) == torch.tensor(pixels[i] * 255 / 16 + 0.5).byte()
        ).all(1)
        assert part.labels[same].tolist() == [labels[i]]


def test_synthetic_can_be_learned():
    """Synthetic data has ten classes that the nearest class mean tells apart, on images that it has not seen."""
    synthetic = load("synthetic")
    assert (len(synthetic.train), len(synthetic.test), synthetic.classes) == (512, 128, 10)
    assert synthetic.image == (3, 8, 8)
    train, test = (
        part.images.at(torch.arange(len(part))).float().flatten(1) for part in (synthetic.train, synthetic.test)
    )
    means = torch.stack([train[synthetic.train.labels == label].mean(0) for label in range(10)])
    nearest = torch.cdist(test, means).argmin(1)
    assert (nearest == synthetic.test.labels).float().mean() > 0.9


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", datasets.CHECKSUMS["digits"]),
        ("synthetic", "sha256:791ac82a38dd4f5c0f2cdd479234d977ed4010950fa2ed19385409edb134fcb5"),
    ],
)
def test_embedded_datasets_never_change(name, expected):
    """What needs no file has the same checksum everywhere and for good."""
    dataset = load(name)
    assert dataset.checksum == expected == checksum(dataset.train, dataset.test)


@pytest.mark.data
@needs_data
@pytest.mark.parametrize(
    ("name", "image", "train"),
    [("fashion-mnist", (1, 28, 28), 60_000), pytest.param("cifar10", (3, 32, 32), 50_000, marks=pytest.mark.slow)],
)
def test_real_datasets_are_the_originals(name, image, train):
    """The real files pass the check against the known checksum, whole and with balanced classes."""
    dataset = load(name, DATA)
    assert (dataset.image, dataset.checksum) == (image, datasets.CHECKSUMS[name])
    assert dataset.train.labels.bincount().tolist() == [train // 10] * 10
    assert dataset.test.labels.bincount().tolist() == [1000] * 10


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_image_size_scales(name):
    """`image_size` gives any dataset another size, and with it another checksum; its own size changes nothing."""
    own, other = load(name), load(name, image_size=12)
    assert other.image == (own.image[0], 12, 12)
    assert other.checksum == checksum(other.train, other.test) != own.checksum
    assert load(name, image_size=8).checksum == own.checksum


def test_a_known_dataset_with_other_content_is_refused(monkeypatch):
    """A well-known dataset with a wrong checksum is one line that says where it lies and what to do, at any size."""
    monkeypatch.setitem(datasets.CHECKSUMS, "digits", "sha256:0")
    for size in (None, 12):
        with pytest.raises(
            InputError, match=r"^scikit-learn's digits: not the original digits: install .*scikit-learn"
        ) as error:
            load("digits", image_size=size)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["", "mnist", "digits:", "digits:x", "folder", "folder:", "PATH", "folder:PATH:", "\n", ":"]
)
def test_unknown_datasets_are_refused(name, tmp_path):
    """A name that is no dataset is one line; it lists what there is, or says which path is missing."""
    told = r"choose from digits, .*synthetic, or package\.module:attribute$|no such folder, neither here nor in"
    with pytest.raises(InputError, match=told) as error:
        load(name, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["missing", "x" * 5000, "~nobody-here/x", "nul\0l"])
def test_missing_folders_are_refused(path, tmp_path):
    """A PATH that is not there, or cannot be, is an error of one line."""
    with pytest.raises(InputError) as error:
        load(f"parquet:{path}", tmp_path)
    assert "\n" not in str(error.value)


def test_a_dataset_is_one_function_and_one_line(monkeypatch):
    """A function put into `DATASETS` is a dataset like the others: canonical order, checksum, image size."""

    def stripes(_name, _folder):
        part = files.Part(np.arange(4), np.full((4, 6, 6), 7, np.uint8))
        return files.RawDataset("stripes", part, part)

    monkeypatch.setitem(data.DATASETS, "stripes", stripes)
    dataset = load("stripes", image_size=3)
    assert (dataset.name, dataset.classes, dataset.image) == ("stripes", 4, (1, 3, 3))
    assert sorted(dataset.train.labels.tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_datasets_without_files_need_no_home(name, monkeypatch):
    """Where there is no home folder, what needs no files is there, and what does need some is an error of one line."""

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert load(name).name == name
    for other in ("cifar10", "folder:missing"):
        with pytest.raises(InputError, match=r"^no home folder .*--data DIR$"):
            load(other)
    assert dict(available())["cifar10"].startswith("no home folder")


def test_absurd_sizes_are_refused(monkeypatch):
    """A size of image that is a slip is named; one that the memory does not hold is said in one line, too."""
    with pytest.raises(InputError, match=r"^digits: recipe\.image_size = 1000000000: at most 8192 pixels$"):
        load("digits", image_size=10**9)

    def full(*_arguments):
        raise MemoryError

    monkeypatch.setattr(np, "empty", full)
    with pytest.raises(InputError, match=r"^digits: does not fit into memory; a smaller recipe\.image_size may$"):
        load("digits", image_size=12)


def test_splits_of_different_sizes_need_a_size(monkeypatch):
    """Training and test images that differ in size are refused, with recipe.image_size as the remedy."""

    def uneven(_name, _folder):
        return files.RawDataset("here", *(files.Part(np.arange(2), np.zeros((2, n, n), np.uint8)) for n in (6, 7)))

    monkeypatch.setitem(data.DATASETS, "uneven", uneven)
    with pytest.raises(InputError, match=r"here: .*6x6 and 7x7 pixels: set recipe\.image_size"):
        load("uneven")
    assert load("uneven", image_size=6).image == (1, 6, 6)


def test_available_says_where_datasets_lie(tmp_path, monkeypatch):
    """`available` names every dataset without a PATH, where it lies, with notes, or that it would be downloaded."""
    monkeypatch.setattr(layouts, "download", lambda *_: pytest.fail("downloads"))
    (tmp_path / "FashionMNIST/raw").mkdir(parents=True)
    for file in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / f"FashionMNIST/raw/{file}-ubyte").touch()
    write_folder(tmp_path / "cifar100", made(6, 5), "val")
    (tmp_path / "cifar100/train/.DS_Store").touch()
    found = dict(available(tmp_path))
    assert list(found) == ["digits", "fashion-mnist", "cifar10", "cifar100", "synthetic"]
    assert found["fashion-mnist"] == str(tmp_path / "FashionMNIST/raw")
    assert found["cifar10"] == f"not in {tmp_path}: downloaded on first use"
    assert found["cifar100"].startswith(f"{tmp_path / 'cifar100'} (the split val is the test set) (left out: 1 hidden")


def test_the_cache_folder_is_where_the_user_wants_it(tmp_path, monkeypatch):
    """Datasets lie in XDG_CACHE_HOME/deeptwins, or without it in ~/.cache/deeptwins."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / "deeptwins"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / ".cache/deeptwins"


def test_shared_datasets_are_not_copied():
    """What a spawned process does to a shared dataset shows here: it received the memory itself, not a copy."""
    dataset = load("synthetic").share()
    assert dataset.checksum == checksum(dataset.train, dataset.test)
    assert dataset.train.images.pixels.is_shared()
    assert dataset.test.labels.is_shared()
    change = "dataset.train.images.pixels.zero_(); dataset.test.labels.zero_()"
    # exec, because a spawned process cannot import what is defined here.
    process = mp.get_context("spawn").Process(target=exec, args=(change, {"dataset": dataset}))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert not dataset.train.images.at(torch.arange(512)).any()
    assert not dataset.test.labels.any()


def test_too_little_shared_memory_is_said(monkeypatch):
    """Where shared memory runs out, one line says so."""

    def full(_):
        raise RuntimeError("unable to allocate shared memory(shm)")

    dataset = load("synthetic")
    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(InputError, match="synthetic: does not fit into shared memory"):
        dataset.share()


@pytest.mark.gpu
def test_a_dataset_moves_to_the_device():
    """`to` moves labels and resident images, once: a second move gives the same tensors."""
    there = load("synthetic").to(torch.device("cuda"))
    assert there.train.images.device.type == there.train.labels.device.type == "cuda"
    again = there.to(torch.device("cuda"))
    assert again.train.images.pixels.data_ptr() == there.train.images.pixels.data_ptr()
    assert checksum(there.train, there.test) == there.checksum

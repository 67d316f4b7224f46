"""Tests of the layouts in which datasets lie in files."""

import errno
import fcntl
import gzip
import hashlib
import http.client
import os
import re
import shutil
import tarfile
import urllib.error
import zlib
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torchvision
from PIL import Image

from deeptwins.data import datasets as data
from deeptwins.data import images, layouts, load, look, parquet
from deeptwins.data.stream import Stream
from deeptwins.errors import InputError
from deeptwins.study.specs import Recipe
from layouts_made import encoded, example, made, write_cifar, write_folder, write_idx, write_parquet


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Keep these tests out of the user's cache, and let them call made-up images by well-known names."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "CHECKSUMS", {})


def write_arrays(folder, parts):
    """Write the arrays of CONTRIBUTING's worked example."""
    folder.mkdir(parents=True)
    for split, (labels, pixels) in parts.items():
        np.save(folder / f"{split}-labels.npy", labels)
        np.save(folder / f"{split}-images.npy", pixels)
    return folder


@pytest.fixture
def with_example(monkeypatch):
    """Add the worked example to the layouts."""
    name, layout = example()
    monkeypatch.setitem(layouts.LAYOUTS, name, layout)
    monkeypatch.setitem(data.DATASETS, f"{name}:PATH", partial(data._laid_out, name))


def same(one, other):
    """Whether two datasets have one checksum, and give the same batches."""
    recipe = Recipe(dataset="x", iterations=1, batch_size=16, learning_rate=1.0, shift=1, flip=True)
    streams = [Stream(dataset, recipe, 0, torch.device("cpu")) for dataset in (one, other)]
    batches = zip(*([stream.batch(t) for t in range(5)] for stream in streams), strict=True)
    return (
        one.checksum == other.checksum
        and (one.classes, one.image) == (other.classes, other.image)
        and all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in batches)
    )


def test_parts_come_out_as_they_went_in(tmp_path):
    """Every image keeps its pixels and its label, in the split that it belongs to."""
    parts = made(6, 5, 3)
    dataset = load(f"folder:{write_folder(tmp_path, parts)}")
    for split in ("train", "test"):
        labels, pixels = parts[split]
        got = getattr(dataset, split)
        expected = {(label, image.tobytes()) for label, image in zip(labels.tolist(), pixels, strict=True)}
        images = got.images.at(torch.arange(len(labels))).permute(0, 2, 3, 1).contiguous().numpy()
        assert {(label, image.tobytes()) for label, image in zip(got.labels.tolist(), images, strict=True)} == expected
    assert (dataset.classes, dataset.image) == (3, (3, 6, 5))


@pytest.mark.parametrize("image_size", [None, 4])
def test_folder_and_parquet_are_one_dataset(image_size, tmp_path):
    """The same images as ImageFolder and as Parquet, in another order, give one checksum and the same batches."""
    parts = made(6, 5, 3)
    one = load(f"folder:{write_folder(tmp_path / 'a', parts)}", image_size=image_size)
    other = load(f"parquet:{write_parquet(tmp_path / 'b', parts)}", image_size=image_size)
    assert same(one, other)
    assert one.image == ((3, 4, 4) if image_size else (3, 6, 5))


@pytest.mark.usefixtures("with_example")
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
def test_contributing_adds_a_layout(shape, tmp_path):
    """CONTRIBUTING shows how to add a layout: it is read by path, and found under the name of a well-known dataset."""
    parts = made(*shape)
    folder = write_arrays(tmp_path / "cifar10", parts)
    one = load(f"arrays:{folder}")
    assert same(one, load(f"folder:{write_folder(tmp_path / 'folder', parts)}"))
    assert same(one, load("cifar10", tmp_path))


@pytest.mark.usefixtures("with_example")
def test_a_fault_in_the_layout_that_contributing_adds_names_the_file(tmp_path):
    """A file of the worked example that is damaged, or not there, is named in one line."""
    folder = write_arrays(tmp_path / "own", made(6, 5))
    (folder / "test-images.npy").write_bytes(b"not an array")
    with pytest.raises(InputError, match=r"test-images\.npy: damaged"):
        load(f"arrays:{folder}")
    (folder / "test-labels.npy").unlink()
    with pytest.raises(InputError, match=r"test-labels\.npy: No such file or directory"):
        load(f"arrays:{folder}")


@pytest.mark.usefixtures("with_example")
def test_a_failed_download_names_every_layout(tmp_path, monkeypatch):
    """The message of a failed download says how a dataset may lie, in every layout that the table has."""

    def fail(*_, **__):
        raise RuntimeError("no network")

    monkeypatch.setattr(layouts, "dataset_class", lambda _: fail)
    with pytest.raises(InputError) as refusal:
        layouts.download("cifar10", tmp_path)
    assert str(refusal.value).endswith(
        "as cifar-10-batches-py/ (torchvision), cifar10/train-*.parquet and test-*.parquet,"
        " cifar10/train/<class>/*.png and cifar10/test/, or cifar10/train-*.npy and test-*.npy"
    )


def test_every_layout_of_fashion_mnist_is_one_dataset(tmp_path):
    """IDX files, gzipped or not, Parquet and ImageFolder are found by the dataset's name and give the same."""
    parts = made(6, 6)
    datasets = [
        load("fashion-mnist", folder, size)
        for size in (None, 4)
        for folder in (
            write_idx(tmp_path / f"idx-{size}", parts),
            write_idx(tmp_path / f"gz-{size}", parts, zipped=True),
            write_parquet(tmp_path / f"parquet-{size}/fashion-mnist/default", parts).parents[1],
            write_folder(tmp_path / f"folder-{size}/fashion-mnist", parts, classes="012").parent,
        )
    ]
    assert all(same(datasets[0], other) for other in datasets[1:4])
    assert all(same(datasets[4], other) for other in datasets[5:])
    assert (datasets[0].image, datasets[4].image) == ((1, 6, 6), (1, 4, 4))


@pytest.mark.parametrize(
    ("name", "native", "label"), [("cifar10", "CIFAR10", "label"), ("cifar100", "CIFAR100", "fine_label")]
)
def test_every_layout_of_cifar_is_one_dataset(name, native, label, tmp_path, monkeypatch):
    """Pickles as torchvision leaves them, Parquet and ImageFolder are found by the dataset's name and give the same."""
    parts = made(32, 32, 3)
    one = load(name, write_cifar(tmp_path / "pickles", parts, native, monkeypatch))
    assert same(one, load(name, write_parquet(tmp_path / f"parquet/{name}", parts, "img", label).parent))
    assert same(one, load(name, write_folder(tmp_path / f"folder/{name}", parts, "val").parent))


def test_a_changed_pixel_or_label_changes_the_checksum(tmp_path):
    """The checksum covers every pixel and every label, of training and of test images."""
    checksums = set()
    for split in ("train", "test", None):
        for kind in (0, 1):
            parts = made(6, 5)
            if split:
                array = parts[split][kind]
                array[3] = (array[3] + 1) % 3 if kind == 0 else array[3] ^ 1
            checksums.add(load(f"folder:{write_folder(tmp_path / f'{split}-{kind}', parts)}").checksum)
    assert len(checksums) == 5


@pytest.mark.parametrize("kind", ["folder", "parquet"])
@pytest.mark.parametrize("image_size", [None, 4])
def test_streaming_gives_every_image_once(kind, image_size, tmp_path, monkeypatch):
    """A dataset too large to be resident streams: the same images with the same labels, in a fixed order of its own."""
    folder = {"folder": write_folder, "parquet": write_parquet}[kind](tmp_path / "data", made(6, 5, 3))
    resident = load(f"{kind}:{folder}", image_size=image_size)
    monkeypatch.setattr(images, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(parquet, "IN_MEMORY_BYTES", 0)
    streamed = load(f"{kind}:{folder}", image_size=image_size)
    assert isinstance(streamed.train.images, images.Streamed)
    for split in ("train", "test"):
        contents = []
        for dataset in (resident, streamed):
            part = getattr(dataset, split)
            pixels = part.images.at(torch.arange(len(part))).contiguous().numpy()
            contents.append(sorted((y, x.tobytes()) for x, y in zip(pixels, part.labels.tolist(), strict=True)))
        assert contents[0] == contents[1]
    assert same(streamed, load(f"{kind}:{folder}", image_size=image_size))
    assert streamed.image == resident.image
    assert streamed.train.labels.diff().count_nonzero() > 5  # not class after class


def test_large_parquet_is_copied_once_for_random_access(tmp_path, monkeypatch):
    """Parquet files too large for memory are mapped through copies in the cache folder, made once."""
    monkeypatch.setattr(parquet, "IN_MEMORY_BYTES", 0)
    folder = write_parquet(tmp_path / "data", made(6, 5))
    load(f"parquet:{folder}")
    copies = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache/deeptwins").rglob("*.*")}
    assert [path.suffix for path in copies] == [".arrow"] * 2
    load(f"parquet:{folder}")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache/deeptwins").rglob("*.*")} == copies


def test_no_room_for_a_copy_of_large_parquet_is_said(tmp_path, monkeypatch):
    """When the cache folder cannot take the copy, one line names it."""
    monkeypatch.setattr(parquet, "IN_MEMORY_BYTES", 0)
    folder = write_parquet(tmp_path / "data", made(6, 5))
    (tmp_path / "cache").write_text("a file where the cache folder should be")
    with pytest.raises(InputError, match=r"cache/deeptwins/arrow: needs room for a copy of .*data"):
        load(f"parquet:{folder}")


def test_classes_with_numbers_for_names_are_in_their_order(tmp_path):
    """In an ImageFolder with classes 0 to 11, class 10 comes after 9, as in every other layout."""
    parts = made(4, 4, train=24, test=12, classes=12)
    one = load(f"folder:{write_folder(tmp_path / 'a', parts, classes=[str(i) for i in range(12)])}")
    assert same(one, load(f"parquet:{write_parquet(tmp_path / 'b', parts, test='validation')}"))


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
def test_equal_pixels_are_one_dataset(mode, tmp_path):
    """Grey images that are stored as if they had colour are the same dataset as grey ones."""
    parts = made(6, 5)
    folders = [write_folder(tmp_path / name, parts) for name in ("grey", "stored")]
    for path in folders[1].rglob("*.png"):
        Image.open(path).convert(mode).save(path)
    assert same(*(load(f"folder:{folder}") for folder in folders))


def test_one_image_in_colour_makes_all_rgb(tmp_path):
    """A folder of grey images has one channel; with one image in colour, be it in test, all have three."""
    folder = write_folder(tmp_path, made(6, 5))
    assert load(f"folder:{folder}").image == (1, 6, 5)
    (folder / "test/bee/colour.png").write_bytes(encoded(np.full((6, 5, 3), (0, 0, 1), np.uint8)))
    assert load(f"folder:{folder}").image == (3, 6, 5)


def test_a_path_may_be_relative_to_the_data_folder(tmp_path):
    """PATH is looked for here, then in the folder where datasets lie."""
    write_folder(tmp_path / "own", made(6, 5))
    assert load("folder:own", tmp_path).checksum == load(f"folder:{tmp_path / 'own'}").checksum


@pytest.mark.parametrize("file", ["images.zip", "images.tar.gz", "own/train-00000-of-00002.parquet"])
@pytest.mark.parametrize("layout", ["folder", "parquet"])
def test_a_file_in_the_place_of_a_folder_is_named(file, layout, tmp_path):
    """An archive, or a single file of a dataset, is there, and no folder: the line says so."""
    (tmp_path / "own").mkdir()
    (tmp_path / file).touch()
    for path in (file, f"{tmp_path}/{file}"):
        with pytest.raises(InputError, match=rf"^{path}: not a folder: unpack it if it is an archive"):
            load(f"{layout}:{path}", tmp_path)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("parquet:own", "own/train-00000-of-00002.parquet"),
        ("fashion-mnist", "FashionMNIST/raw/t10k-labels-idx1-ubyte"),
        ("folder:plain", "plain/train/ant/9.png"),
    ],
)
def test_a_pointer_of_git_lfs_is_not_called_damaged(name, file, tmp_path):
    """What a clone without Git LFS has in the place of a file is named for what it is, and not to be deleted."""
    write_parquet(tmp_path / "own", made(6, 5))
    write_idx(tmp_path, made(6, 6))
    write_folder(tmp_path / "plain", made(6, 5))
    (tmp_path / file).write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n")
    with pytest.raises(InputError, match=rf"^{tmp_path / file}: a pointer of Git LFS, .*: run git lfs pull"):
        load(name, tmp_path)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("file", ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"])
def test_truncated_idx_files_are_named(file, keep, tmp_path, *, zipped):
    """An IDX file that is cut off anywhere is one line that names it and what to do."""
    path = write_idx(tmp_path, made(6, 6), zipped=zipped) / f"FashionMNIST/raw/{file}{'.gz' if zipped else ''}"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(InputError, match=rf"{path}: damaged: delete .*raw and run again"):
        load("fashion-mnist", tmp_path)


def test_idx_files_without_images_are_refused(tmp_path):
    """A file that says of itself that it holds nothing is damaged."""
    write_idx(tmp_path, made(6, 6, test=0))
    with pytest.raises(InputError, match="t10k-labels-idx1-ubyte: damaged"):
        load("fashion-mnist", tmp_path)


def test_missing_idx_files_are_named(tmp_path):
    """A file that is missing beside the others is one line that names it."""
    path = write_idx(tmp_path, made(6, 6)) / "FashionMNIST/raw/t10k-labels-idx1-ubyte"
    path.unlink()
    with pytest.raises(InputError, match=rf"{path}: missing: delete .*raw and run again"):
        load("fashion-mnist", tmp_path)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    "name", ["{}.idx{}-ubyte", "{0}-idx{1}-ubyte/{0}-idx{1}-ubyte", "{0}.idx{1}-ubyte/{0}.idx{1}-ubyte"]
)
def test_idx_files_are_found_by_any_usual_name(name, zipped, tmp_path):
    """IDX files may have a dot for a hyphen, and lie in folders of their names, as some archives have them."""
    parts = made(6, 6)
    folder = write_idx(tmp_path / "other", parts, zipped=zipped and "/" not in name)
    for path in list((folder / "FashionMNIST/raw").iterdir()):
        stem, dimensions = re.fullmatch(r"(.*)-idx(.)-ubyte(?:\.gz)?", path.name).groups()
        content = path.read_bytes()
        path.unlink()
        target = path.parent / f"{name.format(stem, dimensions)}{path.suffix}"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
    assert same(load("fashion-mnist", folder), load("fashion-mnist", write_idx(tmp_path / "usual", parts)))


def test_idx_files_are_unzipped_by_what_they_are(tmp_path):
    """An IDX file is gzipped or not whatever its name says."""
    parts = made(6, 6)
    folder = write_idx(tmp_path / "other", parts)
    plain, other = (folder / f"FashionMNIST/raw/{split}-images-idx3-ubyte" for split in ("train", "t10k"))
    plain.write_bytes(gzip.compress(plain.read_bytes()))
    other.rename(f"{other}.gz")
    assert same(load("fashion-mnist", folder), load("fashion-mnist", write_idx(tmp_path / "usual", parts)))


@pytest.mark.parametrize("file", ["train-images.gz", "train-images-idx3-ubyte.zip", "emnist-train-images-idx3-ubyte"])
def test_idx_files_under_another_name_are_named(file, tmp_path):
    """Nothing is to be deleted where a file has a name that it does not have in a download: the line names it."""
    raw = write_idx(tmp_path, made(6, 6)) / "FashionMNIST/raw"
    (raw / "train-images-idx3-ubyte").rename(raw / file)
    with pytest.raises(
        InputError,
        match=rf"^{raw}/train-images-idx3-ubyte: no such file; beside it is {file}: if that is the same file",
    ) as error:
        load("fashion-mnist", tmp_path)
    assert "delete" not in str(error.value)


def test_pickles_under_another_name_are_named(tmp_path, monkeypatch):
    """Nothing is to be deleted where a pickle has another name: the line names it."""
    raw = write_cifar(tmp_path, made(32, 32, 3), "CIFAR10", monkeypatch) / "cifar-10-batches-py"
    (raw / "test_batch").rename(raw / "test_batch.pkl")
    with pytest.raises(
        InputError, match=rf"^{raw}/test_batch: no such file; beside it is test_batch\.pkl: if that is"
    ) as error:
        load("cifar10", tmp_path)
    assert "delete" not in str(error.value)


def test_what_systems_leave_behind_is_no_file_under_another_name(tmp_path, monkeypatch):
    """A hidden file beside the pickles is not taken for the one that is missing."""
    raw = write_cifar(tmp_path, made(32, 32, 3), "CIFAR10", monkeypatch) / "cifar-10-batches-py"
    (raw / "test_batch").rename(raw / ".DS_Store")
    with pytest.raises(InputError, match=rf"^{raw}/test_batch: missing: delete {raw} and run again"):
        load("cifar10", tmp_path)


def test_a_sound_dataset_is_never_to_be_deleted(tmp_path, monkeypatch):
    """Where a well-known name has other images, they are sound: the line says how to use them, or to move them away."""
    monkeypatch.setattr(data, "CHECKSUMS", dict.fromkeys(["fashion-mnist", "cifar10"], "sha256:0"))
    folder = write_parquet(tmp_path / "cifar10", made(6, 5))
    with pytest.raises(InputError, match=rf"^{folder}: not the original cifar10: .* give it as parquet:{folder}$"):
        load("cifar10", tmp_path)
    shutil.rmtree(folder)
    write_folder(folder, made(6, 5))
    with pytest.raises(InputError, match=rf"^{folder}: not the original cifar10: .* give it as folder:{folder}$"):
        load("cifar10", tmp_path)
    write_idx(tmp_path, made(6, 6))
    with pytest.raises(InputError, match=r"^.*raw: not the original fashion-mnist: move it away, and run again"):
        load("fashion-mnist", tmp_path)


def test_idx_files_that_do_not_belong_together_are_refused(tmp_path):
    """Labels of other images are noticed by their number."""
    raw = write_idx(tmp_path, made(6, 6)) / "FashionMNIST/raw"
    (raw / "train-labels-idx1-ubyte").write_bytes((raw / "t10k-labels-idx1-ubyte").read_bytes())
    with pytest.raises(InputError, match="40 images and 12 labels in train"):
        load("fashion-mnist", tmp_path)


@pytest.mark.parametrize("file", ["data_batch_3", "test_batch", "batches.meta"])
@pytest.mark.parametrize("gone", [False, True])
def test_damaged_pickles_are_named(file, tmp_path, monkeypatch, *, gone):
    """A pickle that is changed or missing is never opened, but one line that names it."""
    path = write_cifar(tmp_path, made(32, 32, 3), "CIFAR10", monkeypatch) / "cifar-10-batches-py" / file
    path.unlink() if gone else path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=rf"{path}: {'missing' if gone else 'damaged'}: delete .*py and run again"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("keep", [0, 3, 0.5, 0.99])
def test_truncated_parquet_is_named(keep, tmp_path):
    """A Parquet file that is cut off anywhere is one line that names it."""
    path = write_parquet(tmp_path, made(6, 5)) / "train-00001-of-00002.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(InputError, match=rf"{path}: damaged"):
        load(f"parquet:{tmp_path}")


@pytest.mark.parametrize("start", range(0, 1500, 37))
def test_parquet_with_wrong_bytes_ends_in_one_line_if_at_all(start, tmp_path):
    """Whatever bytes of a Parquet file are wrong, what is raised is an error of one line that names the file."""
    path = write_parquet(tmp_path, made(6, 5)) / "train-00000-of-00002.parquet"
    content = bytearray(path.read_bytes())
    content[start : start + 37] = bytes(byte ^ 0xA5 for byte in content[start : start + 37])
    path.write_bytes(content)
    try:
        load(f"parquet:{tmp_path}", image_size=4)
    except InputError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - it need not be raised
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"picture": [1], "label": [0]}, "must have the columns img or image .* and has picture, label"),
        ({"image": [{"bytes": b""}], "y": [0]}, "must have the columns .* label or fine_label, and has image, y"),
        ({"image": [1], "label": [0]}, "must have the columns img or image"),
        ({"image": [{"bytes": b""}], "label": ["ant"]}, "column label must hold an integer from 0 and below 1,000,000"),
        ({"image": [{"bytes": b""}], "label": [10**12]}, "column label must hold an integer from 0 and below"),
        ({"image": [{"bytes": b""}], "label": [-1]}, "column label must hold an integer"),
        ({"image": [{"bytes": b""}, {"bytes": b""}], "label": [0, None]}, "column label must hold an integer"),
        ({"image": [{"bytes": None}], "label": [0]}, "row 0: has no bytes, a path at most"),
        ({"image": [None, {"bytes": b""}], "label": [0, 0]}, "row 0: has no bytes"),
        ({"image": [{"bytes": b""}] * 2, "label": pa.array([0, 2**64 - 1], pa.uint64())}, "column label must hold"),
        ({"image": [{"bytes": b""}], "label": pa.array([2**63], pa.uint64())}, "column label must hold an integer"),
        ({"image": [{"bytes": b""}] * 2, "label": [0.0, None]}, "column label must hold an integer"),
    ],
)
def test_unfit_parquet_is_refused(columns, message, tmp_path):
    """Columns that are missing or of the wrong type are one line that names the file and what it must hold."""
    path = write_parquet(tmp_path, made(6, 5)) / "train-00000-of-00002.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(InputError, match=f"{path}.* {message}"):
        load(f"parquet:{tmp_path}")


def test_parquet_without_rows_is_refused(tmp_path):
    """A split without a single row is one line."""
    for path in write_parquet(tmp_path, made(6, 5)).glob("test-*"):
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(InputError, match=r"test-00000-of-00002\.parquet: no rows"):
        load(f"parquet:{tmp_path}")


def of_labels(train, test=None):
    """Make labelled noise whose labels are these."""
    random = np.random.default_rng(0)
    labels = {"train": train, "test": train if test is None else test}
    return {
        split: (np.array(some), random.integers(0, 256, (len(some), 6, 5), dtype=np.uint8))
        for split, some in labels.items()
    }


@pytest.mark.parametrize("kind", ["folder", "parquet", "fashion-mnist"])
@pytest.mark.parametrize("test", [[0, 0], [0, 1]])
def test_one_class_is_refused(kind, test, tmp_path):
    """Where all training images are of one class, in whatever layout, one line says that nothing can be learned."""
    parts = of_labels([0] * 8, test if kind != "folder" else [0, 0])
    name = kind
    if kind == "fashion-mnist":
        write_idx(tmp_path, parts)
    else:
        name = f"{kind}:{(write_folder if kind == 'folder' else write_parquet)(tmp_path / 'one', parts)}"
    for read in (load, look) if ":" in name else (load,):
        with pytest.raises(InputError, match=f"{tmp_path}.*: all training images are of one class"):
            read(name, tmp_path)


def test_one_other_label_is_one_class_too(tmp_path):
    """A single label is one class whatever number it is."""
    with pytest.raises(InputError, match="all training images are of one class"):
        load(f"parquet:{write_parquet(tmp_path, of_labels([7] * 8))}")


def test_images_held_out_leave_two_classes(tmp_path):
    """Where validation would take all images of the other classes, the line names its key."""
    name = f"parquet:{write_parquet(tmp_path, of_labels([0, 1]))}"
    with pytest.raises(InputError, match=r"recipe\.validation = 0\.5: leaves images of one class"):
        load(name, validation=0.5)


@pytest.mark.parametrize(
    ("train", "test", "outputs", "present"),
    [
        ([10, 200, 3000], None, "3,001", "3"),
        ([1, 2], None, "3", "2"),
        ([0, 1, 3], None, "4", "3"),
        ([0, 1], [2, 2], "3", "2"),
    ],
)
def test_labels_with_gaps_are_told(train, test, outputs, present, tmp_path):
    """Labels stay as they are: what nets get by it, and how many classes have images to learn from, is said."""
    dataset = load(f"parquet:{write_parquet(tmp_path, of_labels(train, test))}")

    assert f"{dataset.classes:,}" == outputs
    (note,) = dataset.notes
    assert f"nets get {outputs} outputs, and only {present} classes have training images" in note
    assert look(dataset.name).endswith(note)


def test_labels_without_gaps_need_no_word(tmp_path):
    """Where every class has training images there is nothing to tell; of each class its images are counted."""
    dataset = load(f"parquet:{write_parquet(tmp_path, of_labels([0, 1, 1, 2]))}")

    assert (dataset.notes, dataset.counts) == ((), [1, 2, 1])


def test_classes_that_are_held_out_whole_are_told(tmp_path):
    """Where validation takes all images of some classes, that is said, and nothing of gaps in the labels."""
    name = f"parquet:{write_parquet(tmp_path, of_labels([0, 0, 0, 0, 1, 1, 1, 1, 2, 2]))}"
    few, many = (load(name, validation=share) for share in (0.1, 0.5))

    assert (few.notes, len(few.counts)) == ((), 3)
    assert many.notes == ("recipe.validation = 0.5: leaves no training image of 1 of 3 classes",)
    assert len(many.counts) == 2


def test_two_parquet_datasets_in_one_folder_are_refused(tmp_path):
    """Train files in two folders are two datasets, which are not mixed."""
    for name in "ab":
        write_parquet(tmp_path / name, made(6, 5))
    with pytest.raises(InputError, match="more than one folder"):
        load(f"parquet:{tmp_path}")


@pytest.mark.parametrize(
    ("take", "message"),
    [
        ("train", "must hold train/<class>"),
        ("test", "must hold train/<class>"),
        ("train/bee", "test/bee: no such class in "),
        ("train/bee/*", "train/bee: no images"),
        ("test/*/*", "test: no images in <class>/ folders"),
        ("*/*", "train: no images in <class>/ folders"),
    ],
)
def test_incomplete_folders_are_refused(take, message, tmp_path):
    """An ImageFolder without a split, or with classes that do not match, is one line that names the folder."""
    folder = write_folder(tmp_path / "data", made(6, 5))
    for i, path in enumerate(list(folder.glob(take))):
        path.rename(tmp_path / f"taken-{i}")
    with pytest.raises(InputError, match=rf"^{folder}.*{message}"):
        load(f"folder:{folder}")


@pytest.mark.parametrize("limit", [0, 2**30])
def test_images_that_vanish_are_named(limit, tmp_path, monkeypatch):
    """An image that cannot be read, be it when a batch needs it, is one line that names its file."""
    monkeypatch.setattr(images, "RESIDENT_BYTES", limit)
    folder = write_folder(tmp_path, made(6, 5))
    streamed = load(f"folder:{folder}").train.images
    path = folder / "train/bee/4.png"
    path.unlink()
    path.symlink_to("nowhere.png")
    with pytest.raises(InputError, match=f"{path}: cannot be read"):
        (streamed if limit == 0 else load(f"folder:{folder}").train.images).at(torch.arange(40))


def test_streamed_images_that_get_another_size_are_named(tmp_path, monkeypatch):
    """Images that are of one size when they are first read, and of another when a batch needs them, make no batch."""
    monkeypatch.setattr(images, "RESIDENT_BYTES", 0)
    streamed = load(f"folder:{write_folder(tmp_path, made(6, 5))}").train.images
    write_folder(tmp_path, made(8, 8))
    with pytest.raises(InputError, match=r"train/.*png: 8x8 pixels, and had 5x6 when it was first read"):
        streamed.at(torch.arange(40))


def test_files_that_are_no_images_are_passed_over(tmp_path):
    """Notes, hidden folders and the like beside the images do not matter."""
    folder = write_folder(tmp_path, made(6, 5))
    before = load(f"folder:{folder}").checksum
    (folder / "train/bee/notes.txt").write_text("bees")
    (folder / "train/.hidden").mkdir()
    assert load(f"folder:{folder}").checksum == before


CUT_OFF = http.client.IncompleteRead(b"")


@pytest.mark.parametrize("name", [*layouts.NATIVE])
@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("no route\nto host"), RuntimeError("Error downloading"), CUT_OFF,
        RuntimeError("File not found or corrupted."), tarfile.ReadError("unexpected end of data"), EOFError("cut off"),
        zlib.error("invalid block"), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt(),
    ],
    ids=["network", "mirrors", "cut off", "checksum", "archive", "gzip", "zlib", "full disk", "Ctrl-C"],
)  # fmt: skip
def test_a_download_that_fails_leaves_nothing(error, name, tmp_path, monkeypatch):
    """All it has written is gone, new folders too; one line names the folder and the layouts that it may hold."""
    kept = tmp_path / "kept"
    kept.mkdir()
    data_folder = kept / "new" / "data"

    def fail(place, *_, **__):
        folder = place / layouts.NATIVE[name].folder
        folder.mkdir(parents=True)
        (folder / "train-labels-idx1-ubyte.gz").write_bytes(b"half")
        (folder / "data_batch_1").write_bytes(b"half")
        raise error

    monkeypatch.setattr(torchvision.datasets, layouts.NATIVE[name].torchvision_class, fail)
    with pytest.raises((InputError, KeyboardInterrupt)) as caught:
        load(name, data_folder)

    if not isinstance(error, KeyboardInterrupt):
        assert re.match(rf"{name}: not in {data_folder}, .*{layouts.NATIVE[name].folder}/.*parquet", str(caught.value))
        assert "\n" not in str(caught.value)
    assert [*tmp_path.rglob("*")] == [kept]
    assert (name, f"not in {data_folder}: downloaded on first use") in data.available(data_folder)


def test_what_a_kill_leaves_of_a_download_is_no_data(tmp_path, monkeypatch):
    """It is taken for no dataset, and removed by the next download; that of a process which goes on is not."""
    parts = made(6, 6)
    write_idx(tmp_path / ".fashion-mnist-killed.part", parts)
    going = tmp_path / ".fashion-mnist-going.part"
    going.mkdir()
    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", lambda place, download: write_idx(place, parts))
    assert ("fashion-mnist", f"not in {tmp_path}: downloaded on first use") in data.available(tmp_path)

    holder = os.open(going, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    load("fashion-mnist", tmp_path)
    os.close(holder)

    assert sorted(path.name for path in tmp_path.iterdir()) == [going.name, "FashionMNIST"]


def test_an_archive_that_somebody_has_brought_is_not_downloaded(tmp_path, monkeypatch, capsys):
    """Torchvision finds CIFAR's archive where it downloads to, if it is the right one."""
    seen = []

    class Fetch:
        filename, tgz_md5 = "cifar.tar.gz", hashlib.md5(b"right", usedforsecurity=False).hexdigest()

        def __init__(self, place, *, download):
            seen.append((place / self.filename).exists())
            raise RuntimeError

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Fetch)
    for content in (b"right", b"cut off"):
        (tmp_path / "cifar.tar.gz").write_bytes(content)
        with pytest.raises(InputError):
            load("cifar10", tmp_path)

    assert seen == [True, False]
    assert capsys.readouterr().err.count("downloading") == 1


@pytest.mark.parametrize("name", [*layouts.NATIVE])
def test_what_lacks_a_file_is_told_before_it_is_used(name, tmp_path):
    """A folder that another program's download has left incomplete is named as such in the list of what is there."""
    (tmp_path / layouts.NATIVE[name].folder).mkdir(parents=True)
    (tmp_path / layouts.NATIVE[name].folder / "t10k-labels-idx1-ubyte.gz").touch()
    (tmp_path / layouts.NATIVE[name].folder / "data_batch_1").touch()

    with pytest.raises(InputError) as caught:
        load(name, tmp_path)

    assert dict(data.available(tmp_path))[name] == str(caught.value)


def test_what_is_missing_is_downloaded(tmp_path, monkeypatch, capsys):
    """A dataset that is not there is downloaded by torchvision into the folder, by default the cache; it is told."""
    parts = made(6, 6)
    calls = []

    def fetch(root, *, download):
        calls.append((root, download))
        write_idx(root, parts)

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fetch)
    fetched = [load("fashion-mnist", tmp_path / "new"), load("fashion-mnist", tmp_path / "new"), load("fashion-mnist")]
    assert [(place.parent, download) for place, download in calls] == [
        (tmp_path / "new", True), (tmp_path / "cache/deeptwins", True)
    ]  # fmt: skip
    said = [f"downloading fashion-mnist into {tmp_path / place}" for place in ("new", "cache/deeptwins")]
    assert capsys.readouterr().err.splitlines() == said
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["FashionMNIST"]
    assert same(fetched[0], fetched[1])
    assert same(fetched[0], fetched[2])


def test_a_dataset_that_is_there_needs_no_network(tmp_path, monkeypatch):
    """What lies in the folder, in any layout, is used without asking torchvision to download."""
    monkeypatch.setattr(layouts, "download", lambda *_: pytest.fail("downloads"))
    write_parquet(tmp_path / "cifar100", made(6, 6, 3), "img", "fine_label")
    assert load("cifar100", tmp_path).classes == 3

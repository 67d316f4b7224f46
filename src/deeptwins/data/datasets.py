"""Datasets: found, loaded and checked, as uint8 images in an order that depends on their content alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deeptwins.data import images, layouts
from deeptwins.data.files import Labels, Part, RawDataset, cache_folder
from deeptwins.data.images import Images
from deeptwins.data.own import read_own
from deeptwins.errors import InputError, of_a_part
from deeptwins.system import importing

# Checksums of the originals as downloaded, in the order of `_ordered`. torchvision checks cifar100 itself.
CHECKSUMS = {
    "digits": "sha256:2b79c98f9dda1bdb09e26a1750c70a9a58556e4c7905362f640b0ae2b3b63864",
    "fashion-mnist": "sha256:1228026260807cb878f28e3c45e85d45def79c2276c9da3eb618a070e47de463",
    "cifar10": "sha256:b22f272612d432b47a0c077a5ed7df388d06fc457c802e862319fb686309f873",
}
IMAGE_SIZE = 8192  # pixels per side; with more, Pillow would call an image damaged, and it is a slip anyway


@dataclass(frozen=True)
class Split:
    """One part of a dataset: int64 labels (N,), and images that `images.at(indices)` gives as uint8 (B, C, H, W)."""

    labels: Tensor
    images: Images

    def __len__(self) -> int:
        """Count the images."""
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """Labelled images for training and test, and maybe for validation; `image` is (channels, height, width).

    The same images have the same order and checksum, whatever files they lie in, and however many are held out.
    """

    name: str
    train: Split
    test: Split
    classes: int
    image: tuple[int, int, int]
    checksum: str
    validation: Split | None = None
    notes: tuple[str, ...] = ()
    """What a user must know of it, such as which of its files were left out, or that its labels have gaps."""

    @property
    def counts(self) -> list[int]:
        """Count the training images of each class that has any."""
        counts: list[int] = torch.unique(self.train.labels, return_counts=True)[1].tolist()
        return counts

    @property
    def splits(self) -> dict[str, Split]:
        """Its parts by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    def to(self, device: torch.device) -> Dataset:
        """Move resident images to a device; streamed ones are moved batch by batch."""

        def moved(split: Split) -> Split:
            pictures = split.images.to(device)
            return Split(split.labels.to(pictures.device), pictures)

        validation = None if self.validation is None else moved(self.validation)
        return replace(self, train=moved(self.train), test=moved(self.test), validation=validation)

    def share(self) -> Dataset:
        """Move resident images to shared memory, from where spawned processes receive them without a copy.

        Raises:
            InputError: there is not enough of it.
        """

        def shared(split: Split) -> Split:
            return Split(split.labels.share_memory_(), split.images.share())

        try:
            validation = None if self.validation is None else shared(self.validation)
            return replace(self, train=shared(self.train), test=shared(self.test), validation=validation)
        except RuntimeError as error:
            raise InputError(f"{self.name}: does not fit into shared memory, often /dev/shm ({error})") from None


def load(name: str, folder: Path | None = None, image_size: int | None = None, validation: float = 0.0) -> Dataset:
    """Load a dataset: one of `DATASETS`, with PATH filled in, from `folder`, by default the cache folder.

    With `image_size`, the shorter side of each image is scaled to that many pixels and its middle square is cut out;
    `validation` is the share of the training images that is held out.

    Raises:
        InputError: there is no such dataset; it is not there and cannot be downloaded; it is damaged.
    """
    if image_size is not None and image_size > IMAGE_SIZE:
        raise InputError(f"{name}: recipe.image_size = {image_size}: at most {IMAGE_SIZE} pixels")
    try:
        raw = _raw(name, folder)
        if name in CHECKSUMS:
            original = _dataset(name, raw, None)
            if original.checksum != CHECKSUMS[name]:
                raise InputError(f"{raw.where}: not the original {name}: {_remedy(name, raw.where)}")
            if image_size is None or original.image[1:] == (image_size, image_size):
                return _held_out(original, validation)
        return _held_out(_dataset(name, raw, image_size), validation)
    except OSError as error:
        if of_a_part(error):
            raise
        raise InputError(f"{error.filename or name}: {error.strerror or error}") from None
    except MemoryError as error:
        if of_a_part(error):
            raise
        raise InputError(f"{name}: does not fit into memory; a smaller recipe.image_size may") from None


def available(folder: Path | None = None) -> list[tuple[str, str]]:
    """List the datasets that need no PATH, and where each lies, or why not; decodes and downloads nothing."""
    inside = {"digits": "inside scikit-learn", "synthetic": "made when asked for"}
    rows = []
    for name in DATASETS:
        if name in layouts.NATIVE:
            try:
                rows.append((name, _found(name, folder or cache_folder())))
            except InputError as error:
                rows.append((name, str(error)))
            except OSError as error:
                rows.append((name, f"{error.filename}: {error.strerror}"))
        elif name in inside:
            rows.append((name, inside[name]))
    return rows


def is_own(name: str) -> bool:
    """Tell whether a dataset is made by a function of one's own, `package.module:attribute`; imports nothing."""
    known = {key.partition(":")[0] for key in DATASETS}
    return name.partition(":")[0] not in known and importing.is_own(name)


def look(name: str, folder: Path | None = None) -> str:
    """Say where a dataset `KIND:PATH` lies, how many images it has, and what else to know of its files; decodes none.

    Raises:
        InputError: there is no such dataset, or its files are no such dataset.
    """
    try:
        raw = _raw(name, folder)
    except OSError as error:
        if of_a_part(error):
            raise
        raise InputError(f"{error.filename or name}: {error.strerror or error}") from None
    images_of = f"{len(raw.train.labels):,} images for training, {len(raw.test.labels):,} for test"
    return "; ".join((f"{raw.where}: {images_of}", *raw.notes))


def _found(name: str, folder: Path) -> str:
    """Say where a well-known dataset lies in a folder, and what is to be noted of its files."""
    found = layouts.find(name, folder)
    if found is None:
        return f"not in {folder}: downloaded on first use"
    path, read = found
    if path == folder / layouts.NATIVE[name].folder:  # which leaves no choice, and so nothing to note
        layouts.NATIVE[name].check(path)
        return str(path)
    return " ".join([str(path), *(f"({note})" for note in read(path).notes)])


def checksum(train: Split, test: Split) -> str:
    """Compute the checksum of a dataset: over its shape, and every image and label in order."""
    digest = hashlib.sha256(repr((train.images.shape, len(train), len(test))).encode())
    for split in (train, test):
        digest.update(b"".join(split.images.digests(split.labels.cpu().numpy())))
    return f"sha256:{digest.hexdigest()}"


def _raw(name: str, folder: Path | None) -> RawDataset:
    """Find a dataset by the name that studies give it, read what is not its images, and check its labels."""
    kind, colon, path = name.partition(":")
    key = f"{kind}:PATH" if colon else kind
    if is_own(name):
        raw = read_own(name, folder)
    elif key not in DATASETS or (colon and not path):
        raise InputError(f"no dataset {name!r}: choose from {', '.join(DATASETS)}, or {importing.FORM}")
    else:
        raw = DATASETS[key](path or name, folder)
    present, classes = len(np.unique(raw.train.labels)), _classes(raw)
    if present == 1:
        reason = f"{raw.where}: all training images are of one class, so there is nothing to learn: give two or more"
        raise InputError("; ".join((reason, *raw.notes)))
    if present == classes:
        return raw
    gaps = (
        f"labels go up to {classes - 1:,}, so nets get {classes:,} outputs, and only {present:,} classes have training"
        " images: if that is not meant, number classes from 0 without gaps, and give images of each for training"
    )
    return raw._replace(notes=(*raw.notes, gaps))


def _classes(raw: RawDataset) -> int:
    """How many outputs nets get."""
    return int(max(raw.train.labels.max(), raw.test.labels.max())) + 1


def _dataset(name: str, raw: RawDataset, image_size: int | None) -> Dataset:
    """Open the images of both splits, make them grey where none has colour, and order them."""
    (train_images, train_colour), (test_images, test_colour) = (
        _opened(part, image_size) for part in (raw.train, raw.test)
    )
    if not (train_colour or test_colour):
        train_images, test_images = train_images.grey(), test_images.grey()
    train, test = _ordered(raw.train.labels, train_images), _ordered(raw.test.labels, test_images)
    shape = train.images.shape
    if shape != test.images.shape:
        sizes = " and ".join(f"{s.images.shape[2]}x{s.images.shape[1]}" for s in (train, test))
        raise InputError(f"{raw.where}: images for training and test have {sizes} pixels: set recipe.image_size")
    return Dataset(name, train, test, _classes(raw), shape, checksum(train, test), notes=raw.notes)


def _remedy(name: str, where: str) -> str:
    """Say what to do where a well-known dataset is another one."""
    if name not in layouts.NATIVE:
        return "install another version of scikit-learn"
    if Path(where).match(layouts.NATIVE[name].folder):
        return "move it away, and run again to download the original"
    layout = next(layout for layout, files in layouts.LAYOUTS.items() if files.detects(Path(where)))
    return f"to use it all the same, give it as {layout}:{where}"


def _held_out(dataset: Dataset, share: float) -> Dataset:
    """Hold a share of the training images out for validation: the last ones, which are a random choice.

    They are sorted by digests (`_ordered`), which have nothing to do with what the images show.
    """
    if share == 0:
        return dataset
    count = len(dataset.train)
    left = count - round(share * count)
    if not 0 < left < count:
        raise InputError(f"{dataset.name}: recipe.validation = {share}: leaves {left} of {count} images")

    def part(indices: np.ndarray) -> Split:
        return Split(dataset.train.labels[indices], dataset.train.images.take(indices))

    parts = replace(dataset, train=part(np.arange(left)), validation=part(np.arange(left, count)))
    if len(parts.counts) == 1:
        raise InputError(f"{dataset.name}: recipe.validation = {share}: leaves images of one class; hold out fewer")
    if lost := len(dataset.counts) - len(parts.counts):
        note = f"recipe.validation = {share}: leaves no training image of {lost:,} of {len(dataset.counts):,} classes"
        return replace(parts, notes=(*parts.notes, note))
    return parts


def _opened(part: Part, image_size: int | None) -> tuple[Images, bool]:
    if isinstance(part.images, np.ndarray):
        resident = images.from_array(part.images, image_size)
        return resident, resident.coloured()
    return images.from_encoded(part.images, image_size)


def _ordered(labels: Labels, pictures: Images) -> Split:
    """Sort images by a digest of label and content, so that the order in the files does not matter."""
    digests = pictures.digests(labels)
    order = np.array(sorted(range(len(digests)), key=digests.__getitem__))
    return Split(torch.from_numpy(labels[order]), pictures.take(order))


def _digits(_name: str, _folder: Path | None) -> RawDataset:
    """Take scikit-learn's 1,797 handwritten digits of 8x8 pixels; every fifth, 360 of them, is for test."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes seconds, and other datasets do without

    digits = load_digits()
    levels = digits.images.astype(np.int64)  # 0 to 16
    pixels, labels = ((levels * 255 + 8) // 16).astype(np.uint8), digits.target.astype(np.int64)
    test = np.arange(len(labels)) % 5 == 0
    return RawDataset("scikit-learn's digits", Part(labels[~test], pixels[~test]), Part(labels[test], pixels[test]))


def _synthetic(_name: str, _folder: Path | None) -> RawDataset:
    """Make 640 colour images of 8x8 pixels from a fixed seed: ten random templates, under noise as strong."""
    raw = np.random.PCG64(0).random_raw  # numpy promises that these numbers never change
    templates = (raw((10, 8, 8, 3)) % 128).astype(np.int64)
    labels = np.arange(640) % 10
    pixels = (templates[labels] + (raw((640, 8, 8, 3)) % 128).astype(np.int64)).astype(np.uint8)
    return RawDataset("synthetic", Part(labels[:512], pixels[:512]), Part(labels[512:], pixels[512:]))


def _known(name: str, folder: Path | None) -> RawDataset:
    """Read a well-known dataset in whatever layout it lies in the folder; download it when it does not."""
    folder = folder or cache_folder()
    path, read = layouts.find(name, folder) or layouts.download(name, folder)
    return read(path)


def _laid_out(layout: str, path: str, folder: Path | None) -> RawDataset:
    """Read any dataset that lies in one of the layouts."""
    return layouts.LAYOUTS[layout].read(_at(path, folder))


def _at(path: str, folder: Path | None) -> Path:
    """Take a path as it is, or else from the folder."""
    place = Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's raises where there is no such home
    folder = folder or cache_folder()
    places = place, folder / place
    for found in places:
        if found.is_dir():
            return found
    if any(found.exists() for found in places):
        raise InputError(f"{path}: not a folder: unpack it if it is an archive, and give the folder of the dataset")
    raise InputError(f"{path}: no such folder, neither here nor in {folder}")


# A dataset is a line here, and a function from its name, or of `NAME:PATH` the path, and the folder where data lies
# (None: the cache folder).
DATASETS: dict[str, Callable[[str, Path | None], RawDataset]] = {
    "digits": _digits,
    "fashion-mnist": _known,
    "cifar10": _known,
    "cifar100": _known,
    **{f"{layout}:PATH": partial(_laid_out, layout) for layout in sorted(layouts.LAYOUTS)},
    "synthetic": _synthetic,
}

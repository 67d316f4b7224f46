"""Images in folders, a file each: ImageFolder, and the folders of ImageNet and Tiny-ImageNet as downloaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from deeptwins.data.files import TEST_SPLITS, Part, RawDataset, UnlabelledError, held, labelled, opened
from deeptwins.data.listing import Listing, normalized, told, unwanted
from deeptwins.data.pictures import SUFFIXES
from deeptwins.errors import InputError
from deeptwins.system import regular

IMAGE_BYTES = 2**30  # of a file; the largest image that is decoded takes less, whatever its format
INNER = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")  # where the splits lie in archives of ImageNet
# Lists of the classes of images without class folders, a line each: the image's name, the class, and what is not read.
# They lie in the folder of the split that their name has, or above it; the images lie in it as the pattern says.
LISTS = {"val_annotations.txt": "images/{}", "LOC_val_solution.csv": "{}.JPEG"}
LIST_BYTES = 2**27


def read_folder(folder: Path) -> RawDataset:
    """Read an ImageFolder: train/<class>/*.png and test/ (or val/); classes are numbered in order of their names."""
    root = next((folder / inner for inner in ("", *INNER) if (folder / inner / "train").is_dir()), folder)
    tests = [name for name in TEST_SPLITS if (root / name).is_dir()]
    if not (root / "train").is_dir() or not tests:
        raise InputError(
            f"{folder}: must hold train/<class>/*.png and test/<class>/*.png (or {', '.join(TEST_SPLITS[1:])});"
            f" it holds {held(root)}"
        )
    listing = Listing(root / "train")
    numbers = all(name.isdecimal() for name in listing.classes)  # 10 comes after 9 then
    classes = sorted(listing.classes, key=lambda name: (int(name) if numbers else 0, name))
    train, left_out = _folder_part(listing, classes), listing.left_out
    try:
        test, notes = labelled(folder, {name: partial(_test_part, root / name, classes, left_out) for name in tests})
    except UnlabelledError as error:
        raise InputError(f"{error}: put the images of a split into folders of classes, as those in train are") from None
    return RawDataset(str(folder), train, test, (*notes, told(left_out)) if left_out else notes)


def _test_part(split: Path, classes: Sequence[str], left_out: list[tuple[str, str]]) -> Part:
    """Read a split for testing, whose classes are those of training; what is no part of it is added to `left_out`.

    Raises:
        UnlabelledError: there are neither folders of these classes in it, nor a list of its images' classes.
    """
    listing = Listing(split)
    if listing.classes.keys().isdisjoint(classes):
        for name, pattern in LISTS.items():
            file = next((place / name for place in (split, *split.parents[:4]) if (place / name).exists()), None)
            if file is not None and split.name in name:
                return _listed_part(split, file, pattern, classes, left_out)
        raise UnlabelledError(f"{split}: no images in folders of train's classes")
    if strangers := {name for name, paths in listing.classes.items() if paths} - {*classes}:
        raise InputError(f"{split / min(strangers)}: no such class in {split.parent / 'train'}")
    part = _folder_part(listing, classes)
    left_out += listing.left_out
    return part


def _folder_part(listing: Listing, classes: Sequence[str]) -> Part:
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        paths = listing.classes.get(name, [])
        if not paths and listing.split.name == "train":
            reason = f"no images: put some in, or take it away; {told(listing.left_out)}"
            raise InputError(f"{listing.split / name}: {reason}")
        names += paths
        labels += [label] * len(paths)
    if not names:
        raise UnlabelledError(f"{listing.split}: no images in <class>/ folders; {told(listing.left_out)}")
    return Part(np.array(labels, np.int64), Files(listing.split, names))


def _listed_part(
    split: Path, file: Path, pattern: str, classes: Sequence[str], left_out: list[tuple[str, str]]
) -> Part:
    """Read a split whose classes stand in a list: its images are all that the list names, and no other."""
    with opened(file, "not a list of images and their classes") as source:
        lines = [text for text in source.read(LIST_BYTES).decode("utf-8-sig").splitlines() if text.strip()]
        rows = [re.fullmatch(r"([^\t,/]+)[\t,]([^\s,]+).*", row) for row in lines]
        images = [(pattern.format(row[1]), row[2]) for row in rows if row and row[1] != "ImageId"]
        if None in rows or not images:
            raise ValueError
    entries = dict(images)
    if len(entries) < len(images):
        raise InputError(f"{file}: names an image more than once")
    numbers = {name: number for number, name in enumerate(classes)}
    if unknown := {*entries.values()} - numbers.keys():
        raise InputError(f"{file}: class {min(unknown)!r}: no such class in {split.parent / 'train'}")
    place = (split / pattern).parent
    for path in sorted(place.iterdir()):
        if reason := unwanted(path.name):
            left_out.append((reason, str(path.relative_to(split.parent))))
        elif path.suffix.lower() in SUFFIXES and str(path.relative_to(split)) not in entries:
            raise InputError(f"{path}: not in {file}")
    return Part(np.array([numbers[name] for name in entries.values()], np.int64), Files(split, [*entries]))


@dataclass(frozen=True)
class Files:
    """Encoded images, a file each."""

    folder: Path
    names: list[str]

    def __len__(self) -> int:
        """Count them."""
        return len(self.names)

    def read(self, index: int) -> bytes:
        """Read one."""
        try:
            return regular.read(self.folder / self.names[index], IMAGE_BYTES)
        except OSError as error:
            raise InputError(f"{self.name(index)}: cannot be read ({error.strerror})") from None

    def name(self, index: int) -> str:
        """Name its path."""
        return str(self.folder / self.names[index])

    def identity(self, index: int) -> str:
        """Give its path within the split, as every system writes it, and its size."""
        return f"{normalized(self.names[index])} {(self.folder / self.names[index]).stat().st_size}"

"""Datasets of one's own: what a function of somebody's module returns, checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from deeptwins.data.files import CLASSES, Part, RawDataset, cache_folder
from deeptwins.errors import PartError, noting
from deeptwins.system.importing import Parts, check_name, defined

CHANNELS_LAST = (1, 2, 3, 4)  # of images; more is taken for a width
FORM = "((images, labels), (images, labels)), for training and for test"

LOADERS: Parts[Callable[[Path], Any]] = Parts({}, called=("folder",))
"""None ship: datasets that do have other ways to be loaded."""


def read_own(name: str, folder: Path | None) -> RawDataset:
    """Call a function of one's own with the folder where data lies, by default the cache folder.

    Raises:
        InputError: there is no such function, or it cannot be called with a folder.
        PartError: it returns no dataset.
    """
    check_name("dataset", name, LOADERS)
    load = LOADERS[name]

    def refuse(what: str, wanted: str) -> NoReturn:
        raise PartError(f"returns {what}, and must return {wanted}", defined(load))

    with noting(f"dataset = {name!r}"):
        made = load(folder or cache_folder())
        if not _is_pair(made) or not all(_is_pair(split) for split in made):
            refuse(type(made).__name__, FORM)
        (images, labels), (test_images, test_labels) = made
        train, test = _part(images, labels, "training", refuse), _part(test_images, test_labels, "test", refuse)
    return RawDataset(name, train, test)


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2  # noqa: PLR2004


def _part(images: object, labels: object, of: str, refuse: Callable[[str, str], NoReturn]) -> Part:
    """Check a split; images may be an array or a tensor, and so may labels."""
    pixels, numbers = np.asarray(images), np.asarray(labels)
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or not pixels.size:
        refuse(f"images for {of} of {pixels.dtype} {pixels.shape}", "uint8 (N, H, W) or (N, H, W, C)")
    if pixels.ndim == 4 and pixels.shape[3] not in CHANNELS_LAST and pixels.shape[1] in CHANNELS_LAST:  # noqa: PLR2004
        refuse(f"images for {of} of the shape {pixels.shape}", "(N, H, W, C): channels last")
    if numbers.shape != (len(pixels),) or not np.issubdtype(numbers.dtype, np.integer):
        refuse(f"labels for {of} of {numbers.dtype} {numbers.shape}", f"integers ({len(pixels)},), one for each image")
    low, high = int(numbers.min()), int(numbers.max())
    if not 0 <= low <= high < CLASSES:
        refuse(f"labels for {of} from {low} to {high}", f"numbers of classes, from 0 and below {CLASSES:,}")
    return Part(numbers.astype(np.int64), pixels)

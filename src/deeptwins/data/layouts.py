"""The layouts in which datasets lie in files: torchvision's own, Parquet as on Hugging Face, ImageFolder.

Whatever is wrong with a file is an `InputError` that names it. `NATIVE` and `LAYOUTS`, at the end, list them all.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deeptwins.data.files import RawDataset
from deeptwins.data.folders import read_folder
from deeptwins.data.native import dataset_class, read_cifar, read_idx
from deeptwins.data.parquet import read_parquet, split_files
from deeptwins.errors import InputError


@dataclass(frozen=True)
class FileLayout:
    """A way in which a dataset may lie in a folder of its own."""

    detects: Callable[[Path], bool]
    """Whether a folder has it."""
    read: Callable[[Path], RawDataset]
    form: str
    """How the files must lie, for messages; `{name}` is the folder."""


def find(name: str, folder: Path) -> tuple[Path, Callable[[Path], RawDataset]] | None:
    """Find a dataset in a folder: where it lies, and what reads it. None when it is not there."""
    native, read, _ = NATIVE[name]
    if (folder / native).is_dir() and any((folder / native).iterdir()):  # a download that fails leaves it empty
        return folder / native, read
    return next(((folder / name, layout.read) for layout in LAYOUTS.values() if layout.detects(folder / name)), None)


def download(name: str, folder: Path) -> tuple[Path, Callable[[Path], RawDataset]]:
    """Download a dataset into a folder, in torchvision's layout; returns what `find` finds then.

    Raises:
        InputError: that failed; it says what to do without a network.
    """
    native, read, torchvision_class = NATIVE[name]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        dataset_class(torchvision_class)(folder, download=True)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        reason = " ".join(str(error).split())
        *forms, last = f"{native}/ (torchvision)", *(layout.form.format(name=name) for layout in LAYOUTS.values())
        raise InputError(
            f"{name}: not in {folder}, and its download failed ({reason}); put it there, or point --data to a folder "
            f"that holds it, as {', '.join(forms)}, or {last}"
        ) from None
    return folder / native, read


# The folder that torchvision's class makes in its root, the function that reads it, and the class.
NATIVE: dict[str, tuple[str, Callable[[Path], RawDataset], str]] = {
    "fashion-mnist": ("FashionMNIST/raw", read_idx, "FashionMNIST"),
    "cifar10": ("cifar-10-batches-py", partial(read_cifar, "CIFAR10"), "CIFAR10"),
    "cifar100": ("cifar-100-python", partial(read_cifar, "CIFAR100"), "CIFAR100"),
}

# The layouts that any dataset may have, in the order in which they are looked for; `NAME:PATH` reads one of them. A
# layout is a line here, and a function that reads it.
LAYOUTS: dict[str, FileLayout] = {
    "parquet": FileLayout(
        lambda folder: bool(split_files(folder, "train")),
        read_parquet,
        "{name}/train-*.parquet and test-*.parquet",
    ),
    "folder": FileLayout(
        lambda folder: (folder / "train").is_dir(), read_folder, "{name}/train/<class>/*.png and {name}/test/"
    ),
}

"""Images in files of every layout, and the layout of datasets that CONTRIBUTING adds as a worked example."""

import gzip
import hashlib
import io
import pickle
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torchvision
from PIL import Image

from deeptwins.data import layouts
from places import ROOT


def encoded(pixels, kind="PNG"):
    """Encode one image without loss."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, lossless=True)
    return file.getvalue()


def made(*shape, train=40, test=12, classes=3):
    """Make labelled noise, {split: (labels (N,), pixels (N, H, W[, 3]))}; every class is there."""
    random = np.random.default_rng(0)
    return {
        split: (np.arange(count) % classes, random.integers(0, 256, (count, *shape), dtype=np.uint8))
        for split, count in (("train", train), ("test", test))
    }


def write_folder(folder, parts, test="test", classes=("ant", "bee", "cat")):
    """Write an ImageFolder."""
    for split, (labels, pixels) in parts.items():
        for i, (label, image) in enumerate(zip(labels, pixels, strict=True)):
            path = folder / (test if split == "test" else split) / classes[label] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(image))
    return folder


def write_parquet(folder, parts, image="image", label="label", test="test"):
    """Write Parquet files as on Hugging Face: the rows in another order, in two files a split, in small row groups."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, (labels, pixels) in parts.items():
        order = np.random.default_rng(1).permutation(len(labels))
        for shard, rows in enumerate(np.array_split(order, 2)):
            kind = "WEBP" if pixels.ndim == 4 else "PNG"  # WebP knows no grey
            cells = [{"bytes": encoded(pixels[row], kind), "path": f"{row}.{kind}"} for row in rows]
            table = pa.table({image: cells, label: labels[rows]})
            name = test if split == "test" else split
            pq.write_table(table, folder / f"{name}-{shard:05}-of-00002.parquet", row_group_size=7)
    return folder


def write_idx(folder, parts, *, zipped=False):
    """Write the four files of Fashion-MNIST."""
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for split, (labels, pixels) in parts.items():
        for name, array in (("labels-idx1", labels.astype(np.uint8)), ("images-idx3", pixels)):
            content = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
            path = raw / f"{'train' if split == 'train' else 't10k'}-{name}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(content) if zipped else content)
    return folder


def write_cifar(folder, parts, name, monkeypatch):
    """Write the pickles of CIFAR, and let torchvision expect their MD5 sums."""
    torchvision_class = getattr(torchvision.datasets, name)
    own = folder / torchvision_class.base_folder
    own.mkdir(parents=True)
    key = "labels" if name == "CIFAR10" else "fine_labels"

    def write(file, content):
        text = pickle.dumps(content, protocol=2)
        (own / file).write_bytes(text)
        return file, hashlib.md5(text, usedforsecurity=False).hexdigest()

    for split in ("train", "test"):
        labels, pixels = parts[split]
        files = [file for file, _ in getattr(torchvision_class, f"{split}_list")]
        rows = np.array_split(np.arange(len(labels)), len(files))
        written = [
            write(file, {"data": pixels[some].transpose(0, 3, 1, 2).reshape(len(some), -1), key: labels[some].tolist()})
            for file, some in zip(files, rows, strict=True)
        ]
        monkeypatch.setattr(torchvision_class, f"{split}_list", written)
    meta = torchvision_class.meta
    _, md5 = write(meta["filename"], {meta["key"]: ["ant", "bee", "cat"]})
    monkeypatch.setattr(torchvision_class, "meta", {**meta, "md5": md5})
    return folder


def example():
    """Read CONTRIBUTING's worked example: the line that it adds to the table, as (name, layout)."""
    text = ROOT.joinpath("CONTRIBUTING.md").read_text(encoding="utf-8")
    pattern = r"data/layouts\.py`:\n\n```python\n(.*?)```\n\nand, in `LAYOUTS`:\n\n```python\n(.*?)```"
    ((code, line),) = re.findall(pattern, text, re.DOTALL)
    names = {**vars(layouts)}  # no more: what is pasted into the module has no more
    exec(code, names)  # noqa: S102  our own text
    ((name, layout),) = eval("{" + line + "}", names).items()  # noqa: S307
    return name, layout

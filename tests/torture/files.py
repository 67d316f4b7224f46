"""Damaged files of every kind that deeptwins reads: records, checkpoints, studies, data sets."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

import tiny
from children import Case
from deeptwins import data, study
from deeptwins.cli.pages import spec_of
from deeptwins.findings import derive, frames
from deeptwins.pages.page import write
from deeptwins.records import RunFiles
from deeptwins.train import completion
from deeptwins.train.feeds import Feeds
from mutate import damaged, edited
from places import ROOT

STUDY = """
question = "Is anything lost?"

[twins]
plain = { shortcut = "none" }
residual = { shortcut = "zero-pad" }

[[vary]]
family = "cifar"
depth = [8, 14]
seed = [0, 1]

[recipe]
dataset = "synthetic"
width = 4
iterations = 40
batch_size = 64
learning_rate = 0.1
warmup = 8
momentum = 0.9
shift = 1
flip = true

[[expect]]
twin = "plain"
trend = "flat"
"""
PAGE_EVERY = 50  # a page takes seconds: one is written of so many cases


@dataclass(frozen=True)
class Prepared:
    """The cases of a part."""

    case: Case
    sound: dict[Path, bytes]
    """The files that they damage, one at a time."""

    def restore(self) -> None:
        """Put all sound files back: a case that hung has not."""
        for path, content in self.sound.items():
            restore(path, content)


def harm(random: Random, path: Path, content: bytes, mutations: tuple[Callable[[Random, bytes], bytes], ...]) -> str:
    """Put a damaged file, or something else, in the place of a sound one; says what. Some are left as they are."""
    if random.random() < 0.02:
        return "nothing"
    if random.random() < 0.95:
        mutation = random.choice(mutations)
        path.write_bytes(mutation(random, content))
        return mutation.__name__
    odd: dict[str, Callable[[], object]] = {
        "gone": lambda: None,
        "empty": path.touch,
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "loop": lambda: path.symlink_to(path),
        "endless": lambda: path.symlink_to("/dev/zero"),
        "dangling": lambda: path.symlink_to("nowhere"),
    }
    path.unlink()
    name = random.choice(list(odd))
    odd[name]()
    return name


def restore(path: Path, content: bytes) -> None:
    """Put the sound file back."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.write_bytes(content)


def of_records(folder: Path, seed: int) -> Prepared:
    """Damaged records, read as `report` reads them; every 50th becomes a page."""
    path = folder / "torture.toml"
    path.write_text(STUDY, encoding="utf-8")
    loaded = study.load(path, ["recipe.iterations=10"])
    results = folder / "results"
    dataset = data.load("synthetic")
    (results / loaded.name).mkdir(parents=True)
    for run in loaded.runs:
        tiny.complete(run, dataset, tiny.CPU, results, say=lambda _line: None)
    sound = {file: file.read_bytes() for file in sorted((results / loaded.name).glob("*.jsonl"))}
    before = _numbers(frames.load(loaded, results))

    def case(number: int) -> tuple[str, str]:
        random = Random(f"{seed} records {number}")
        file = random.choice(list(sound))
        how = harm(random, file, sound[file], (damaged, edited))
        try:
            read = frames.load(loaded, results)
            if number % PAGE_EVERY == PAGE_EVERY - 1:
                write(spec_of("study"), folder / "reports", loaded, results)
            else:
                derive.derive(loaded, read)
            if read.missing:
                return "other", "the run is shown as unfinished"
            return ("same", "") if _numbers(read) == before else ("silent", f"{how} of {file.name}: other numbers")
        finally:
            restore(file, sound[file])

    return Prepared(case, sound)


def _numbers(read: frames.Frames) -> list[str]:
    """All that tables hold, to compare it."""
    tables = [getattr(read, field.name) for field in fields(read)]
    return [table.to_json(double_precision=15) if isinstance(table, pd.DataFrame) else str(table) for table in tables]


def of_checkpoints(folder: Path, seed: int) -> Prepared:
    """Damaged checkpoints: either of the run and taken as they were saved, or set aside; training goes on."""
    run, dataset = tiny.run_of(), data.load("synthetic")
    files = RunFiles.of(folder, run)
    files.folder.mkdir(parents=True)
    tiny.complete(run, dataset, tiny.CPU, folder, lambda iteration: iteration < 10, lambda _line: None)
    sound, recorded = files.checkpoint.read_bytes(), files.records.read_bytes()
    proof = folder / "a-payload-ran"

    def signed(random: Random, content: bytes) -> bytes:
        """Change what a state holds, or where it belongs, and seal it as deeptwins does."""
        state = torch.load(io.BytesIO(content[32:]), weights_only=True)
        state = _Payload(proof) if random.random() < 0.1 else _changed(random, state)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()

    def case(number: int) -> tuple[str, str]:
        random = Random(f"{seed} checkpoints {number}")
        how = harm(random, files.checkpoint, sound, (damaged, signed))
        changed = not files.checkpoint.is_file() or files.checkpoint.read_bytes() != sound
        said: list[str] = []
        turns = completion.advance(run, dataset, tiny.CPU, folder, Feeds(), said.append)
        try:
            iteration = next(turns).iteration
            turns.send(True)  # noqa: FBT003  a generator takes no keywords
            turns.close()
            if proof.exists():
                return "silent", "the payload of a pickle ran"
            if how == "nothing" and iteration <= 10:
                return "silent", "a sound checkpoint is not taken"
            if iteration > 10:
                return ("silent", f"{how}: taken as sound") if changed else ("same", "")
            if said or how in {"gone", "dangling"}:
                return "named", " ".join(said)
            return "silent", f"{how}: the run starts over, and nobody is told"
        finally:
            restore(files.checkpoint, sound)
            files.records.write_bytes(recorded)
            files.corrupt.unlink(missing_ok=True)

    return Prepared(case, {files.checkpoint: sound, files.records: recorded})


class _Payload:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._proof),)


def _changed(random: Random, state: object) -> object:
    """Give one part of a state, some levels down, another type, shape or key."""
    if isinstance(state, dict) and state and random.random() < 0.9:
        key = random.choice(list(state))
        if random.random() < 0.1:
            return {name: value for name, value in state.items() if name != key}
        return {**state, key: _changed(random, state[key])}
    if isinstance(state, list) and state and random.random() < 0.9:
        place = random.randrange(len(state))
        return [*state[:place], _changed(random, state[place]), *state[place + 1 :]]
    others: list[object] = [None, "x", [], {}, torch.zeros(3, 1, 2), torch.zeros(0), -7]
    return random.choice([other for other in others if type(other) is not type(state) or torch.is_tensor(other)])


def of_studies(folder: Path, seed: int) -> Prepared:
    """Damaged study files: one line says what is wrong, or it is a study."""
    shipped = [path.read_bytes() for path in sorted(ROOT.joinpath("ablations").glob("*.toml"))]
    path = folder / "changed.toml"

    def case(number: int) -> tuple[str, str]:
        random = Random(f"{seed} studies {number}")
        content = random.choice(shipped)
        path.write_bytes(content)
        harm(random, path, content, (damaged, edited))
        try:
            study.load(path)
        finally:
            restore(path, shipped[0])
        return "other", ""

    return Prepared(case, {path: shipped[0]})


def of_data(folder: Path, seed: int) -> Prepared:
    """Damaged data sets: one line says what is wrong, or their checksum tells them apart."""
    make = np.random.default_rng(0)
    pixels, labels = make.integers(0, 256, (24, 6, 6), np.uint8), np.arange(24, dtype=np.uint8) % 3
    layouts = {
        f"folder:{_as_folder(folder / 'pictures', pixels, labels)}": folder / "pictures",
        f"parquet:{_as_parquet(folder / 'parquet', pixels, labels)}": folder / "parquet",
        "fashion-mnist": _as_idx(folder / "FashionMNIST" / "raw", pixels, labels),
    }
    sound = {name: sorted(path for path in place.rglob("*") if path.is_file()) for name, place in layouts.items()}
    content = {path: path.read_bytes() for paths in sound.values() for path in paths}
    before: dict[str, str] = {}  # read in the child: PyArrow's threads do not survive a fork

    def case(number: int) -> tuple[str, str]:
        if not before:
            before.update((name, data.load(name, folder).checksum) for name in layouts if ":" in name)
        random = Random(f"{seed} data {number}")
        name = random.choice(list(sound))
        path = random.choice(sound[name])
        harm(random, path, content[path], (damaged,))
        try:
            return ("same" if data.load(name, folder).checksum == before[name] else "other"), ""
        finally:
            restore(path, content[path])

    return Prepared(case, content)


def _as_folder(place: Path, pixels: np.ndarray, labels: np.ndarray) -> Path:
    """A folder per class, of pictures in several formats."""
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        path = place / ("test" if number % 4 == 0 else "train") / f"class {label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path.with_suffix((".png", ".bmp", ".jpg", ".webp", ".tif")[number % 5]))
    return place


def _as_parquet(place: Path, pixels: np.ndarray, labels: np.ndarray) -> Path:
    """Files of Parquet, as on Hugging Face."""
    place.mkdir()
    for split, chosen in (("train", slice(6, None)), ("test", slice(6))):
        encoded = []
        for image in pixels[chosen]:
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG")
            encoded.append({"bytes": buffer.getvalue(), "path": None})
        table = pa.table({"image": encoded, "label": pa.array(labels[chosen].astype(np.int64))})
        pq.write_table(table, place / f"{split}-00000-of-00001.parquet")
    return place


def _as_idx(place: Path, pixels: np.ndarray, labels: np.ndarray) -> Path:
    """IDX files, the images gzipped."""
    place.mkdir(parents=True)
    for split, chosen in (("train", slice(6, None)), ("t10k", slice(6))):
        for kind, values in (("labels-idx1", labels[chosen]), ("images-idx3", pixels[chosen])):
            header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
            packed = gzip.compress(header + values.tobytes())
            (place / f"{split}-{kind}-ubyte.gz").write_bytes(packed)
    return place


PARTS = {"records": of_records, "checkpoints": of_checkpoints, "studies": of_studies, "data": of_data}
"""By name, what prepares the cases of a part in a folder, for a seed."""

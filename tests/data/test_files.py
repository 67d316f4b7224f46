"""Tests of how files of datasets are opened: regular ones alone, and no more is read than a file may honestly hold."""

import contextlib
import gzip
import io
import os
import re
import stat
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptwins.data import chunks, images, load, native, parquet, pictures
from deeptwins.data.folders import Files
from deeptwins.errors import InputError
from layouts_made import encoded, made, write_cifar, write_folder, write_idx, write_parquet


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Keep these tests out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


ODD = {
    "fifo": (os.mkfifo, "a FIFO"),
    "socket": (lambda path: os.mknod(path, stat.S_IFSOCK | 0o600), "a socket"),
    "folder": (os.mkdir, "a folder"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
}


def put(kind, path):
    """Put something that is no file in the place of a file."""
    path.unlink()
    ODD[kind][0](path)


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(
    "place",
    [
        "parquet/test-00001-of-00002.parquet",
        "FashionMNIST/raw/train-images-idx3-ubyte",
        "FashionMNIST/raw/t10k-labels-idx1-ubyte",
        "cifar-10-batches-py/data_batch_2",
    ],
)
def test_what_is_no_file_is_not_opened(place, kind, linked, tmp_path, monkeypatch):
    """A FIFO, a socket, a folder or a device where a file should be, or behind a link, is one line that names both."""
    write_parquet(tmp_path / "parquet", made(6, 5))
    write_idx(tmp_path, made(6, 5))
    write_cifar(tmp_path, made(32, 32, 3), "CIFAR10", monkeypatch)
    path = tmp_path / place
    put(kind, path)
    if linked:
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    names = {"FashionMNIST": "fashion-mnist", "cifar-10-batches-py": "cifar10"}
    first = place.split("/")[0]
    with pytest.raises(InputError, match=rf"^{path}: .*{ODD[kind][1]}, not a regular file"):
        load(names.get(first) or f"{first}:{tmp_path / first}", tmp_path)


@pytest.mark.parametrize("kind", ODD)
def test_what_takes_the_place_of_an_image_is_not_opened(kind, tmp_path):
    """What is no file any more when an image is needed is one line that names it."""
    path = tmp_path / "4.png"
    path.touch()
    put(kind, path)
    with pytest.raises(InputError, match=rf"^{path}: cannot be read \({ODD[kind][1]}, not a regular file\)"):
        Files(tmp_path, ["4.png"]).read(0)


def write_header(path, shape, content=b"", *, zipped=False):
    """Write an IDX file that says to have a shape."""
    text = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes() + content
    path.write_bytes(gzip.compress(text) if zipped else text)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2**32 - 1, 2**32 - 1, 2**32 - 1), "says to hold 4294967295x4294967295x4294967295 values, too many"),
        ((2**31, 2**31, 4), "says to hold .* too many"),  # 2**64, which is 0 in 64 bits
        ((2**20, 1, 1), "says to hold .* too many"),
        ((40, 4000, 2000), "says to hold .* too many"),
        ((40, 6, 7), "damaged"),
        ((39, 6, 6), "damaged"),
        ((0, 6, 6), "damaged"),
        ((40, 2**32 - 1, 0), "damaged"),
    ],
)
def test_idx_files_that_say_to_be_larger_are_not_read(shape, message, zipped, tmp_path):
    """What an IDX file says to hold is compared with what is there and what it may be, before memory is taken."""
    raw = write_idx(tmp_path, made(6, 6)) / "FashionMNIST/raw"
    path = raw / "train-images-idx3-ubyte"
    path.unlink()
    path = path.with_name(f"{path.name}{'.gz' if zipped else ''}")
    write_header(path, shape, bytes(40 * 6 * 6), zipped=zipped)
    with pytest.raises(InputError, match=rf"^{path}: {message}"):
        load("fashion-mnist", tmp_path)


@pytest.mark.parametrize("start", [b"", bytes([0, 0, 8, 3]) + np.array([40, 6, 6], ">u4").tobytes()])
def test_a_gzip_bomb_is_not_unpacked(start, tmp_path):
    """Of a gzipped IDX file no more is unpacked than it says to hold, however much follows."""
    raw = write_idx(tmp_path, made(6, 6)) / "FashionMNIST/raw"
    (raw / "train-images-idx3-ubyte").unlink()
    path = raw / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(start + bytes(2**24)))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=rf"^{path}: damaged"):
            native.read_idx(raw)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("place", ["folder/train/bee/4.png", "cifar-10-batches-py/test_batch"])
def test_files_of_absurd_size_are_not_read(place, tmp_path, monkeypatch):
    """A file without content that is larger than any of its kind is refused by its size."""
    write_folder(tmp_path / "folder", made(6, 5))
    write_cifar(tmp_path, made(32, 32, 3), "CIFAR10", monkeypatch)
    path = tmp_path / place
    os.truncate(path, 2**40)
    with pytest.raises(InputError, match=rf"^{path}: (cannot be read \(larger than 1,073,741,824 bytes\)|damaged)"):
        load(f"folder:{tmp_path / 'folder'}" if "png" in place else "cifar10", tmp_path)


def write_rows(path, cells, rows, **options):
    """Write a Parquet file whose images are given as an Arrow array."""
    pq.write_table(pa.table({"image": cells, "label": pa.array(np.zeros(rows, np.int8))}), path, **options)


def test_rows_that_cannot_be_images_are_not_read(tmp_path):
    """Millions of rows in a file of fewer bytes, all null, are refused by what the file says of itself."""
    path = write_parquet(tmp_path, made(6, 5)) / "train-00000-of-00002.parquet"
    rows = parquet.ROWS + 1
    write_rows(path, pa.nulls(rows, pa.struct([("bytes", pa.binary())])), rows)
    with pytest.raises(InputError, match=rf"^{path}: .* say to be 1,000,001 rows: no images"):
        load(f"parquet:{tmp_path}")


def integer(number, length=1):
    """An integer as Thrift's compact protocol has it, in so many bytes at least."""
    number, content = number << 1, b""
    while number > 127 or len(content) + 1 < length:
        content, number = content + bytes([number & 127 | 128]), number >> 7
    return content + bytes([number])


def says_less(path):
    """Let the end of a file of one row group of images say that they're as large packed as unpacked."""
    content, end = path.read_bytes(), path.stat().st_size - 8
    group = pq.read_metadata(path).row_group(0)
    footer = content[end - int.from_bytes(content[end : end + 4], "little") : end]
    said = footer
    for size in (group.total_byte_size, group.column(0).total_uncompressed_size):
        said = said.replace(integer(size), integer(group.column(0).total_compressed_size, len(integer(size))))
    path.write_bytes(content[: end - len(footer)] + said + content[end:])
    assert pq.read_metadata(path).row_group(0).total_byte_size < group.total_byte_size


@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("in_memory", [0, 2**18])
@pytest.mark.parametrize("honest", [True, False])
def test_parquet_that_inflates_is_not_unpacked(dictionary, in_memory, honest, tmp_path, monkeypatch):
    """Of Parquet no more is unpacked than images take, be it in pages, whatever the file says, or by a shared value."""
    monkeypatch.setattr(parquet, "IN_MEMORY_BYTES", in_memory)
    path = write_parquet(tmp_path, made(6, 5)) / "train-00000-of-00002.parquet"
    cells = pa.array([{"bytes": bytes(2**16)}] * 300)
    write_rows(path, cells, 300, use_dictionary=dictionary, compression="zstd")
    if not honest:
        says_less(path)
    message = "its images are more than 100 times" if dictionary else ".* bytes that say to be .* once unpacked"
    with pytest.raises(InputError, match=rf"^{path}: {message}"):
        load(f"parquet:{tmp_path}")


@settings(max_examples=30)
@given(
    rows=st.integers(1, 400),
    options=st.fixed_dictionaries(
        {
            "row_group_size": st.integers(1, 150),
            "data_page_size": st.sampled_from([64, 4096, 2**20]),
            "data_page_version": st.sampled_from(["1.0", "2.0"]),
            "use_dictionary": st.booleans(),
            "compression": st.sampled_from(["none", "zstd", "snappy"]),
        }
    ),
)
def test_pages_are_found_as_decoders_find_them(tmp_path_factory, rows, options):
    """Chunks lie where pyarrow says, and their pages together are as large as an honest file says, headers aside."""
    path = tmp_path_factory.mktemp("pages") / "a.parquet"
    cells = pa.array([{"bytes": bytes(number % 90)} for number in range(rows)])
    write_rows(path, cells, rows, write_batch_size=16, write_statistics=False, **options)
    content = pq.read_metadata(path)
    with path.open("rb") as source:
        groups = chunks.row_groups(source)
        assert len(groups) == content.num_row_groups
        for number, group in enumerate(groups):
            told, chunk = content.row_group(number).column(0), group["image.bytes"]
            pages = [*chunks.pages(source, chunk)]
            assert chunk.values == told.num_values
            assert chunk.end - chunk.start == told.total_compressed_size
            assert (pages[0].type == chunks.DICTIONARY) == told.has_dictionary_page
            headers = told.total_uncompressed_size - sum(page.size for page in pages)
            assert 8 * len(pages) <= headers <= 64 * len(pages)


def in_bytes(rows):
    """A file of Parquet with two groups of rows, without the images' own bytes."""
    buffer = io.BytesIO()
    write_rows(buffer, pa.array([{"bytes": b"png"}] * rows), rows, row_group_size=rows // 2)
    return buffer.getvalue()


WHOLE = in_bytes(8)


@settings(max_examples=500)
@given(
    damage=st.lists(st.tuples(st.integers(0, len(WHOLE) - 9), st.integers(0, 255)), max_size=4),
    start=st.sampled_from([b"", b"\x19\xf1" + b"\xff" * 9 + b"\x01", b"\x1c" * 40]),
)
def test_what_is_no_page_or_footer_is_damage(damage, start):
    """Whatever stands where pages and the footer should, it's read or called damage: no list is endless, none deep."""
    content = bytearray(WHOLE)
    for place, byte in damage:
        content[place] = byte
    content[4 : 4 + len(start)] = start
    with io.BytesIO(content) as source, contextlib.suppress(ValueError, EOFError):
        for group in chunks.row_groups(source):
            for chunk in group.values():
                assert all(page.size >= 0 for page in chunks.pages(source, chunk))


def test_rows_that_share_a_large_value_are_read_a_few_at_once(tmp_path, monkeypatch):
    """However many rows share a value of a file's dictionary, no more of them are read at once than memory may take."""
    monkeypatch.setattr(parquet, "IN_MEMORY_BYTES", 2**18)
    write_rows(tmp_path / "a.parquet", pa.array([{"bytes": bytes(2**16 - 64)}] * 30), 30)
    with (tmp_path / "a.parquet").open("rb") as source:
        assert [len(some) for some in parquet._encoded(source)] == [4] * 7 + [2]


def test_images_that_many_rows_share_are_read(tmp_path, monkeypatch):
    """A value that many rows share is no harm where it is as small as an image is."""
    monkeypatch.setattr(parquet, "INFLATION", 1)
    folder = write_parquet(tmp_path, made(6, 5))
    cells = pa.array([{"bytes": encoded(np.zeros((6, 5), np.uint8))}] * 1000)
    write_rows(folder / "train-00000-of-00002.parquet", cells, 1000)
    assert len(load(f"parquet:{folder}").train) == 1020


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pictures_beyond_the_limit_are_scaled_or_named(kind, tmp_path, monkeypatch):
    """A picture of too many pixels is scaled while it is decoded if its format can, or else said to be too large."""
    folder = write_folder(tmp_path, made(40, 40))
    (folder / "train/bee/4.png").write_bytes(encoded(np.full((400, 640), 9, np.uint8), kind))
    monkeypatch.setattr(pictures, "PIXELS", 400 * 640)
    usual = load(f"folder:{folder}", image_size=40).train.images
    monkeypatch.setattr(pictures, "PIXELS", 400 * 640 - 1)
    with pytest.raises(InputError, match=r"bee/4.png: too large: 640x400 pixels, at most 255,999: scale it down"):
        load(f"folder:{folder}")
    if kind == "JPEG":
        assert load(f"folder:{folder}", image_size=40).train.images.shape == usual.shape
    else:
        with pytest.raises(InputError, match=r"bee/4\.png: too large: 640x400"):
            load(f"folder:{folder}", image_size=40)


@pytest.mark.parametrize("kind", ["folder", "parquet"])
@pytest.mark.parametrize("resident", [False, True])
def test_names_need_not_be_utf_8(kind, resident, tmp_path, monkeypatch):
    """Files, classes and folders may have names of any bytes: their images are read and named as others are."""
    odd = os.fsdecode(b"b\xe4r")
    parts = made(6, 5)
    usual = load(f"folder:{write_folder(tmp_path / 'usual', parts)}").checksum
    if not resident:
        monkeypatch.setattr(images, "RESIDENT_BYTES", 0)
        monkeypatch.setattr(parquet, "IN_MEMORY_BYTES", 0)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache {odd}"))
    if kind == "folder":
        folder = write_folder(tmp_path / odd, parts, classes=(odd, f"{odd}2", "cat"))
        (folder / "train" / odd / "3.png").rename(folder / "train" / odd / f"{odd}.png")
    else:
        folder = write_parquet(tmp_path / "utf-8", parts).rename(tmp_path / odd)
        (folder / "train-00000-of-00002.parquet").rename(folder / f"train-{odd}.parquet")
    dataset = load(f"{kind}:{folder}")
    assert dataset.checksum == load(f"{kind}:{folder}").checksum
    assert (dataset.checksum == usual) == resident
    assert len(dataset.train.images.at(torch.arange(40))) == 40
    path = folder / "train" / odd / f"{odd}.png" if kind == "folder" else folder / f"train-{odd}.parquet"
    path.write_bytes(b"damaged")
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: damaged"):
        load(f"{kind}:{folder}")

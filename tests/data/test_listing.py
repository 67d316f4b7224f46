"""Tests of which files of an ImageFolder are the dataset, and of what is said of the others."""

import errno
import fnmatch
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch

from deeptwins.data import images, load, look
from deeptwins.data.folders import Files
from deeptwins.data.listing import LITTER, Listing
from deeptwins.errors import InputError
from layouts_made import encoded

PICTURES = ("train/ant/0.png", "train/ant/1.png", "train/bee/2.png", "train/bee/sub/3.png", "test/ant/4.png")


def put(folder, *names):
    """Write a picture of its own under each name; returns the folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(np.full((4, 4), sum(name.encode("utf-8", "surrogateescape")) % 251, np.uint8)))
    return folder


def notes(folder):
    """Load a dataset resident and streamed, which must agree, and return what is said of it."""
    resident = load(f"folder:{folder}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "RESIDENT_BYTES", 0)
        streamed = load(f"folder:{folder}")
    for split in ("train", "test"):
        contents = []
        for dataset in (resident, streamed):
            part = getattr(dataset, split)
            pixels = part.images.at(torch.arange(len(part))).flatten(1).tolist()
            contents.append(sorted(zip(part.labels.tolist(), pixels, strict=True)))
        assert contents[0] == contents[1]
    assert resident.notes == streamed.notes
    return "; ".join(resident.notes)


HIDDEN = (".DS_Store", "._0.png", ".hidden.png", ".ipynb_checkpoints", ".Trash-1000", ".git", ".0.png.swp", ".nfs01")
LEFT_BEHIND = (
    *("Thumbs.db", "ehthumbs_vista.db", "Desktop.ini", "$RECYCLE.BIN", "System Volume Information", "FOUND.000"),
    *(
        "0.png:Zone.Identifier",
        "Icon\r",
        "__MACOSX",
        "Network Trash Folder",
        "Temporary Items",
        "lost+found",
        "LOST.DIR",
    ),
    *("@eaDir", "@Recycle", "@Recently-Snapshot", "@tmp", "#recycle", "#snapshot", "__pycache__"),
    *("0.png~", "~$0.png", "#0.png#", "0.png.bak", "0.PNG.SWO", "0.png.tmp", "0.png.temp", "up.part", "0.png.partial"),
    "0.png.crdownload",
)


@pytest.mark.parametrize("place", ["train", "train/bee", "train/bee/sub", "test/ant"])
def test_what_is_hidden_and_litter_are_no_part_of_a_dataset(place, tmp_path):
    """Hidden files and folders, and what systems and programs leave behind, are left out at any depth, and counted."""
    folder = put(tmp_path, *PICTURES)
    before = load(f"folder:{folder}").checksum
    for i, name in enumerate(HIDDEN + LEFT_BEHIND):
        put(folder / place, *([name] if i % 2 else [f"{name}/5.png", f"{name}/bee/6.png"]))
    assert load(f"folder:{folder}").checksum == before
    first = min(LEFT_BEHIND)
    assert notes(folder) == (
        f"left out: {len(LEFT_BEHIND)} left by other programs (such as {place}/{first}),"
        f" {len(HIDDEN)} hidden (such as {place}/{min(HIDDEN)})"
    )


def test_every_pattern_of_litter_is_tested():
    """Each pattern is that of a name above, which no other pattern has."""
    found = [[pattern for pattern in LITTER if fnmatch.fnmatchcase(name.lower(), pattern)] for name in LEFT_BEHIND]
    assert [patterns for patterns in found if len(patterns) != 1] == []
    assert {pattern for (pattern,) in found} == {*LITTER}


@pytest.mark.parametrize("name", ["recycled", "trash", "tmp", "swp", "part", "thumbs", "bak", "#1", "@", "$", "a.b"])
def test_classes_may_have_odd_names(name, tmp_path):
    """What is named nearly like litter is a class like others."""
    assert load(f"folder:{put(tmp_path, *PICTURES, f'train/{name}/5.png')}").classes == 3


def test_a_sound_folder_has_nothing_to_note(tmp_path):
    """Where nothing is left out, nothing is said."""
    assert notes(put(tmp_path, *PICTURES)) == ""


@pytest.mark.parametrize("name", ["5.heic", "notes.txt", "5", "5.png.gz", "5.png.", "5.pn", "png", "5.mp4"])
def test_files_of_unknown_suffix_are_told(name, tmp_path):
    """A file that is no picture by its suffix is left out, and that is said; those outside of classes are, too."""
    folder = put(tmp_path, *PICTURES, f"train/bee/{name}", f"test/{name}", "train/5.png")
    assert notes(folder) == (
        f"left out: 2 outside the folders of classes (such as train/5.png), "
        f"1 of unknown suffix (such as train/bee/{name})"
    )


@pytest.mark.parametrize(
    "name", ["5.PNG", "5.Jpg", "5.JPEG", "5.jfif", "5.gif", "5.TIF", "5.webp", "a b.c.png", "é.png"]
)
def test_suffixes_count_in_any_case(name, tmp_path):
    """A picture is one by its suffix, in capitals, too; its content says what format it has."""
    folder = put(tmp_path, *PICTURES, f"train/bee/{name}")
    assert len(load(f"folder:{folder}").train) == 5
    assert notes(folder) == ""


def test_folders_named_like_pictures_are_folders(tmp_path):
    """A folder may be called a.png; what is in it counts, also where it is a class."""
    folder = put(tmp_path, *PICTURES, "train/bee/a.png/5.png", "train/cow.jpg/6.png")
    dataset = load(f"folder:{folder}")
    assert (len(dataset.train), dataset.classes) == (6, 3)


def test_links_are_followed(tmp_path):
    """Links to pictures, to folders and to whole classes give the same dataset as the files themselves."""
    plain = put(tmp_path / "plain", *PICTURES)
    away = put(tmp_path / "away", "1.png", "sub/3.png", "ant/4.png")
    linked = put(tmp_path / "linked", "train/ant/0.png", "train/bee/2.png")
    for name in ("train/ant/1.png", "train/bee/sub/3.png", "test/ant/4.png"):
        (away / name.split("/", 1 if name.startswith("test") else 2)[-1]).write_bytes((plain / name).read_bytes())
    (linked / "train/ant/0.png").write_bytes((plain / "train/ant/0.png").read_bytes())
    (linked / "train/bee/2.png").write_bytes((plain / "train/bee/2.png").read_bytes())
    (linked / "test").mkdir()
    (linked / "train/ant/1.png").symlink_to(away / "1.png")
    (linked / "train/bee/sub").symlink_to(os.path.relpath(away / "sub", linked / "train/bee"))
    (linked / "test/ant").symlink_to(away / "ant")
    assert load(f"folder:{linked}").checksum == load(f"folder:{plain}").checksum
    assert notes(linked) == ""


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("train/bee/loop", "."),
        ("train/bee/loop", ".."),
        ("train/bee/loop", "../.."),
        ("train/bee/loop", "/"),
        ("train/bee/again", "sub"),
        ("train/bee/loop.png", "sub"),
        ("train/bee/sub/loop", ".."),
        ("train/loop", "."),
        ("train/loop", ".."),
        ("test/ant/loop", ".."),
    ],
)
def test_links_may_lead_in_circles(place, target, tmp_path):
    """A link to a folder that holds it, or that is read anyway, adds nothing, and that is said."""
    folder = put(tmp_path, *PICTURES)
    before = load(f"folder:{folder}").checksum
    (folder / place).symlink_to(target)
    assert load(f"folder:{folder}").checksum == before
    assert notes(folder) == f"left out: 1 linked to a folder that is read anyway (such as {place})"


def test_linked_folders_may_lead_back(tmp_path):
    """Folders elsewhere that link to each other, and back to the class, are read once; links to nothing are told."""
    folder = put(tmp_path / "own", *PICTURES)
    put(tmp_path / "x", "5.png")
    put(tmp_path / "y", "6.png")
    for link, target in (("own/train/bee/x", "x"), ("x/y", "y"), ("y/x", "x"), ("y/bee", "own/train/bee")):
        (tmp_path / link).symlink_to(tmp_path / target)
    (folder / "train/bee/itself").symlink_to("itself")
    (folder / "train/bee/gone").symlink_to(tmp_path / "gone")
    assert len(load(f"folder:{folder}").train) == 6
    assert notes(folder) == (
        "left out: 2 linked to nothing (such as train/bee/gone),"
        " 2 linked to a folder that is read anyway (such as train/bee/x/y/bee)"
    )


def test_a_class_may_be_a_link(tmp_path):
    """Where a class lies elsewhere, links there that lead up to what holds it add nothing either."""
    folder = put(tmp_path / "own", *PICTURES)
    away = put(tmp_path / "away", "cow/5.png", "other/6.png")
    (away / "cow/up").symlink_to("..")
    (folder / "train/cow").symlink_to(away / "cow")
    assert len(load(f"folder:{folder}").train) == 5
    assert notes(folder) == "left out: 1 linked to a folder that is read anyway (such as train/cow/up)"


def test_many_ways_to_one_folder_are_one(tmp_path):
    """Folders that link to the next one twice take no longer for the 2^30 ways through them."""
    folder = put(tmp_path / "own", *PICTURES)
    for i in range(30):
        place = put(tmp_path / f"{i}", f"{i}.png")
        for name in "ab":
            (place / name).symlink_to(tmp_path / f"{i + 1}")
    (folder / "train/bee/0").symlink_to(tmp_path / "0")
    assert len(load(f"folder:{folder}").train) == 4 + 30


def test_pictures_that_are_gone_are_named(tmp_path):
    """A link to a picture that is not there is no litter: it is one line that names it."""
    folder = put(tmp_path, *PICTURES)
    (folder / "train/bee/5.png").symlink_to("nowhere.png")
    with pytest.raises(InputError, match=r"train/bee/5\.png: cannot be read"):
        load(f"folder:{folder}")


def test_pipes_are_no_pictures(tmp_path):
    """What is neither file nor folder is left out, whatever its name, and nothing waits for it."""
    folder = put(tmp_path, *PICTURES)
    os.mkfifo(folder / "train/bee/5.png")
    os.mkfifo(folder / "train/bee/pipe")
    (folder / "train/bee/6.png").symlink_to("/dev/zero")
    assert notes(folder) == (
        "left out: 2 not a file (such as train/bee/5.png), 1 of unknown suffix (such as train/bee/pipe)"
    )


NFC, NFD = (unicodedata.normalize(form, "abeja-café") for form in ("NFC", "NFD"))


@pytest.mark.parametrize("train", [(NFC,), (NFD,), (NFC, NFD)])
@pytest.mark.parametrize("test", [(NFC,), (NFD,), (NFD, NFC)])
def test_names_of_another_normalization_are_the_same(train, test, tmp_path):
    """A class whose é is one character here, and an e with an accent there, is one class."""
    names = [f"train/{train[i % len(train)]}/{i}-{NFC}.png" for i in range(3)]
    names += [f"test/{name}/5.png" for name in test]
    dataset = load(f"folder:{put(tmp_path, 'train/bee/0.png', 'train/zebra/1.png', *names)}")
    assert (dataset.classes, len(dataset.train), len(dataset.test)) == (3, 5, len(test))
    assert dataset.train.labels.bincount().tolist() == [3, 1, 1]
    assert notes(tmp_path) == ""


def test_pictures_of_another_normalization_are_two(tmp_path):
    """Two files whose names differ in normalization alone are two pictures; streamed ones have one order everywhere."""
    folder = put(tmp_path / "one", *PICTURES, f"train/bee/{NFC}.png", f"train/bee/{NFD}.png")
    assert len(load(f"folder:{folder}").train) == 6
    assert notes(folder) == ""
    identities = []
    for name in (NFC, NFD):
        listing = Listing(put(tmp_path / unicodedata.name(name[-1]), f"train/{name}/5.png") / "train")
        identities.append(Files(listing.split, listing.classes[NFC]).identity(0))
    assert identities[0] == identities[1]


def test_a_class_whose_pictures_are_all_left_out_is_refused(tmp_path):
    """A class for training without pictures is one line that names it, and what is left out."""
    folder = put(tmp_path, *PICTURES, "train/cow/5.heic", "train/cow/._5.png")
    with pytest.raises(InputError) as error:
        load(f"folder:{folder}")
    assert str(error.value) == (
        f"{folder}/train/cow: no images: put some in, or take it away; left out: 1 hidden (such as train/cow/._5.png),"
        " 1 of unknown suffix (such as train/cow/5.heic)"
    )


def test_an_empty_picture_is_named(tmp_path):
    """A file without content is no litter: it is one line that names it."""
    folder = put(tmp_path, *PICTURES)
    (folder / "train/bee/5.png").touch()
    with pytest.raises(InputError, match=r"train/bee/5\.png: damaged"):
        load(f"folder:{folder}")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    """A folder without permission is no empty one: it is one line that names it."""
    folder = put(tmp_path, *PICTURES)
    scandir = os.scandir

    def closed(path):
        if Path(path).name == "sub":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(InputError, match=r"train/bee/sub: Permission denied$"):
        load(f"folder:{folder}")


def test_odd_names_are_told_on_one_line(tmp_path):
    """An example whose name would break the line, or is not UTF-8, is made printable."""
    note = notes(put(tmp_path, *PICTURES, "train/bee/\x1b[2J\n\udcff.heic"))
    assert note.isprintable()
    assert note.encode().startswith(b"left out: 1 of unknown suffix (such as train/bee/")


def test_a_dataset_can_be_looked_at(tmp_path):
    """`look` says where a dataset lies, how many images it has, and what is left out; it decodes none."""
    folder = put(tmp_path, *PICTURES, "train/.DS_Store")
    (folder / "train/bee/2.png").write_bytes(b"damaged")
    assert look(f"folder:{folder}") == (
        f"{folder}: 4 images for training, 1 for test; left out: 1 hidden (such as train/.DS_Store)"
    )
    with pytest.raises(InputError, match="no such folder"):
        look("folder:missing", folder)
    with pytest.raises(InputError, match="choose from digits"):
        look("missing", folder)

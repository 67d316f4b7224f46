"""Tests of which files are a dataset's splits: as they are downloaded, and where some have no labels."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deeptwins.data import load
from deeptwins.errors import InputError
from layouts_made import encoded, made, write_folder, write_parquet

CLASSES = ("n01443537", "n01629819", "n01641577")  # as ImageNet calls them


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Keep these tests out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def expected(tmp_path, parts):
    """The checksum of images in a plain ImageFolder."""
    return load(f"folder:{write_folder(tmp_path / 'plain', parts)}").checksum


def write_unlabelled(folder, count=5):
    """Write images of no class."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i}.png").write_bytes(encoded(np.full((6, 5), i, np.uint8)))


def write_tiny(folder, parts):
    """Write what the archive of Tiny-ImageNet holds."""
    for label, name in enumerate(CLASSES):
        images = folder / "train" / name / "images"
        images.mkdir(parents=True)
        for i in np.flatnonzero(parts["train"][0] == label):
            (images / f"{name}_{i}.JPEG").write_bytes(encoded(parts["train"][1][i]))
        (images.parent / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t32\t44\t62\n")
    (folder / "val/images").mkdir(parents=True)
    labels, pixels = parts["test"]
    for i, image in enumerate(pixels):
        (folder / f"val/images/val_{i}.JPEG").write_bytes(encoded(image))
    lines = [f"val_{i}.JPEG\t{CLASSES[label]}\t0\t32\t44\t62\n" for i, label in enumerate(labels)]
    (folder / "val/val_annotations.txt").write_text("".join(lines))
    write_unlabelled(folder / "test/images")
    (folder / "wnids.txt").write_text("\n".join(CLASSES))
    return folder


def write_imagenet(folder, parts):
    """Write what the archive of ImageNet at Kaggle holds."""
    splits = folder / "ILSVRC/Data/CLS-LOC"
    write_folder(splits, parts, classes=CLASSES)
    shutil.rmtree(splits / "test")
    write_unlabelled(splits / "test")
    (splits / "val").mkdir()
    rows = ["ImageId,PredictionString"]
    for i, (label, image) in enumerate(zip(*parts["test"], strict=True)):
        (splits / f"val/ILSVRC2012_val_{i:08}.JPEG").write_bytes(encoded(image))
        rows.append(f"ILSVRC2012_val_{i:08},{CLASSES[label]} 85 1 499 272 {CLASSES[label]} 0 0 9 9 ")
    (folder / "LOC_val_solution.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.parametrize("write", [write_tiny, write_imagenet])
def test_imagenet_is_read_as_downloaded(write, tmp_path):
    """ImageNet and Tiny-ImageNet give the images of an ImageFolder, those of `val` with the classes of their list."""
    parts = made(6, 5)
    folder = write(tmp_path / "own", parts)
    dataset = load(f"folder:{folder}")
    assert dataset.checksum == expected(tmp_path, parts)
    note = dataset.notes[0]
    assert note.startswith("the split val is the test set; ")
    assert note.endswith("test: no images in folders of train's classes")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(CLASSES[0], "n9"), r"val_annotations\.txt: class 'n9': no such class in .*train"),
        (lambda text: text[text.index("\n") + 1 :], r"val/images/val_0\.JPEG: not in .*val_annotations\.txt"),
        (lambda _: "", r"val_annotations\.txt: not a list of images and their classes"),
        (lambda text: text + "?\n", r"val_annotations\.txt: not a list of images and their classes"),
        (lambda text: text + "../../a.png\tn01443537\n", r"val_annotations\.txt: not a list of images"),
        (lambda text: text + text.splitlines()[0] + "\n", r"val_annotations\.txt: names an image more than once"),
        (lambda text: text + f"val_12.JPEG\t{CLASSES[0]}\n", r"val/images/val_12\.JPEG: cannot be read \(No such file"),
    ],
    ids=["class", "unlisted", "empty", "no class", "outside", "twice", "gone"],
)
def test_a_list_that_does_not_fit_is_named(change, message, tmp_path):
    """A list of classes must name all images that lie there, no others, and classes that are trained on."""
    folder = write_tiny(tmp_path, made(6, 5))
    path = folder / "val/val_annotations.txt"
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=message):
        load(f"folder:{folder}")


@pytest.mark.parametrize("change", ["\ufeff{}", "{}\n \n"])
def test_a_list_is_read_as_programs_write_it(change, tmp_path):
    """A byte order mark and blank lines say nothing."""
    parts = made(6, 5)
    folder = write_imagenet(tmp_path / "own", parts)
    path = folder / "LOC_val_solution.csv"
    path.write_text(change.format(path.read_text()), encoding="utf-8")
    assert load(f"folder:{folder}").checksum == expected(tmp_path, parts)


def test_what_systems_leave_behind_needs_no_line_in_a_list(tmp_path):
    """A hidden file beside the images of a list is left out, and counted, as everywhere."""
    parts = made(6, 5)
    folder = write_imagenet(tmp_path / "own", parts)
    (folder / "ILSVRC/Data/CLS-LOC/val/._ILSVRC2012_val_00000000.JPEG").touch()
    dataset = load(f"folder:{folder}")
    assert dataset.checksum == expected(tmp_path, parts)
    assert dataset.notes[1] == "left out: 1 hidden (such as val/._ILSVRC2012_val_00000000.JPEG)"


def test_an_empty_folder_is_no_class_for_test(tmp_path):
    """A folder without images beside those of classes, as is left where images were moved, needs no class."""
    parts = made(6, 5)
    folder = write_folder(tmp_path / "own", parts)
    (folder / "test/images").mkdir()
    assert load(f"folder:{folder}").checksum == expected(tmp_path, parts)
    write_unlabelled(folder / "test/images")
    with pytest.raises(InputError, match=r"test/images: no such class in .*train"):
        load(f"folder:{folder}")


def test_flat_folders_without_a_list_are_named(tmp_path):
    """Where no split but that for training has labels, one line names all that there are."""
    folder = write_imagenet(tmp_path, made(6, 5))
    (folder / "LOC_val_solution.csv").unlink()
    with pytest.raises(
        InputError, match=r"test: no images in folders of .*; .*val: no images in folders of .*: put the"
    ):
        load(f"folder:{folder}")


@pytest.mark.parametrize("kind", ["empty", "flat", "empty classes", "images", "unknown"])
@pytest.mark.parametrize("split", ["val", "valid", "validation"])
def test_a_test_folder_without_labels_is_passed_over(kind, split, tmp_path):
    """Beside a labelled split for validation, a `test` that is empty or has no labels is noted, and not used."""
    parts = made(6, 5)
    folder = write_folder(tmp_path / "own", parts, split)
    (folder / "test").mkdir()
    if kind == "empty classes":
        for name in ("ant", "bee", "cat"):
            (folder / "test" / name).mkdir()
    elif kind != "empty":
        write_unlabelled(folder / "test" / {"flat": ""}.get(kind, kind))
    dataset = load(f"folder:{folder}")
    assert dataset.checksum == expected(tmp_path, parts)
    assert [note.split("; ")[0] for note in dataset.notes] == [f"the split {split} is the test set"]
    assert "; test: no images" in dataset.notes[0]


def test_a_labelled_test_folder_is_used(tmp_path):
    """Where `test` is labelled, no other split matters, and there is nothing to note."""
    parts = made(6, 5)
    folder = write_folder(tmp_path / "own", parts)
    write_unlabelled(folder / "val")
    dataset = load(f"folder:{folder}")
    assert (dataset.checksum, dataset.notes) == (expected(tmp_path, parts), ())


def rename(path, name):
    """Give a file of Parquet another name, in another folder maybe."""
    target = path.parent / name.format(shard=path.name.split("-")[1])
    target.parent.mkdir(exist_ok=True)
    path.rename(target)


def write_single(folder, parts):
    """Write one Parquet file a split."""
    write_parquet(folder, parts)
    for split in ("train", "test"):
        files = sorted(folder.glob(f"{split}-*.parquet"))
        table = pa.concat_tables(map(pq.read_table, files))
        for file in files:
            file.unlink()
        pq.write_table(table, folder / f"{split}-0.parquet")
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "{split}/{shard}.parquet",
        "{split}/part-{shard}.parquet",
        "{split}-{shard}.parquet",
        "{split}.parquet/part-{shard}.parquet",
    ],
)
@pytest.mark.parametrize("split", ["test", "validation", "valid", "val"])
def test_parquet_files_are_found_by_any_usual_name(name, split, tmp_path):
    """A split is SPLIT-*.parquet, or all files in SPLIT/ or SPLIT.parquet/; whichever is the test set is noted."""
    parts = made(6, 5)
    folder = write_parquet(tmp_path / "own", parts)
    for path in folder.glob("*.parquet"):
        own = "train" if path.name.startswith("train") else split
        rename(path, name.replace("{split}", own))
    dataset = load(f"parquet:{folder}")
    assert dataset.checksum == expected(tmp_path, parts)
    assert dataset.notes == (() if split == "test" else (f"the split {split} is the test set",))


@pytest.mark.parametrize(
    "file",
    [
        ".ipynb_checkpoints/train-checkpoint.parquet",
        "__MACOSX/data/train-00000-of-00002.parquet",
        "train/._0000.parquet",
    ],
)
def test_parquet_that_systems_leave_behind_is_passed_over(file, tmp_path):
    """Hidden files and folders, and those that programs leave behind, are no part of a split."""
    parts = made(6, 5)
    folder = write_parquet(tmp_path / "own/data", parts).parent
    (folder / file).parent.mkdir(exist_ok=True, parents=True)
    (folder / file).write_bytes(b"anything")
    assert load(f"parquet:{folder}").checksum == expected(tmp_path, parts)


def test_links_to_folders_of_parquet_are_followed(tmp_path):
    """A link leads to files that lie elsewhere; one in a circle, or to what is found anyway, adds nothing."""
    parts = made(6, 5)
    folder = tmp_path / "own"
    folder.mkdir()
    store = write_parquet(tmp_path / "store/data", parts)
    for name, target in {"data": store, "again": store, "up": tmp_path, "itself": folder}.items():
        (folder / name).symlink_to(target)
    (store / "circle").symlink_to(store.parent)
    assert load(f"parquet:{folder}").checksum == expected(tmp_path, parts)
    (tmp_path / "link").symlink_to(folder)
    assert load(f"parquet:{tmp_path / 'link'}").checksum == expected(tmp_path / "again", parts)


def test_a_single_parquet_file_is_a_split(tmp_path):
    """A split may be one file, SPLIT.parquet."""
    parts = made(6, 5)
    folder = write_single(tmp_path / "own", parts)
    for split in ("train", "test"):
        (folder / f"{split}-0.parquet").rename(folder / f"{split}.parquet")
    assert load(f"parquet:{folder}").checksum == expected(tmp_path, parts)


@pytest.mark.parametrize("labels", ["secret", "null", "only null", "not a number", "none", "no rows"])
def test_parquet_without_labels_is_passed_over(labels, tmp_path):
    """Beside a labelled split for validation, a `test` without labels (-1, null, no column, no row) is not used."""
    parts = made(6, 5)
    folder = write_parquet(tmp_path / "own", parts, test="validation")
    table = pq.read_table(folder / "validation-00000-of-00002.parquet")
    kinds = {"null": pa.int64(), "only null": pa.null(), "not a number": pa.float64()}
    column = [-1] * len(table) if labels == "secret" else None
    if labels in kinds:
        column = pa.nulls(len(table), kinds[labels])
    table = table.drop_columns("label") if column is None else table.set_column(1, "label", [column])
    if labels == "no rows":
        table = pq.read_table(folder / "validation-00000-of-00002.parquet").slice(0, 0)
    pq.write_table(table, folder / "test-00000-of-00001.parquet")
    dataset = load(f"parquet:{folder}")
    assert dataset.checksum == expected(tmp_path, parts)
    assert dataset.notes[0].startswith("the split validation is the test set; test-00000-of-00001.parquet: ")


def test_labels_that_are_partly_missing_are_refused(tmp_path):
    """A split with some labels is not passed over: it is damaged."""
    folder = write_parquet(tmp_path, made(6, 5))
    path = folder / "test-00001-of-00002.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, "label", [[-1] * len(table)]), path)
    write_parquet(folder, {"test": made(6, 5)["test"]}, test="validation")
    with pytest.raises(InputError, match=rf"^{path}: column label must hold an integer from 0"):
        load(f"parquet:{folder}")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "must hold train-.* it holds nothing"),
        (["data.parquet", "notes.txt"], "must hold train-.* it holds data.parquet$"),
        (["train.parquet"], "must hold train-.* it holds train.parquet$"),
        (["Train/x.parquet", "Test/x.parquet"], r"it holds Test/x\.parquet, Train/x\.parquet$"),
        ([f"{i}.parquet" for i in range(9)], r"it holds 0\.parquet, .*, 5\.parquet and 3 more$"),
        (["images.zip", "a/b.png"], "it holds a/, images.zip$"),
        (["train.parquet", "train/0.parquet", "test.parquet"], "more than one folder or form, .*: choose one"),
        (["train.parquet", "train-0.parquet", "test.parquet"], "more than one folder or form, .*: choose one"),
        (["a/train/0.parquet", "b/train/0.parquet", "test.parquet"], "more than one folder or form, .*: choose one"),
    ],
)
def test_parquet_under_other_names_is_named(files, message, tmp_path):
    """Where the splits are not found, or found twice, one line names the files that are there."""
    folder = tmp_path / "own"
    write_parquet(folder, made(6, 5))
    for path in folder.glob("*.parquet"):
        path.rename(tmp_path / path.name)
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True, parents=True)
        split = "test" if "test" in file.lower() else "train"
        shutil.copy(tmp_path / f"{split}-00000-of-00002.parquet", folder / file)
    with pytest.raises(InputError, match=rf"^{folder}.*{message}"):
        load(f"parquet:{folder}")


def test_folders_under_other_names_are_named(tmp_path):
    """Where an ImageFolder's splits are not found, one line names the folders that are there."""
    folder = write_folder(tmp_path / "own", made(6, 5))
    (folder / "train").rename(folder / "Training")
    with pytest.raises(InputError, match=rf"^{folder}: must hold train/.*; it holds Training/, test/$"):
        load(f"folder:{folder}")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [[{"bytes": b"x"}]]}, r"one image in a row.*, of which image is list<element: struct<bytes"),
        ({"image": [[{"bytes": b"x"}, {"bytes": b"y"}]]}, r"one image in a row.*, of which image is list<"),
        ({"image": ["images/1.png"]}, r"one image in a row.*, of which image is string"),
        (
            {"image": [{"bytes": None, "path": "images/1.png"}]},
            r"row 0: has no bytes, a path at most: the image is not",
        ),
        ({"image": [{"path": "images/1.png"}]}, r"of which image is struct<path: string>"),
        ({"image": [[[1, 2], [3, 4]]]}, r"of which image is list<"),
        ({"image": [{"bytes": {"bytes": b"x"}}]}, r"of which image is struct<bytes: struct<"),
    ],
)
def test_images_that_are_not_in_a_parquet_file_are_not_called_damaged(columns, message, tmp_path):
    """A column of lists, of paths or of arrays is named for what it is: nothing is damaged."""
    path = write_parquet(tmp_path, made(6, 5)) / "train-00000-of-00002.parquet"
    pq.write_table(pa.table({**columns, "label": [0]}), path)
    with pytest.raises(InputError, match=rf"^{path}.*{message}") as error:
        load(f"parquet:{tmp_path}")
    assert "damaged" not in str(error.value)


def test_columns_of_one_name_are_refused(tmp_path):
    """Where two columns have the name of the images or labels, the line says so."""
    folder = write_parquet(tmp_path, made(6, 5))
    path = folder / "train-00001-of-00002.parquet"
    table = pq.read_table(path)
    for name in ("image", "label"):
        pq.write_table(table.append_column(name, table[name]), path)
        with pytest.raises(InputError, match=rf"^{path}: has more than one column {name}$"):
            load(f"parquet:{folder}")


def test_plain_bytes_are_images_too(tmp_path):
    """A column of bytes without a path is as good as a struct."""
    parts = made(6, 5)
    folder = write_parquet(tmp_path / "own", parts)
    for path in folder.glob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.set_column(0, "image", [table["image"].combine_chunks().field("bytes")]), path)
    assert load(f"parquet:{folder}").checksum == expected(tmp_path, parts)

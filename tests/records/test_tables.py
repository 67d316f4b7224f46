"""The files that profiles and compiled kernels lie in: they keep everything; what is wrong in one is one line."""

import re

import pytest

import kernels_made
import profiles_made
from deeptwins.records import kernels, profiles, tables
from refusals import refused

PROFILE = profiles_made.made()
FILES = {  # what reads and writes them, a content, its place in a folder, a key of each row, how many there are
    "profile": (profiles, PROFILE, lambda folder: profiles.path_of(folder, PROFILE.name), '"layer": ', 30),
    "kernels": (kernels, kernels_made.compiled(), kernels.path_of, '"registers": ', 8),
}


def written(folder, kind):
    """Write a file; returns what reads it, and its path."""
    module, content, path_of, *_ = FILES[kind]
    path = path_of(folder)
    tables.write(path, content)
    return module, path


def test_what_checks_that_a_file_can_be_written_leaves_nothing(tmp_path):
    """Folders that are not there yet can be made, unless a file has the name of one; neither is anything made."""
    tables.check_writable(tmp_path / "results" / "profile" / "one.json")
    assert not [*tmp_path.iterdir()]

    (tmp_path / "results").touch()
    with pytest.raises(NotADirectoryError):
        tables.check_writable(tmp_path / "results" / "profile" / "one.json")


@pytest.mark.parametrize("kind", FILES)
def test_the_file_keeps_everything(tmp_path, kind):
    """What is written is what is read, a row a line, with the same bytes each time, and nothing lies beside it."""
    module, path = written(tmp_path, kind)
    _, content, _, key, rows = FILES[kind]
    text = path.read_bytes()

    assert module.read(path) == content
    assert sum(key.encode() in line for line in text.splitlines()) == rows
    written(tmp_path, kind)
    assert path.read_bytes() == text
    assert [*tmp_path.rglob("*.*")] == [path]


@pytest.mark.parametrize(
    ("kind", "old", "new", "told"),
    [
        *((kind, "{", "", "damaged, not JSON") for kind in FILES),
        *((kind, '"schema": 1', '"schema": 2', "schema 2, and this deeptwins reads up to 1") for kind in FILES),
        ("kernels", '"registers": 40', '"registers": -1', "kernels.0.registers: input should be greater than or equal"),
        ("kernels", '"registers": 40', '"registers": "many"', "kernels.0.registers: "),
        ("kernels", '"registers": 40', '"regs": 40', "kernels.0.registers: field required"),
        ("kernels", '"devices"', '"gadgets"', "devices: field required"),
        ("profile", '"threads": 1', '"threads": -1', "threads: input should be greater than or equal to 0"),
        ("profile", '"time_us": 1000.0', '"time_us": "long"', "ops.0.time_us: "),
        ("profile", '"time_us": 1000.0', '"time_us": NaN', "ops.0.time_us: "),
        ("profile", '"layer": "batch"', '"place": "batch"', "ops.0.layer: field required"),
        ("profile", '"direction": "forward"', '"direction": "up"', "ops.0.direction: "),
        ("profile", '"net": "cifar-resnet-8"', '"net": "cifar-plain-8"', "nets: one of them stands there twice"),
        ("profile", '"net": "cifar-resnet-8"', '"net": "other"', "ops of cifar-resnet-8, which is not among its nets"),
        ("profile", '"precision": "fp32"', '"precision": "bf16"', "no rate for fp32"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, kind, old, new, told):
    """What is wrong is told with the file's name and the place in it."""
    module, path = written(tmp_path, kind)
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")

    assert refused(module.read, path).startswith(f"{path}: {told}")


def test_a_net_without_time_is_refused(tmp_path):
    """A net none of whose ops took any time has nothing to show."""
    path = tmp_path / "profile.json"
    tables.write(path, PROFILE.model_copy(update={"ops": PROFILE.ops[:15]}))

    assert "no op of cifar-resnet-8 took any time" in refused(profiles.read, path)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("text", ["[]", "null", '{"schema": "new"}', "[" * 100_000])
def test_other_json_is_one_line_too(tmp_path, kind, text):
    """Whatever stands in the file, there is no traceback."""
    module, path = written(tmp_path, kind)
    path.write_text(text, encoding="utf-8")

    assert refused(module.read, path).startswith(f"{path}: ")


@pytest.mark.parametrize("kind", FILES)
def test_no_file(tmp_path, kind):
    """Without the file one line says what writes it."""
    module, _, path_of, *_ = FILES[kind]

    assert re.fullmatch(r".*\.json: no such file; `deeptwins \w+` writes it", refused(module.read, path_of(tmp_path)))

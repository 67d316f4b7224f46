"""The file that a profile lies in: it keeps everything, and whatever is wrong in it is one line."""

import pytest

from deeptwins.errors import InputError
from deeptwins.records import profiles, tables
from profiles_made import made


@pytest.fixture
def path(tmp_path):
    """A file with a profile."""
    path = profiles.path_of(tmp_path, made().name)
    tables.write(path, made())
    return path


def test_the_file_keeps_everything(tmp_path, path):
    """What is written is what is read, an op a line, with the same bytes each time, and nothing lies beside it."""
    text = path.read_bytes()

    assert profiles.read(path) == made()
    assert sum(b'"layer": ' in line for line in text.splitlines()) == 30
    tables.write(path, made())
    assert path.read_bytes() == text
    assert [*tmp_path.rglob("*.*")] == [path]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("{", "", "damaged, not JSON"),
        ('"schema": 1', '"schema": 2', "schema 2, and this deeptwins reads up to 1"),
        ('"threads": 1', '"threads": -1', "threads: input should be greater than or equal to 0"),
        ('"time_us": 1000.0', '"time_us": "long"', "ops.0.time_us: "),
        ('"time_us": 1000.0', '"time_us": NaN', "ops.0.time_us: "),
        ('"layer": "batch"', '"place": "batch"', "ops.0.layer: field required"),
        ('"direction": "forward"', '"direction": "up"', "ops.0.direction: "),
        ('"net": "cifar-resnet-8"', '"net": "cifar-plain-8"', "nets: one of them stands there twice"),
        ('"net": "cifar-resnet-8"', '"net": "other"', "ops of cifar-resnet-8, which is not among its nets"),
        ('"precision": "fp32"', '"precision": "bf16"', "no rate for fp32"),
    ],
)
def test_a_damaged_file_is_one_line(path, old, new, told):
    """What is wrong is told with the file's name and the place in it, and what to do."""
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")

    with pytest.raises(InputError) as error:
        profiles.read(path)

    assert str(error.value).startswith(f"{path}: {told}")
    assert "\n" not in str(error.value)


def test_a_net_without_time_is_refused(path):
    """A net none of whose ops took any time has nothing to show."""
    profile = made()
    tables.write(path, profile.model_copy(update={"ops": profile.ops[:15]}))

    with pytest.raises(InputError, match="no op of cifar-resnet-8 took any time"):
        profiles.read(path)


@pytest.mark.parametrize("text", ["[]", "null", '{"schema": "new"}', "[" * 100_000])
def test_other_json_is_one_line_too(path, text):
    """Whatever stands in the file, there is no traceback."""
    path.write_text(text, encoding="utf-8")

    with pytest.raises(InputError, match=r"\.json: "):
        profiles.read(path)


def test_no_file(tmp_path):
    """Without the file one line says what writes it."""
    with pytest.raises(InputError, match=r"no\.json: no such file; `deeptwins profile` writes it"):
        profiles.read(profiles.path_of(tmp_path, "no"))

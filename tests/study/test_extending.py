"""Studies that extend another: what they have of it, where it is found, what is refused, and how they are written."""

import hashlib
import re
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from deeptwins import study
from deeptwins.errors import InputError
from deeptwins.study import extending, places, schema, toml
from places import ROOT

BASE = """
question = "Does it rise?"
scale = "Small."
[answer]
met = "Yes."
contradicted = "No."
[twins]
plain = { shortcut = "none" }
residual = { shortcut = "zero-pad", width = 8 }
[[vary]]
family = "cifar"
depth = [20, 32]
seed = [0, 1, 2]
[recipe]
dataset = "digits"
iterations = 100
batch_size = 128
learning_rate = 0.1
warmup = 5
[[expect]]
twin = "plain"
trend = "rises"
"""
SHIPPED = sorted(path.stem for path in ROOT.glob("ablations/*.toml"))
IDS = {
    "batch-norm-batch-cifar10": "6e2e0c53c3523e94",
    "block-order-cifar10": "42d1afb1b61ee420",
    "budget-cifar10": "988a0419fd0ff770",
    "depth-cifar10": "b61fc0d42e02dd39",
    "initialization-cifar10": "0ef9666e72ec462f",
    "shortcut-scaling-cifar10": "9858d8d846f40fa5",
    "stochastic-depth-cifar10": "08d6d2f6136bd525",
    "warm-up-cifar10": "caa321e2c57eaa62",
    "width-cifar10": "05a222787ba44fe0",
}
"""By study, a hash of the ids that its runs had when its file repeated what it now extends."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to write studies into; none ships, and none lies in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "SHIPPED", tmp_path / "shipped")
    return tmp_path


def write(path, text):
    """Write a study."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_tables_are_merged_and_lists_replaced(folder):
    """A key of a table, at any depth, changes that key alone; a list takes the place of the list; new keys follow."""
    write(folder / "base.toml", BASE)
    some = 'extends = "base"\nquestion = "Now?"\n[answer]\nmet = "Now."\n[twins]\nthird = {}\nplain = { width = 4 }\n'
    some += '[[vary]]\nfamily = "imagenet"\ndepth = 18\nseed = 0\n[recipe]\nlearning_rate = 0.2\nshift = 1\n'

    content, extended = extending.merged(write(folder / "some.toml", some))

    base = tomllib.loads(BASE)
    assert extended == [folder / "base.toml"]
    assert content == base | {
        "question": "Now?",
        "answer": {"met": "Now.", "contradicted": "No."},
        "twins": {"plain": {"shortcut": "none", "width": 4}, "residual": base["twins"]["residual"], "third": {}},
        "vary": [{"family": "imagenet", "depth": 18, "seed": 0}],
        "recipe": base["recipe"] | {"learning_rate": 0.2, "shift": 1},
    }
    assert [*content["twins"]] == ["plain", "residual", "third"]
    assert [*content] == [*base]


def test_what_is_left_out_is_gone_and_may_be_given_anew(folder):
    """`without` names keys by their tables; a table that is left out and given again has only what is given."""
    write(folder / "base.toml", BASE)
    some = 'extends = "base"\nwithout = ["scale", "recipe.warmup", "twins.plain", "twins.residual.width", "expect"]\n'
    other = 'extends = "base"\nwithout = ["twins", "expect"]\n[twins]\nown = {}\n'

    content, _ = extending.merged(write(folder / "some.toml", some))
    replaced, _ = extending.merged(write(folder / "other.toml", other))

    assert content.keys() == {"question", "answer", "twins", "vary", "recipe"}
    assert content["twins"] == {"residual": {"shortcut": "zero-pad"}}
    assert "warmup" not in content["recipe"]
    assert replaced["twins"] == {"own": {}}


def test_a_study_has_the_runs_of_what_its_files_say_together(folder):
    """An id depends on the merged study alone; settings and seeds change it as they change any."""
    write(folder / "base.toml", BASE)
    path = write(folder / "some.toml", 'extends = "base"\n[recipe]\nlearning_rate = 0.2\n')
    whole = write(folder / "w" / "some.toml", BASE.replace("0.1", "0.2"))

    assert study.load(path).runs == study.load(whole).runs
    assert study.load(path, ["recipe.shift=1"], 2).runs == study.load(whole, ["recipe.shift=1"], 2).runs


def test_the_documented_study_is_sound(tmp_path):
    """The study with `extends` that docs/studies.md shows loads, and has what the document says."""
    page = ROOT.joinpath("docs", "studies.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```\n(#:schema .*?)^```", page, re.MULTILINE | re.DOTALL)

    found = study.load(write(tmp_path / "some.toml", text))

    assert Draft7Validator(schema.schema({})).is_valid(tomllib.loads(text))
    assert (len(found.runs), [*found.twins], found.recipe["learning_rate"]) == (6, ["residual"], 0.1)
    assert (found.scale, found.paper, found.recipe["warmup"]) == ("", [], 45)


def test_a_chain_is_followed(folder):
    """A study may extend one that extends another; the nearest has the last word."""
    write(folder / "base.toml", BASE)
    write(folder / "middle.toml", 'extends = "base"\nscale = "Middle."\n[recipe]\nshift = 1\nflip = true\n')
    path = write(folder / "some.toml", 'extends = "middle"\n[recipe]\nshift = 2\n')

    found = study.load(path)

    assert (found.scale, found.recipe["shift"], found.recipe["flip"]) == ("Middle.", 2, True)


def test_what_is_extended_is_found_as_studies_are(folder):
    """By name beside the file, then in ablations/, then among those that ship; by path from the file's own folder."""
    write(folder / "shipped" / "base.toml", BASE.replace("Small.", "Shipped."))
    by_name = write(folder / "own" / "some.toml", 'extends = "base"\n')
    by_path = write(folder / "own" / "other.toml", 'extends = "../shipped/base.toml"\n')

    found = [study.load(by_name).scale, study.load(by_path).scale]
    write(folder / "ablations" / "base.toml", BASE.replace("Small.", "In ablations."))
    found.append(study.load(by_name).scale)
    write(folder / "own" / "base.toml", BASE.replace("Small.", "Beside."))
    found.append(study.load(by_name).scale)

    assert found == ["Shipped.", "Shipped.", "In ablations.", "Beside."]


def test_a_study_that_ships_extends_one_that_ships(folder):
    """Whatever lies in ablations/, a study that ships is what it was."""
    write(folder / "shipped" / "base.toml", BASE)
    path = write(folder / "shipped" / "some.toml", 'extends = "base"\n')
    write(folder / "ablations" / "base.toml", BASE.replace("Small.", "Mine."))

    assert study.load(path).scale == "Small."


def test_a_study_may_extend_the_one_that_it_hides(folder):
    """In ablations/, a study that extends its own name changes the one of that name that ships."""
    write(folder / "shipped" / "base.toml", BASE)
    write(folder / "ablations" / "base.toml", 'extends = "base"\nscale = "Mine."\n')

    found = study.load(study.find("base"))

    assert (found.path.parent.name, found.question, found.scale) == ("ablations", "Does it rise?", "Mine.")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('extends = "bsae"', 'extends = "bsae": no such study in {here}/; did you mean base?'),
        ('extends = "some"', 'extends = "some": the study extends itself'),
        ('extends = "some.toml"', 'extends = "some.toml": the study extends itself'),
        ('extends = "gone.toml"', 'extends = "gone.toml": no such file: {here}/gone.toml'),
        (
            'extends = "circle"',
            'extends = "some": the studies extend each other: some.toml -> circle.toml -> some.toml',
        ),
        ("extends = 5", "extends = 5: should be the name of a study, or the path of its file"),
        ('extends = ""', 'extends = "": should be the name of a study, or the path of its file'),
        (
            'extends = "\\u001b"',
            'extends = "\\u001b": no such study in {here}/; choose from base, broken, circle,',
        ),
        ('without = ["scale"]', "without: of no use without extends"),
        ('extends = "base"\nwithout = "scale"', 'without = "scale": should be a list of keys, such as recipe.warmup'),
        (
            'extends = "base"\nwithout = ["recipe.warmpu"]',
            'without: "recipe.warmpu" is not in the extended study; did you mean warmup?',
        ),
        ('extends = "base"\nwithout = ["scale.x"]', 'without: "scale.x" is not in the extended study'),
        ('extends = "broken"', "not TOML"),
        ('extends = "folder"', "{here}/folder.toml: a folder, not a regular file"),
        ('extends = "folder.toml"', "{here}/folder.toml: a folder, not a regular file"),
        ('extends = "loop"', 'extends = "loop": Too many levels of symbolic links'),
        ('extends = "dangling"', 'extends = "dangling": no such file: {here}/dangling.toml'),
        (f'extends = "{"x" * 300}.toml"', "File name too long"),
        ('extends = "\\u0000.toml"', "no such file: {here}/"),
        (
            'extends = "base"\n[recipe]\ndepth = 8',
            "vary[0].depth: given in [recipe] too; give it once (with what it has of base.toml)",
        ),
        (
            'extends = "base"\n[recipe]\nlearning_rat = 8',
            "recipe.learning_rat: unknown key; did you mean learning_rate? (with what it has of base.toml)",
        ),
    ],
)
def test_what_cannot_be_extended_is_one_line(folder, text, told):
    """It names the file, the key, what is wrong, and what would be right."""
    write(folder / "base.toml", BASE)
    write(folder / "broken.toml", "question =")
    write(folder / "circle.toml", 'extends = "some"')
    folder.joinpath("folder.toml").mkdir()
    for name, target in {"loop": "loop.toml", "dangling": "gone"}.items():
        folder.joinpath(f"{name}.toml").symlink_to(target)
    path = write(folder / "some.toml", text)

    with pytest.raises(InputError) as error:
        study.load(path)

    line = str(error.value)
    assert line.isprintable()
    assert line.startswith(f"{folder}/")
    assert told.format(here=folder) in line


@pytest.mark.parametrize("name", SHIPPED)
def test_a_study_that_is_written_is_the_same(tmp_path, name):
    """What `written` gives for each study that ships has all that it extends, and loads to the same study."""
    path = ROOT / "ablations" / f"{name}.toml"
    copy = tmp_path / path.name
    copy.write_text(study.written(path, ["recipe.precision=bf16"]), encoding="utf-8")

    original, read = study.load(path, ["recipe.precision=bf16"]), study.load(copy)

    assert read == original.model_copy(update={"path": copy, "settings": ()})
    assert [*read.twins] == [*original.twins]
    assert extending.EXTENDS not in tomllib.loads(copy.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", IDS)
def test_runs_on_cifar10_keep_their_ids(name):
    """The runs of the studies that became what they change have the ids that they had before."""
    ids = [run.id for run in study.load(ROOT / "ablations" / f"{name}.toml").runs]

    assert hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16] == IDS[name]
    assert tomllib.loads(ROOT.joinpath("ablations", f"{name}.toml").read_text(encoding="utf-8"))["extends"] == (
        name.removesuffix("-cifar10")
    )


SCALARS = st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(max_size=9)
KEYS = st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=4
) | st.lists(st.integers(), min_size=30, max_size=40)


@settings(max_examples=50)
@given(content=st.dictionaries(KEYS, VALUES, max_size=4))
def test_toml_that_is_written_is_read_again(content):
    """Whatever keys, texts, numbers, lists and tables there are, and with no character that a terminal obeys."""
    text = toml.write(content)

    assert tomllib.loads(text) == content
    assert all(line.isprintable() for line in text.split("\n"))

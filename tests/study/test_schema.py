"""The JSON schema of a study file: as strict as what reads one, wherever a schema can say it."""

import json
import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pydantic import ValidationError

from deeptwins import study
from deeptwins.errors import InputError
from deeptwins.study import reference, schema
from deeptwins.study.claims import STATEMENTS, Expect, Paper
from deeptwins.study.files import FROM_OUTSIDE, Answer, Study
from deeptwins.study.specs import Net, Recipe
from places import ROOT

SCHEMA = schema.schema({})
VALIDATOR = Draft7Validator(SCHEMA)
STUDY = """
question = "Does it rise?"
fails_above_pct = 30
[answer]
met = "Yes."
contradicted = "No."
[twins]
plain = { shortcut = "none" }
residual = { shortcut = "zero-pad" }
[[vary]]
family = "cifar"
depth = [20, 32]
seed = [0, 1]
[recipe]
dataset = "digits"
iterations = 100
batch_size = 128
learning_rate = 0.1
[[expect]]
twin = "plain"
trend = "rises"
[[paper]]
twin = "plain"
family = "cifar"
depth = 20
metric = "test_error_pct"
value = 8.75
source = "table 6"
"""
FIELDS = {**Net.model_fields, **Recipe.model_fields}


def accepted(folder, text):
    """Whether `load` takes a study."""
    path = folder / "some.toml"
    path.write_text(text, encoding="utf-8")
    try:
        study.load(path)
    except InputError:
        return False
    return True


def valid(text):
    """Whether the schema takes a study."""
    return VALIDATOR.is_valid(tomllib.loads(text))


def test_it_is_a_schema():
    """It is JSON, and a schema of the dialect that it names."""
    Draft7Validator.check_schema(json.loads(json.dumps(SCHEMA)))


@pytest.mark.parametrize("path", sorted(ROOT.glob("ablations/*.toml")), ids=lambda path: path.stem)
def test_shipped_studies_are_valid(path):
    """Every study that ships names the committed schema in its first line, and is valid by it."""
    text = path.read_text(encoding="utf-8")
    named = text.splitlines()[0].removeprefix("#:schema ")
    committed = json.loads(path.parent.joinpath(named).read_text(encoding="utf-8"))

    assert not [error.message for error in Draft7Validator(committed).iter_errors(tomllib.loads(text))]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Unknown keys, in every table.
        ("question", "anything = 1\nquestion"),
        ("question", 'name = "some"\nquestion'),
        ('met = "Yes."', 'met = "Yes."\nmaybe = "Perhaps."'),
        ('shortcut = "none"', 'shortcut = "none", colour = "red"'),
        ('shortcut = "none"', 'shortcut = "none", iterations = 5'),
        ("seed = [0, 1]", "seed = [0, 1]\nanything = 1"),
        ("iterations = 100", "iterations = 100\nseed = 1"),
        ('trend = "rises"', 'trend = "rises"\nanything = 1'),
        ('trend = "rises"', 'trend = "rises"\nwhere = { anything = 1 }'),
        ("value = 8.75", "value = 8.75\nanything = 1"),
        # Values of another type, out of range, or of another name.
        ("fails_above_pct = 30", "fails_above_pct = 101"),
        ("fails_above_pct = 30", "flat_within_pct = -1"),
        ('question = "Does it rise?"', 'question = ""'),
        ('question = "Does it rise?"', f'question = "{"x" * 4001}"'),
        ("iterations = 100", "iterations = 0"),
        ("iterations = 100", "iterations = 1.5"),
        ("iterations = 100", 'iterations = "100"'),
        ("iterations = 100", "iterations = [100, 200]"),
        ("iterations = 100", "iterations = true"),
        ("learning_rate = 0.1", "learning_rate = 0"),
        ("learning_rate = 0.1", "learning_rate = 0.1\nmomentum = 1"),
        ("learning_rate = 0.1", 'learning_rate = 0.1\nprecision = "fp8"'),
        ("learning_rate = 0.1", "learning_rate = 0.1\nmilestones = [0]"),
        ("learning_rate = 0.1", 'learning_rate = 0.1\nmilestones = ["5"]'),
        ("depth = [20, 32]", "depth = [20, 0]"),
        ("depth = [20, 32]", "depth = []"),
        ("seed = [0, 1]", "seed = [0, -1]"),
        ("seed = [0, 1]", "seed = [[0], [1]]"),
        ("seed = [0, 1]", f"seed = {2**63}"),
        ("seed = [0, 1]", "seed = [0, 0]"),
        ("seed = [0, 1]", 'seed = [0, 1]\n[[vary]]\nfamily = "cifar"\ndepth = [20, 32]\nseed = [0, 1]'),
        ('shortcut = "none"', "shortcut = 1"),
        ("plain = ", "Plain = "),
        ("plain = ", f"{'x' * 61} = "),
        ('trend = "rises"', 'trend = "up"'),
        ('trend = "rises"', "at_most = 101"),
        ("value = 8.75", 'value = "works"'),
        ('metric = "test_error_pct"', 'metric = "error"'),
        # What is missing, or is said twice.
        ('question = "Does it rise?"', ""),
        ('met = "Yes."', ""),
        ("seed = [0, 1]", ""),
        ('family = "cifar"\ndepth = [20, 32]', "depth = [20, 32]"),
        ("depth = [20, 32]", ""),
        *((f"{key} = ", f"# {key} = ") for key in ("dataset", "iterations", "batch_size", "learning_rate")),
        ('trend = "rises"', ""),
        ('trend = "rises"', 'trend = "rises"\nat_most = 5'),
        ('twin = "plain"\ntrend', "trend"),
        ('source = "table 6"', ""),
    ],
)
def test_a_slip_is_refused_by_both(tmp_path, old, new):
    """An unknown key, a wrong type, a value out of range and a missing key are refused by `load` and by the schema."""
    text = STUDY.replace(old, new, 1)

    assert text != STUDY
    assert (accepted(tmp_path, STUDY), valid(STUDY)) == (True, True)
    assert (accepted(tmp_path, text), valid(text)) == (False, False)


@pytest.mark.parametrize(
    "changes",
    [
        {'family = "cifar"\ndepth = [': "depth = [", "{ shortcut": '{ family = "cifar", shortcut'},
        {"iterations = 100\n": "", "seed = [0, 1]": "seed = [0, 1]\niterations = [100, 200]"},
        {"seed = [0, 1]": "seed = 0\nmilestones = [5, 50]\nflip = [true, false]"},
        {'trend = "rises"': 'trend = "rises"\nwhere = { batch_size = 128, width = 16 }\nmetric = "test_error_pct"'},
    ],
    ids=["in all twins", "in all grids", "lists", "where"],
)
def test_a_key_may_stand_wherever_load_takes_it(tmp_path, changes):
    """What every run needs may stand in the recipe, in every grid or, of a net, in every twin; and grids have lists."""
    text = STUDY
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)

    assert (accepted(tmp_path, text), valid(text)) == (True, True)


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ('extends = "base"', True),
        ('extends = "base"\nwithout = ["recipe.learning_rate"]\n[recipe]\nlearning_rate = 1', True),
        ('extends = "base"\n[answer]\nmet = "Perhaps."', True),
        ('extends = "base"\n[twins]\nother = {}\n[[vary]]\nfamily = "cifar"\ndepth = [20, 32]\nseed = 0', True),
        ('without = ["fails_above_pct"]\n' + STUDY, False),
        ("extends = 1", False),
        ('extends = ""', False),
        ('extends = "base"\nwithout = "expect"', False),
        ('extends = "base"\nwithout = [1]', False),
        ('extends = "base"\nanything = 1', False),
        ('extends = "base"\n[recipe]\nanything = 1', False),
        ('extends = "base"\n[recipe]\niterations = 0', False),
        ('extends = "base"\n[[vary]]\nfamily = "cifar"\ndepth = 20', False),
        ('extends = "base"\n[[paper]]\ntwin = "plain"', False),
    ],
)
def test_a_study_that_extends_another_may_lack_what_that_has(tmp_path, text, fine):
    """Nothing is required of it; what it has is checked as in any study, by `load` and by the schema."""
    (tmp_path / "base.toml").write_text(STUDY, encoding="utf-8")

    assert (accepted(tmp_path, text), valid(text)) == (fine, fine)


def toml(value):
    """Spell a value as TOML does, whose values of these types are JSON's."""
    return json.dumps(value, ensure_ascii=False)


BOUNDS = [0, 1, 100, 101, 4096, 4097, 10_000, 10_001, 65_536, 65_537, 10**9, 10**9 + 1, 2**63 - 1, 2**63]
NUMBERS = (
    st.sampled_from([*BOUNDS, -1, -0.5, 0.0, 0.5, 1.0, 1.5])
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.sampled_from(["none", "cifar", "imagenet", "channel", "tf32", "", "a/b", "x" * 101, "x" * 4001]) | st.text()
VALUES = st.booleans() | NUMBERS | TEXTS | st.lists(NUMBERS, max_size=3) | st.lists(TEXTS, max_size=2)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from([*FIELDS, "seed", "colour"]), value=VALUES, place=st.sampled_from(["recipe", "twin", "grid"])
)
def test_what_load_takes_is_valid(tmp_path, key, value, place):
    """Whatever a field of a net, a recipe or a grid has: a study that `load` reads is never refused by the schema."""
    line = f"{key} = {toml(value)}"
    text = "\n".join(kept for kept in STUDY.splitlines() if not kept.startswith(f"{key} ="))
    place = {"recipe": "[recipe]\n", "grid": "[[vary]]\n", "twin": 'residual = { shortcut = "zero-pad"'}[place]
    text = text.replace(place, place + (f", {line}" if "{" in place else f"{line}\n"))
    if accepted(tmp_path, text):
        assert valid(text)


def required(table):
    """The least that a table needs."""
    usual = {
        "family": "cifar",
        "depth": 20,
        "dataset": "digits",
        "iterations": 9,
        "batch_size": 9,
        "learning_rate": 0.1,
    }
    return {key: usual[key] for key, field in table.model_fields.items() if field.is_required()}


@settings(max_examples=300)
@given(key=st.sampled_from([*FIELDS]), value=VALUES)
def test_a_field_is_checked_as_the_model_checks_it(key, value):
    """The schema and the model agree on a field's value, but for 2.0, which is an integer in JSON, and not in TOML."""
    table = Net if key in Net.model_fields else Recipe
    try:
        table(**(required(table) | {key: value}))
    except ValidationError:
        fine = False
    else:
        fine = True
    field = {"$ref": f"#/$defs/Fields/properties/{key}", "$defs": SCHEMA["$defs"]}
    whole = any(
        isinstance(part, float) and part.is_integer() for part in (value if isinstance(value, list) else [value])
    )

    said = Draft7Validator({"allOf": [field], "$defs": SCHEMA["$defs"]}).is_valid(value)
    assert said == fine or (whole and said)


def test_every_key_is_explained():
    """Each key of each table has a sentence of its own, which the schema and the reference show."""
    page = reference.markdown(SCHEMA)
    tables = [Net, Recipe, Answer, Expect, Paper, Study]
    keys = [(table, key, field) for table in tables for key, field in table.model_fields.items()]

    for table, key, field in keys:
        if table is Study and key in FROM_OUTSIDE:
            assert f"| `{key}` |" not in page
        else:
            assert field.description, (table, key)
            assert f"| `{key}` |" in page
            assert " ".join(field.description.split()) in page


def test_the_reference_says_range_unit_and_default():
    """A key's line has its type with bounds and unit, its default, and what None means where that is the default."""
    page = schema.schema({"shortcut": ["none", "zero-pad"]})
    lines = {line.split("`")[1]: line for line in reference.markdown(page).splitlines() if line.startswith("| `")}

    for key, value in {
        "width": "| integer from 1 to 4,096 channels | `16` |",
        "learning_rate": "| number above 0 | required |",
        "momentum": "| number from 0 to below 1 | `0.0` |",
        "milestones": "| list of: integer from 1 to 1,000,000,000 iterations |  |",
        "norm_batch": "| integer from 1 to 1,000,000,000 images | the whole batch |",
        "flip": "| `true`, `false` | `false` |",
        "value": '| number from 0 to 100 percent, or `"fails"` | required |',
        "shortcut": '| `"none"`, `"zero-pad"` | `"none"` |',
    }.items():
        assert lines[key].startswith(f"| `{key}` {value} "), lines[key]


EXAMPLES = [
    line
    for line in ROOT.joinpath("docs", "studies.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
]


def test_every_kind_of_claim_has_an_example():
    """The table of claim kinds has a line of each, in order."""
    assert [line.split("`")[1] for line in EXAMPLES] == [*STATEMENTS]


@pytest.mark.parametrize("line", EXAMPLES, ids=lambda line: line.split("`")[1])
def test_an_example_of_a_claim_is_one(tmp_path, line):
    """Each example states what its line is about, and a study may claim it."""
    statement, example = line.split("`")[1], line.split("`")[3]
    text = STUDY.split("[[expect]]", maxsplit=1)[0] + f"[[expect]]\n{example.replace(', ', chr(10))}\n"

    assert example.split(", ")[1].startswith(f"{statement} = ")
    assert (accepted(tmp_path, text), valid(text)) == (True, True)


def test_a_published_net_may_be_of_any_family(tmp_path):
    """Beside another dataset stands what was published there, of whatever net: `load` and the schema take it."""
    text = STUDY.replace('family = "cifar"\ndepth = 20\n', 'family = "vgg"\ndepth = 19\ndataset = "imagenet"\n')
    names = Draft7Validator(schema.schema({"family": ["cifar"]}))

    assert text != STUDY
    assert (accepted(tmp_path, text), names.is_valid(tomllib.loads(text))) == (True, True)

"""Options of nets of one's own: where they may stand, what they may be, and what they mean for a run's id."""

import json

import pytest

from deeptwins import study
from deeptwins.errors import InputError
from deeptwins.study import networks
from deeptwins.study.specs import Net, option_words

TOML = """
question = "?"
[twins]
one = {}
two = { options = { skip = false } }
[[vary]]
family = "mine.nets:make"
depth = 2
seed = 0
VARIED
[recipe]
dataset = "digits"
iterations = 10
batch_size = 8
learning_rate = 0.1
SHARED
"""


def load(folder, shared="", varied="", settings=(), claims="", twin="{ skip = false }"):  # noqa: PLR0913, PLR0917
    """Read a study with these options."""
    path = folder / "options.toml"
    text = TOML.replace("VARIED", varied).replace("SHARED", shared).replace("{ skip = false }", twin)
    path.write_text(text + claims, encoding="utf-8")
    return study.load(path, settings)


def options(run):
    """The options of each twin of a run."""
    return {name: dict(net.options) for name, net in run.twins.items()}


def test_a_twins_options_are_added_to_those_that_all_share(tmp_path):
    """Options in [recipe] are every twin's; a twin adds its own, and its own value counts."""
    (run,) = load(tmp_path, "options = { heads = 4, skip = true }").runs
    assert options(run) == {"one": {"heads": 4, "skip": True}, "two": {"heads": 4, "skip": False}}


def test_options_are_varied_table_by_table(tmp_path):
    """A list of tables in a grid is a run for each, and a claim may be about the runs of one of them."""
    claim = '[[expect]]\ntwin = "one"\nbelow = "two"\nwhere = { options = { sizes = [1, 2] } }\n'
    read = load(tmp_path, varied="options = [{ sizes = [1, 2] }, { sizes = [3] }]", claims=claim)

    assert [options(run)["two"] for run in read.runs] == [
        {"sizes": (1, 2), "skip": False}, {"sizes": (3,), "skip": False}
    ]  # fmt: skip
    assert [read.expect[0].covers(run) for run in read.runs] == [True, False]


@pytest.mark.parametrize("setting", ["recipe.options.heads=8", "recipe.options={ heads = 8, skip = true }"])
def test_settings_change_options(tmp_path, setting):
    """--set changes one option, or gives the whole table."""
    (run,) = load(tmp_path, "options = { heads = 4, skip = true }", settings=[setting]).runs
    assert options(run)["one"] == {"heads": 8, "skip": True}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3", "options = 3: should be a table, of at most 100 options"),
        ("[1]", "should be a table"),
        ("{ 'a b' = 1 }", "should have names of parameters; 'a b' is none"),
        ("{ a = { b = 1 } }", "should have true, false, a finite number, a text, or a list of these; a has not"),
        ("{ a = [[1]] }", "a has not"),
        ("{ a = nan }", "a has not"),
        ("{ a = 1e30 }", "a has not"),
        ("{ a = 1979-05-27 }", "a has not"),
        (f"{{ a = {[0] * 101} }}", "a has not"),
        ("{ " + ", ".join(f"a{i} = 1" for i in range(101)) + " }", "of at most 100 options"),
    ],
)
@pytest.mark.parametrize("place", ["recipe", "twin"])
def test_other_values_are_refused(tmp_path, value, message, place):
    """What is no table of simple values, in bounds, is one line with the key."""
    twin, shared = ("{}", f"options = {value}") if place == "recipe" else (value, "")
    with pytest.raises(InputError, match="options = ") as caught:
        load(tmp_path, shared, twin=twin)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_make_an_id_their_order_does_not():
    """Runs with other options are others, `1` and `true` too; the order of a table means nothing."""

    def net(**values):
        return Net(family="mine.nets:make", depth=2, options=values)

    assert net(a=1, b=2) == net(b=2, a=1)
    assert len({net(a=1), net(a=True), net(a=1.0), net(a=[1]), net()}) == 5
    assert json.loads(net(a=[1]).model_dump_json())["options"] == {"a": [1]}
    assert Net.model_validate(net(a=[1]).model_dump(mode="json")) == net(a=[1])
    assert option_words(net(skip=False, name="x", sizes=[1, 2]).options) == 'name = "x", sizes = [1, 2], skip = false'


def test_a_run_of_ones_own_has_a_name_for_every_file_system(tmp_path):
    """The colon, which some file systems and links do not take, is a dot in the names of records."""
    (run,) = load(tmp_path).runs
    assert run.id.startswith("mine.nets.make-2-seed0-")


def test_networks_of_ones_own_have_names(tmp_path):
    """`package.module:function-DEPTH` is a network, which settings change; without a depth it is none."""
    net, image, classes = networks.named("mine.nets:make-12", ["options.skip=false", "width=8"])

    assert net == Net(family="mine.nets:make", depth=12, width=8, options={"skip": False})
    assert (image, classes) == ((3, 32, 32), 10)
    with pytest.raises(InputError, match=r"write mine\.nets:make-DEPTH$"):
        networks.named("mine.nets:make")
    with pytest.raises(InputError, match="no network"):
        networks.named("mine.nets:make-99999")

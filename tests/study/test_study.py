"""Study files: what is read, what is refused, and what a run is called."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import refusals
from deeptwins import study
from deeptwins.cli.pages import PAGES
from deeptwins.errors import InputError
from deeptwins.study import specs
from places import ROOT

STUDY = """
question = "Does it rise?"
fails_above_pct = 20
[twins]
plain = { shortcut = "none" }
residual = { shortcut = "zero-pad" }
[[vary]]
family = "cifar"
depth = [20, 32]
seed = [0, 1, 2]
[recipe]
dataset = "digits"
iterations = 100
batch_size = 128
learning_rate = 0.1
milestones = [50, 75]
[[expect]]
twin = "plain"
trend = "rises"
"""


def paper(family='"cifar"', depth="20", twin='"plain"', more=""):
    """Spell a published value, and the table that follows it."""
    net = f"family = {family}\ndepth = {depth}\ntwin = {twin}\n{more}\n"
    return f'[[paper]]\n{net}metric = "test_error_pct"\nvalue = 8.75\nsource = "table 6"\n[[expect]]'


def claims(*bodies):
    """Spell the study with these claims, and no others; its runs have two lengths of warm-up."""
    text = STUDY.split("[[expect]]", maxsplit=1)[0].replace("seed = [0, 1, 2]", "seed = [0, 1, 2]\nwarmup = [0, 5]")
    return text + "".join(f"[[expect]]\n{body}\n" for body in bodies)


def values(*bodies):
    """Spell the study with these published values of the plain twin at depth 20, from {key: TOML}."""
    usual = {"twin": '"plain"', "family": '"cifar"', "depth": "20", "metric": '"test_error_pct"'}
    usual |= {"value": "8.75", "source": '"table 6"'}
    tables = ("".join(f"{key} = {value}\n" for key, value in (usual | body).items()) for body in bodies)
    return claims() + "".join(f"[[paper]]\n{table}" for table in tables)


@pytest.fixture
def write(tmp_path):
    """Write a study file, by default STUDY with one text replaced by another."""

    def writer(old: str = "", new: str = "", text: str = STUDY) -> Path:
        assert old in text
        path = tmp_path / "some.toml"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return path

    return writer


def test_expands_every_grid(write):
    """A study's runs are the cells of all its grids, each with every twin, in the file's order."""
    second = '[[vary]]\nfamily = "imagenet"\ndepth = 18\nseed = 0\n[recipe]'

    runs = study.load(write("[recipe]", second)).runs

    cells = [(run.twins["plain"].family, run.twins["plain"].depth, run.seed) for run in runs]
    assert cells == [("cifar", d, s) for d in (20, 32) for s in (0, 1, 2)] + [("imagenet", 18, 0)]
    assert [run.twins["residual"].shortcut for run in runs] == ["zero-pad"] * 7
    assert len({run.id for run in runs}) == 7


def test_twins_differ_only_in_what_their_table_says(write):
    """Two twins of a run are equal in every field that their tables leave alone."""
    for run in study.load(write()).runs:
        plain, residual = run.twins["plain"], run.twins["residual"]

        assert plain.model_copy(update={"shortcut": "zero-pad"}) == residual


def test_settings_override_the_recipe(write):
    """`--set` changes a recipe field, as TOML or as a bare word, and so the identity of the runs."""
    changed = study.load(write(), ["recipe.iterations=80", "recipe.dataset=cifar10", "recipe.milestones=[10]"])

    assert changed.runs[0].recipe.iterations == 80
    assert changed.runs[0].recipe.dataset == "cifar10"
    assert changed.runs[0].recipe.milestones == (10,)
    assert changed.runs[0].setting != study.load(write()).runs[0].setting


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_seeds_replace_every_grid_s_seeds(write, seeds):
    """`--seeds 5` runs the seeds 0 to 4 of every cell, and keeps the runs of these that the file has already."""
    runs = study.load(write(), seeds=seeds).runs

    assert [run.seed for run in runs] == [*range(seeds)] * 2
    assert {run.id for run in study.load(write()).runs if run.seed < seeds} <= {run.id for run in runs}


@pytest.mark.parametrize("seeds", [10**9, 100_001, 0, -1])
def test_refuses_a_slip_in_seeds(write, seeds):
    """Too many seeds, or none, are one line, and at once."""
    with pytest.raises(InputError, match=rf"--seeds {seeds}: give 1 to 100,000"):
        study.load(write(), seeds=seeds)


def test_remembers_what_was_changed(write):
    """A study knows the settings and seeds that it was read with."""
    changed = study.load(write(), ["recipe.shift=1"], 5)

    assert (changed.settings, changed.seeds) == (("recipe.shift=1",), 5)
    assert (study.load(write()).settings, study.load(write()).seeds) == ((), None)


@pytest.mark.parametrize(
    ("statement", "value", "other"),
    [
        *((way, "residual", "residual") for way in ("agrees_with", "above", "below")),
        ("trend", "rises", None),
        ("at_most", 5, None),
        ("fails", True, None),
        ("fails", False, None),
    ],
)
def test_a_claim_is_of_one_twin_or_of_two(write, statement, value, other):
    """A claim says what an error of a twin does, alone or beside another twin of the same runs, whatever its depth."""
    text = STUDY.replace('trend = "rises"', f'{statement} = {toml(value)}\nmetric = "test_error_pct"')

    (claim,) = study.load(write('"zero-pad" }', '"zero-pad", depth = 8 }', text)).expect

    assert (claim.twin, claim.statement, claim.other, claim.metric) == ("plain", statement, other, "test_error_pct")
    assert getattr(claim, statement) == value


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        ("", 9),
        ('family = "cifar"', 6),
        ("where = { depth = 20 }", 3),
        ("where = { warmup = 5 }", 3),
        ("where = { milestones = [50, 75], shortcut = 'none' }", 9),
        ("family = 'cifar'\nwhere = { warmup = 0, depth = 32 }", 3),
    ],
)
def test_a_claim_covers_the_runs_that_it_names(write, scope, covered):
    """`family` and `where` limit a claim to the runs whose recipe, or net of its twin, has these values."""
    grid = '[[vary]]\nfamily = "imagenet"\ndepth = 18\nseed = [0, 1, 2]\nwarmup = 5\n[recipe]'
    text = STUDY.replace('trend = "rises"', "fails = true").replace("[recipe]", grid)
    read = study.load(write(text=f"{text}{scope}\n"))

    assert sum(read.expect[0].covers(run) for run in read.runs) == covered


@pytest.mark.parametrize(
    ("where", "covered"),
    [("", 12), ("{ warmup = 5 }", 6), ("{ warmup = 5, depth = 20 }", 3), ("{ milestones = [50, 75], width = 16 }", 12)],
)
@pytest.mark.parametrize("data", ["digits", "cifar10"])
def test_a_published_value_covers_the_runs_that_it_names(write, where, covered, data):
    """`where` ties a published value to the runs whose recipe, or net of its twin, has these values; of any data."""
    tied = {"dataset": f'"{data}"'} | ({"where": where} if where else {})
    read = study.load(write(text=values(tied)))

    assert sum(read.paper[0].covers(run) for run in read.runs) == covered


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"where": "{ warmpu = 0 }"}, "paper[0].where.warmpu: unknown key; did you mean warmup?"),
        ({"where": "{ warmup = 7 }"}, "paper[0].where: no run of the study has warmup = 7"),
        ({"where": "{ warmup = 7 }", "dataset": '"cifar10"'}, "paper[0].where: no run of the study has warmup = 7"),
        ({"where": "{ depth = 32 }"}, "paper[0].depth = 20: no run of the study has it; choose from 32"),
        ({"where": "3"}, "paper[0].where = 3: should be a valid dictionary"),
    ],
)
def test_a_published_value_tied_to_no_run_is_refused(write, body, named):
    """The keys and values of a published value's `where` are those of some run with its net."""
    refused(write(text=values(body)), named)


PLAIN, RESIDUAL = 'twin = "plain"\n', 'twin = "residual"\n'
UP, DOWN = f'{PLAIN}above = "residual"', f'{PLAIN}below = "residual"'


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        (
            UP,
            DOWN,
            'expect[1].below = "residual": contradicts expect[0].above = "residual", of the same runs; keep one',
        ),
        (UP, f'{RESIDUAL}above = "plain"', 'expect[1].above = "plain": contradicts expect[0].above = "residual"'),
        (f"{UP}\nwhere = {{ warmup = 5 }}", f"{DOWN}\nwhere = {{ depth = 20 }}", "expect[1].below"),
        (
            f'{PLAIN}trend = "rises"',
            f'{PLAIN}trend = "falls"',
            'expect[1].trend = "falls": contradicts expect[0].trend',
        ),
        (
            f"{PLAIN}fails = true",
            f"{PLAIN}fails = false",
            "expect[1].fails = false: contradicts expect[0].fails = true",
        ),
        (f'{PLAIN}gradients = "vanish"', f'{PLAIN}gradients = "explode"', "expect[1].gradients"),
    ],
)
def test_claims_that_cannot_both_be_met_are_refused(write, first, second, named):
    """Two claims that state the opposite of the same twins, metric and runs are one line that names both."""
    refused(write(text=claims(first, second)), named)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (UP, UP),
        (UP, f'{RESIDUAL}below = "plain"'),
        (UP, f'{DOWN}\nmetric = "test_error_pct"'),
        (f"{UP}\nwhere = {{ warmup = 5 }}", f"{DOWN}\nwhere = {{ warmup = 0 }}"),
        (UP, f'{PLAIN}agrees_with = "residual"'),
        (f'{PLAIN}trend = "rises"', f'{PLAIN}trend = "flat"'),
        (f'{PLAIN}trend = "rises"', f'{RESIDUAL}trend = "falls"'),
        (f"{PLAIN}at_most = 5.0", f"{PLAIN}at_most = 9.0"),
    ],
)
def test_claims_that_may_both_be_met_are_read(write, first, second):
    """What is said twice, or of other twins, metrics or runs, contradicts nothing; nor does what holds in a margin."""
    assert len(study.load(write(text=claims(first, second))).expect) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({}, {"dataset": '"digits"'}),
        ({"dataset": '"cifar10"'}, {"dataset": '"cifar10"'}),
        ({}, {"where": "{ warmup = 5 }"}),
    ],
)
def test_two_values_of_one_source_for_one_net_are_refused(write, first, second):
    """A source has one value for a net, metric and data, in any run."""
    named = "paper[1].value = 9.0: paper[0] has 8.75 from the same source"

    refused(write(text=values(first, second | {"value": "9.0"})), named)


@pytest.mark.parametrize(
    "second",
    [
        {"value": "8.75"},
        {"source": '"table 7"'},
        {"depth": "32"},
        {"twin": '"residual"'},
        {"metric": '"train_error_pct"'},
        {"dataset": '"cifar10"'},
        {"where": "{ warmup = 5 }"},
    ],
)
def test_values_that_differ_in_what_they_are_of_are_read(write, second):
    """Two sources may differ, and so may values of other nets, metrics, data or runs, or it is the same value."""
    first = {"where": "{ warmup = 0 }"} if "where" in second else {}

    assert len(study.load(write(text=values(first, {"value": "9.0"} | second))).paper) == 2


@pytest.mark.parametrize(
    ("grid", "scope", "refuses"),
    [
        ("depth = 20", "", True),
        ("depth = [20, 32]", "where = { depth = 32 }", True),
        ("depth = 20", 'family = "cifar"', True),
        ("depth = [20, 32]", 'family = "cifar"', False),
        ("depth = [20, 32]", "", False),
    ],
)
def test_a_trend_is_over_more_than_one_depth(write, grid, scope, refuses):
    """A trend of a twin that has a single depth, in each family that the claim is about, is refused."""
    other = '[[vary]]\nfamily = "imagenet"\ndepth = 18\nseed = 0\n[recipe]'
    path = write(text=f"{STUDY}{scope}\n".replace("depth = [20, 32]", grid).replace("[recipe]", other))

    if refuses:
        refused(path, 'expect[0].trend = "rises": over depth, of which plain has one in these runs (cifar ')
    else:
        assert study.load(path).expect[0].trend == "rises"


@pytest.mark.parametrize("table", ["expect", "paper"])
@pytest.mark.parametrize("share", [None, 0, [0, 0.2], 0.2])
def test_a_validation_error_needs_validation_images(write, table, share):
    """A claim or a published value of the error on images that not all of its runs hold out is refused."""
    metric = {"metric": '"validation_error_pct"'}
    text = values(metric) if table == "paper" else claims(f'{UP}\nmetric = "validation_error_pct"')
    path = write(text=text if share is None else text.replace("[[vary]]", f"[[vary]]\nvalidation = {share}"))

    if share == 0.2:
        assert study.load(path).runs
    else:
        refused(path, f'{table}[0].metric = "validation_error_pct": not all runs that it is about hold out images')


def refused(path, named):
    """Assert that a study is refused in one line that names this."""
    told = refusals.refused(study.load, path)
    assert told.startswith(f"{path}: ")
    assert named in told


def test_published_values_may_be_of_other_data(write):
    """A value of other data may be of a net that nobody trains here; a net may be published to fail."""
    other = paper(family='"resnet"', depth="1202").replace("value = 8.75", 'value = "fails"\ndataset = "cifar10"')

    (value,) = study.load(write("[[expect]]", other)).paper

    assert (value.value, value.dataset, value.depth) == ("fails", "cifar10", 1202)


def test_an_answer_is_read(write):
    """A study may word its answer, say why a small scale may change it, and what counts as a failure."""
    keys = 'scale = "It is small."\nfails_above_pct = 50\n[answer]\nmet = "Yes."\ncontradicted = "No."\n[twins]'

    read = study.load(write("fails_above_pct = 20\n[twins]", keys))

    assert (read.answer.met, read.answer.contradicted, read.scale, read.fails_above_pct) == (
        "Yes.",
        "No.",
        "It is small.",
        50,
    )
    assert study.load(write()).answer is None


@pytest.mark.parametrize(
    ("stated", "where"),
    [
        ('[[expect]]\ntwin = "plain"\nfails = false', "expect[1].fails = false"),
        (paper().replace("8.75", '"fails"').removesuffix("[[expect]]"), 'paper[0].value = "fails"'),
    ],
)
def test_that_a_net_fails_needs_the_error_above_which_it_does(write, stated, where):
    """A claim or a published value that a net fails to train is refused where the study does not say when one does."""
    study.load(write(text=f"{STUDY}\n{stated}\n"))

    refused(
        write("fails_above_pct = 20\n", "", f"{STUDY}\n{stated}\n"),
        f"{where}: the study does not say when a net fails to train; give fails_above_pct,",
    )


def test_a_claim_may_say_itself_in_words(write):
    """A claim has words of its own, or none; empty ones are refused as any empty text is."""
    (claim,) = study.load(write('trend = "rises"', 'trend = "rises"\nsays = "deeper is worse"')).expect

    assert claim.says == "deeper is worse"
    assert study.load(write()).expect[0].says is None


def test_a_net_s_fused_op_is_its_own(write):
    """Which implementation computes the fused operation is told by twin; the default changes no run's id."""
    before = study.load(write())
    told = study.load(write('"none" }', '"none", fused_op = "auto" }'))
    other = study.load(write('"none" }', '"none", fused_op = "eager" }'))

    assert [run.id for run in told.runs] == [run.id for run in before.runs]
    assert other.runs[0].twins["plain"].fused_op == "eager"
    assert other.runs[0].twins["residual"].fused_op == "auto"
    assert not {run.id for run in other.runs} & {run.id for run in before.runs}


def test_id_is_of_the_fields_alone(write, tmp_path):
    """A run keeps its id when the file is renamed, reworded, or spells out a default; else it is another run."""
    before = [run.id for run in study.load(write()).runs]
    other = tmp_path / "other.toml"
    other.write_text(
        STUDY.replace("Does it rise?", "Well?").replace("[recipe]", "[recipe]\nwidth = 16"), encoding="utf-8"
    )

    assert [run.id for run in study.load(other).runs] == before
    assert not {run.id for run in study.load(write("learning_rate = 0.1", "learning_rate = 0.2")).runs} & set(before)


def test_seeds_share_a_setting(write):
    """Runs that differ in nothing but the seed share their setting; others do not."""
    runs = study.load(write()).runs

    assert len({run.setting for run in runs}) == 2


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("[twins]", "[twins", "not TOML"),
        ("question", "qestion", "question: missing"),
        ("iterations = 100", "iteration = 100", "recipe.iteration: unknown key; did you mean iterations?"),
        ("batch_size = 128", "", "recipe.batch_size: missing"),
        ("iterations = 100", 'iterations = "100"', 'recipe.iterations = "100"'),
        ("iterations = 100", "iterations = 0", "recipe.iterations = 0: should be greater"),
        ("batch_size = 128", "batch_size = -1", "recipe.batch_size = -1"),
        ("depth = [20, 32]", "depth = [20, -8]", "vary[0].depth = -8"),
        ("depth = [20, 32]", "depth = [20, 32.5]", "vary[0].depth = 32.5"),
        ("depth = [20, 32]", "depth = []", "vary[0]: 0 runs"),
        ("depth = [20, 32]", "depth = [20, 20]", "vary[0]: the run cifar-20-seed0 stands in the grids twice"),
        ("seed = [0, 1, 2]", "", "vary[0].seed: missing"),
        ("seed = [0, 1, 2]", "seed = [true]", "vary[0].seed = true"),
        ("milestones = [50, 75]", "milestones = [75, 50]", "recipe.milestones = [75, 50]: must rise"),
        ("milestones = [50, 75]", "milestones = [101]", "recipe.milestones = 101: beyond the last"),
        ("milestones = [50, 75]", "warmup = 101", "recipe.warmup = 101: beyond the last"),
        ("learning_rate = 0.1", "learning_rate = nan", "recipe.learning_rate = NaN"),
        ("learning_rate = 0.1", "learning_rate = 0.1\ndepth = 20", "vary[0].depth: given in [recipe] too"),
        ('shortcut = "zero-pad"', "shortcut = 3", "twins.residual.shortcut = 3"),
        ('shortcut = "zero-pad"', "dataset = 3", "twins.residual.dataset: unknown key"),
        ("residual", '"Résidu"', "twins.Résidu: a twin's name is at most 60"),
        (
            'twin = "plain"',
            'twin = "plane"',
            'expect[0].twin = "plane": no run of the study has it; did you mean plain?',
        ),
        ('trend = "rises"', 'trend = "up"', 'expect[0].trend = "up"'),
        ('trend = "rises"', "", "expect[0].trend: missing; give rises, falls, flat, or give agrees_with"),
        ('trend = "rises"', "agrees_with = 3", "expect[0].agrees_with = 3: should be a valid string"),
        (
            'trend = "rises"',
            'trend = "flat"\nagrees_with = "residual"',
            'expect[0].agrees_with = "residual": given beside trend = "flat"; give one of the two',
        ),
        (
            'trend = "rises"',
            'agrees_with = "residul"',
            'expect[0].agrees_with = "residul": no other twin of these runs; did you mean residual?',
        ),
        (
            'trend = "rises"',
            'agrees_with = "plain"',
            'expect[0].agrees_with = "plain": no other twin of these runs; choose from residual',
        ),
        (
            'trend = "rises"',
            'above = "residual"\nbelow = "residual"',
            'expect[0].below = "residual": given beside above = "residual"; give one of the two',
        ),
        ('trend = "rises"', "at_most = 101", "expect[0].at_most = 101: should be less than or equal to 100"),
        ('trend = "rises"', 'at_most = "5"', 'expect[0].at_most = "5": should be a valid number'),
        ('trend = "rises"', 'fails = "yes"', 'expect[0].fails = "yes": should be a valid boolean'),
        (
            'trend = "rises"',
            'trend = "rises"\nwhere = { warmpu = 0 }',
            "expect[0].where.warmpu: unknown key; did you mean warmup?",
        ),
        (
            'trend = "rises"',
            'trend = "rises"\nwhere = { warmup = 5, depth = 20 }',
            "expect[0].where: no run of the study has warmup = 5, depth = 20",
        ),
        ('trend = "rises"', 'trend = "rises"\nwhere = 3', "expect[0].where = 3: should be a valid dictionary"),
        ("[twins]", "[answer]\nmet = 'Yes.'\n[twins]", "answer.contradicted: missing"),
        ("[twins]", "[answer]\nmet = ''\ncontradicted = 'No.'\n[twins]", 'answer.met = "": should have at least 1'),
        ("[twins]", "answer = 'Yes.'\n[twins]", 'answer = "Yes.": should be a valid dictionary'),
        ("fails_above_pct = 20", "fails_above_pct = 101", "fails_above_pct = 101: should be less than or equal to 100"),
        ("[[expect]]", paper().replace("8.75", '"fail"'), "paper[0].value"),
        (
            "[[expect]]",
            paper(depth="110").replace('"test_error_pct"', '"test_error_pct"\ndataset = "digits"'),
            "paper[0].depth = 110: no run of the study has it; choose from 20, 32",
        ),
        (
            "[[expect]]",
            paper(twin='"ours"').replace("8.75", "8.75\ndataset = 'svhn'"),
            'paper[0].twin = "ours": no run',
        ),
        ("milestones", "warmup_rate = 0.01\nmilestones", "recipe.warmup_rate = 0.01: of no use without recipe.warmup"),
        (
            'shortcut = "none"',
            "norm_batch = 48",
            "twins.plain.norm_batch = 48: must divide batch_size = 128",
        ),
        (
            'shortcut = "none"',
            "grown_from = 20",
            "twins.plain.grown_from = 20: must be less than depth = 20",
        ),
        ('shortcut = "none"', "grown_from = 8", "twins.plain.grown_from = 8: say when in recipe.grow_at"),
        ("milestones", "grow_at = 50\nmilestones", "recipe.grow_at = 50: no twin has grown_from"),
        ("milestones", "grow_at = 101\nmilestones", "recipe.grow_at = 101: beyond the last of 100 iterations"),
        ('shortcut = "none"', "survival = 0.0", "twins.plain.survival = 0.0: should be greater than 0"),
        ("milestones", "validation = 1.0\nmilestones", "recipe.validation = 1.0: should be less than 1"),
        ("question", "name = 'x'\nquestion", "name: unknown key"),
        ("question", "settings = []\nquestion", "settings: unknown key"),
        (
            'trend = "rises"',
            'trend = "rises"\nfamily = "cifr"',
            'expect[0].family = "cifr": no run of the study has it; did you mean cifar?',
        ),
        ("[[expect]]", paper(family='"imagenet"'), 'paper[0].family = "imagenet": no run of the study has it; choose'),
        ("[[expect]]", paper(depth="110"), "paper[0].depth = 110: no run of the study has it; choose from 20, 32"),
        ("[[expect]]", paper(twin='"ours"'), 'paper[0].twin = "ours": no run of the study has it; choose'),
        ("depth = [20, 32]", "depth = 10_001", "vary[0].depth = 10001: should be less than or equal to 10000"),
        ('shortcut = "none"', "width = 4097", "twins.plain.width = 4097: should be less than or equal to 4096"),
        (
            "batch_size",
            "image_size = 4097\nbatch_size",
            "recipe.image_size = 4097: should be less than or equal to 4096",
        ),
        ("batch_size = 128", "batch_size = 65_537", "recipe.batch_size = 65537: should be less than or equal to 65536"),
        ("milestones", "shift = 4097\nmilestones", "recipe.shift = 4097: should be less than or equal to 4096"),
        # Though every twin has its own.
        ("milestones", "shortcut = false\nmilestones", "recipe.shortcut = false: should be a valid string"),
    ],
)
def test_refuses_in_one_line_that_names_file_and_key(write, old, new, named):
    """Whatever is wrong is one line with the file, the key and the value."""
    refused(write(old, new), named)


@pytest.mark.parametrize(
    "setting",
    [
        "iterations=3",
        "recipe.iterations",
        "recipe.nothing=1",
        "recipe.depth=8",
        "recipe.iterations=-1",
        "recipe.iterations=3\nx=1",
        "",
    ],
)
def test_refuses_bad_settings(write, setting):
    """A `--set` that is misspelt, unknown, varied by the grid or impossible is refused."""
    with pytest.raises(InputError):
        study.load(write(), [setting])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_another_encoding_is_named(tmp_path, encoding):
    """A study that an editor saved as UTF-16 or UTF-32, with a byte order mark or without, is refused by that name."""
    path = tmp_path / "any.toml"
    path.write_bytes(STUDY.encode(encoding))

    assert refusals.refused(study.load, path) == f"{path}: in {encoding.upper()}; save it as UTF-8"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_and_any_end_of_line_are_read(tmp_path, newline):
    """UTF-8 may begin with a byte order mark; lines may end as on any system."""
    path = tmp_path / "any.toml"
    path.write_bytes(STUDY.replace("\n", newline).encode("utf-8-sig"))

    assert len(study.load(path).runs) == 6


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (f"{'.'.join('a' * 50_000)} = 1", "nested more than 8 deep"),
        ("[" + " . ".join(['"a.b"'] * 10) + "]", "nested more than 8 deep"),
        (f"[[{'.'.join('a' * 10)}]]", "nested more than 8 deep"),
        (f"x = {'[' * 10_000}{']' * 10_000}", "nested more than 8 deep"),
        (f"x = {'{a = ' * 10}1{'}' * 10}", "nested more than 8 deep"),
        (f"x = {'[' * 8}'[[['{']' * 8} # ]]]", "question: missing"),
        ("x = 1.5\ny = 2.5\n" * 20, "Cannot overwrite a value"),
        (f"x = 1{'0' * 5000}", "Exceeds the limit"),
        (f"#{' ' * 2**20}", "larger than 1,048,576 bytes"),
        ("# caf\xe9", "not UTF-8 in line 1; save it as UTF-8"),
    ],
    ids=range(10),
)
def test_what_would_take_memory_is_refused_before_it_is_read(tmp_path, content, named):
    """Deep tables, dotted keys, long numbers and large files are one line, in no time; brackets in strings are text."""
    path = tmp_path / "any.toml"
    path.write_bytes(content.encode("latin-1"))

    assert refusals.refused(study.load, path).removeprefix(f"{path}: ").removeprefix("not TOML: ").startswith(named)


def test_a_pipe_is_no_study(tmp_path):
    """What is no regular file is not opened: it might never end."""
    path = tmp_path / "any.toml"
    os.mkfifo(path)

    assert refusals.refused(study.load, path) == f"{path}: a FIFO, not a regular file"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("seed = [0, 1, 2]", f"seed = {[*range(5001)]}", "vary[0]: 10,002 runs; a study has 1 or more, and at most"),
        (
            "[recipe]",
            f'[[vary]]\nfamily = "cifar"\ndepth = 8\nseed = {[*range(10_000)]}\n[recipe]',
            "vary[1]: 10,000 runs; a study has 1 or more, and at most 20,000 nets",
        ),
        ("[twins]", "[twins]\n" + "".join(f"x{i} = {{}}\n" for i in range(99)), "twins = "),
        ("[[expect]]", '[[expect]]\ntwin = "plain"\nat_most = 1\n' * 200 + "[[expect]]", "expect = "),
        ("milestones = [50, 75]", f"milestones = {[*range(1, 102)]}", "recipe.milestones = "),
        ("Does it rise?", "x" * 4001, "question = "),
        ("residual", "x" * 61, "twins.xxx"),
        ('"cifar"', '"../cifar"', "vary[0].family = "),
        ('"cifar"', '"ci\\u0000far"', "vary[0].family = "),
        ('"digits"', '"folder:\\u0000"', "recipe.dataset = "),
        ("learning_rate = 0.1", "learning_rate = 1e999", "recipe.learning_rate = Infinity"),
    ],
)
def test_a_study_is_bounded(write, old, new, named):
    """Runs of all grids together, twins, claims, lists, names and numbers: more than a person means is refused."""
    assert named in refusals.refused(study.load, write(old, new))


@pytest.mark.parametrize(
    "value", ["[" * 10_000, f"{{{'.'.join('a' * 5000)}=1}}", f"1{'0' * 5000}", "1e999", "\udcff", "\x1b[2J"]
)
def test_a_setting_is_bounded_as_a_study_is(write, value):
    """What a study may not hold is no value of `--set` either, nor is a name that is not UTF-8: one printable line."""
    told = refusals.refused(study.load, write(), [f"recipe.learning_rate={value}"])

    assert told.isprintable()
    assert "recipe.learning_rate" in told
    assert "settings" not in told  # which is no word of the command line


def test_a_run_of_many_nets_has_a_name_that_a_file_can_have(write):
    """Whatever its twins are, and however many, a run's files can be made."""
    twins = "".join(f'x{i} = {{ depth = {i + 1}, family = "{"é" * 9}" }}\n' for i in range(98))
    (run, *_) = study.load(write("[twins]", f"[twins]\n{twins}")).runs

    assert len(f"{run.id}.checkpoint.part".encode()) <= 255
    assert re.fullmatch(r".*-seed0-[0-9a-f]{8}", run.id)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["cifar", 20, "none"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = ("seed", "twin", "trend", "agrees_with", "above", "at_most", "fails", "where", "value", "plain")
KEYS = st.sampled_from([*specs.Net.model_fields, *specs.Recipe.model_fields, *NAMES])


def toml(value: object) -> str:
    """Spell a value in TOML, near enough; what is not TOML is an input too."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(c if c.isalnum() else f"\\u{ord(c) % 0xD800:04x}" for c in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    return str(value)


# There are very many keys and values.
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mutations=st.lists(
        st.tuples(
            st.sampled_from(["[recipe]", "[[vary]]", "[[expect]]", "[[paper]]", "[twins]", ""]),
            KEYS | st.text(),
            VALUES,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_no_value_ends_in_a_traceback(tmp_path, mutations):
    """A study with any value under any key is either read, or refused in one printable line."""
    text = STUDY
    for table, key, value in mutations:
        line = f"{key if key.isidentifier() and key.isascii() else toml(key)} = {toml(value)}\n"
        known = [old for old in text.splitlines() if old.startswith(f"{key} =")]
        text = text.replace(known[0] + "\n", line) if known else text.replace(table, f"{table}\n{line}", 1)
    check(tmp_path, text.encode("utf-8", "surrogateescape"))


# There are very many bytes.
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | st.integers(1, 3000).map(lambda n: b"x = " + b"[" * n))
def test_no_bytes_end_in_a_traceback(tmp_path, content):
    """A file of any bytes at all is read or refused in one printable line."""
    check(tmp_path, content)


def check(folder: Path, content: bytes) -> None:
    """Load the content as a study and assert that an error, if any, is a proper one."""
    path = folder / "any.toml"
    path.write_bytes(content)
    try:
        study.load(path)
    except InputError as error:
        told = str(error)
        assert told.startswith(f"{path}: ")
        assert told.isprintable()


def test_finds_by_name_and_by_path(write, tmp_path):
    """A study is found by its name in the folder or by the path of its file; a near miss is suggested."""
    path = write()

    assert study.find("some", tmp_path) == path
    assert study.find(str(path), tmp_path) == path
    with pytest.raises(InputError, match=r"did you mean some\?"):
        study.find("sme", tmp_path)
    with pytest.raises(InputError, match="no such file"):
        study.find("gone.toml", tmp_path)
    shipped = study.find("depth", tmp_path / "nowhere")
    assert shipped.read_bytes() == ROOT.joinpath("ablations", "depth.toml").read_bytes()


def test_the_documented_study_is_sound(write):
    """The study file that docs/studies.md shows loads, and its nets and recipe can be built."""
    torch = pytest.importorskip("torch")  # the reader itself needs none

    from deeptwins.train import checks  # noqa: PLC0415

    page = ROOT.joinpath("docs", "studies.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for run in study.load(write(text=text)).runs:
        checks.check(run, torch.device("cpu"))


def test_shipped_studies_are_sound():
    """Every study in ablations/ loads, and its nets and recipe can be built."""
    torch = pytest.importorskip("torch")  # the reader itself needs none

    from deeptwins.train import checks  # noqa: PLC0415

    files = list(ROOT.joinpath("ablations").glob("*.toml"))
    assert {file.stem for file in files} >= {"depth", "depth-cifar10", "depth-fashion", "kernel", "smoke"}
    for file in files:
        for run in study.load(file).runs:
            checks.check(run, torch.device("cuda"))  # where every implementation of the fused operation can run


def test_the_shipped_kernel_study_compares_one_net():
    """`kernel` trains one residual net by three implementations, and claims that both errors of each agree."""
    path = ROOT / "ablations" / "kernel.toml"
    shipped = study.load(path)

    assert [run.seed for run in shipped.runs] == [0, 1, 2]
    for run in shipped.runs:
        assert {twin: net.fused_op for twin, net in run.twins.items()} == {
            name: name for name in ("eager", "compiled", "triton")
        }
        (net,) = {net.model_copy(update={"fused_op": "auto"}) for net in run.twins.values()}
        assert (net.family, net.depth, net.shortcut) == ("cifar", 8, "zero-pad")
        assert (run.recipe.dataset, run.recipe.evaluate_every) == ("digits", 1)
    assert {(claim.twin, claim.agrees_with, claim.metric) for claim in shipped.expect} == {
        (twin, "eager", metric) for twin in ("compiled", "triton") for metric in ("train_error_pct", "test_error_pct")
    }
    assert "TRITON_INTERPRET=1" in path.read_text(encoding="utf-8")


def test_what_none_means_is_said_beside_the_fields():
    """Every field of a net or recipe that may be None has words for that, which pages show."""
    optional = {
        key for table in (specs.Net, specs.Recipe) for key, field in table.model_fields.items() if field.default is None
    }

    assert optional == set(specs.UNSET)


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "...",
        "-x",
        "_x",
        "x" * 61,
        "Depth",
        "a b",
        "a.b",
        "1st",
        "é",
        "x\x1b[31m",
        "gate",
        "profile-net",
        *sorted(PAGES.keys() - {"study"}),
    ],
)
def test_a_study_has_a_name_that_folders_can_have(tmp_path, name):
    """Results and pages of a study lie in folders of its name: never outside, nor among those of other kinds."""
    path = tmp_path / f"{name}.toml"
    path.write_text(STUDY, encoding="utf-8")

    with pytest.raises(InputError, match=r"rename (it|the study's file)$"):
        study.load(path)


def test_seeds_make_a_study_no_slower_to_check(write, monkeypatch):
    """Claims are about settings: however many seeds there are, each is asked whether it covers a run as often."""
    asked = []
    covers = study.claims.Expect.covers
    monkeypatch.setattr(study.claims.Expect, "covers", lambda claim, run: asked.append(run.id) or covers(claim, run))
    path = write('trend = "rises"', 'trend = "rises"\nwhere = { batch_size = 128 }')

    numbers = []
    for seeds in (1, 20):
        asked.clear()
        study.load(path, seeds=seeds)
        numbers.append(len(asked))

    assert numbers == [2, 2]

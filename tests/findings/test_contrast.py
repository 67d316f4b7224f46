"""Two sources side by side: which nets are compared, and whether they are the same, within seeds, or apart."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import made
from deeptwins.findings import contrast, frames, statistics
from deeptwins.findings.contrast import APART, OPEN, SAME, WITHIN
from deeptwins.study.claims import Expect

HEADLINE = "train_error_pct"
WARMUPS = '[[vary]]\nfamily = "cifar"\ndepth = 20\nseed = [0, 1, 2]\nwarmup = '


def side(folder, level=made.level, changed=lambda _run, lines: lines, **study):
    """A study and its records; `changed` edits those of a run."""
    folder.mkdir(exist_ok=True)
    asked = made.small(folder, **study)
    for run in asked.runs:
        lines = changed(run, made.records(run, level))
        if lines:
            made.write(folder / "results", run, lines)
    return asked, frames.load(asked, folder / "results")


def nets(found, metric=HEADLINE):
    """The rows of a metric, by twin, depth and settings."""
    return {
        (row["twin"], row["depth"], row["group_a"], row["group_b"]): row
        for row in found.nets[found.nets["metric"] == metric].to_dict("records")
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A study of two depths and three seeds."""
    return side(tmp_path_factory.mktemp("base") / "a")


def test_equal_records_are_the_same_to_the_bit(base, tmp_path):
    """Whatever the machine, the commit and the time, equal errors and losses are the same, and nothing is tested."""

    def elsewhere(_run, lines):
        first, *others, end = lines
        first = first | {"commit": "other", "machine": first["machine"] | {"cpu": "another"}, "started": None}
        return [{key: value for key, value in first.items() if value}, *others, end | {"seconds": 999.0}]

    found = contrast.contrast(base, side(tmp_path / "b", changed=elsewhere))

    assert {*found.nets["result"]} == {SAME}
    assert (found.nets["same"] == found.nets["n"]).all()
    assert found.nets["p_holm"].isna().all()
    assert found.tests == 0
    assert (found.numbers["same"] == found.numbers["nets"]).all()
    assert found.unpaired.empty


def test_one_digit_of_one_evaluation_is_seen(base, tmp_path):
    """A loss that differs in its last bit, long before the end, makes a seed another; the errors still agree."""

    def edited(run, lines):
        if run.seed == 1 and run.twins["plain"].depth == 56:
            line = next(line for line in lines if line["kind"] == "epoch" and line["twin"] == "plain")
            line["test_loss"] = math.nextafter(line["test_loss"], math.inf)
        return lines

    found = contrast.contrast(base, side(tmp_path / "b", changed=edited))

    rows = nets(found)
    other = rows.pop(("plain", 56, "cifar", "cifar"))
    assert {row["result"] for row in rows.values()} == {SAME}
    assert (other["result"], other["same"], other["difference"]) == (WITHIN, 2, 0.0)
    losses = found.numbers.set_index(["kind", "number"]).loc[("epochs", "test_loss")]
    assert (losses["nets"], losses["same"]) == (12, 11)


def test_diagnostics_may_differ(base, tmp_path):
    """Responses are no errors: where they differ nets are still the same to the bit, and the numbers tell."""

    def measured_otherwise(_run, lines):
        return [line | {"response_std": 2.0} if line["kind"] == "layer" else line for line in lines]

    found = contrast.contrast(base, side(tmp_path / "b", changed=measured_otherwise))

    assert {*found.nets["result"]} == {SAME}
    responses = found.numbers.set_index("number").loc["response_std"]
    assert (responses["nets"], responses["same"]) == (12, 0)


def test_only_what_both_recorded_is_compared(base, tmp_path):
    """Records that lack a kind, as the oldest do, are the same where they have it."""
    lacking = side(tmp_path / "b", changed=lambda _, lines: [line for line in lines if line["kind"] != "layer"])

    found = contrast.contrast(base, lacking)

    assert {*found.nets["result"]} == {SAME}
    assert "response_std" not in {*found.numbers["number"]}


def test_a_difference_beyond_seeds_is_apart(base, tmp_path):
    """The difference is B minus A, its interval that of the paired differences, and the other twin stays within."""
    shifts = {0: 20.0, 1: 21.0, 2: 22.0}
    plain = side(
        tmp_path / "b",
        lambda run, twin: made.level(run, twin) + (shifts[run.seed] if twin == "plain" else 0.1 * run.seed),
    )

    found = contrast.contrast(base, plain)

    row = nets(found)["plain", 20, "cifar", "cifar"]
    assert (row["result"], row["verdict"], row["n"]) == (APART, "above", 3)
    assert row["difference"] == pytest.approx(21.0) == row["mean_b"] - row["mean_a"]
    differences = np.array([20.0, 21.0, 22.0])
    assert (row["low"], row["high"]) == pytest.approx(statistics.t_interval(differences))
    assert row["p_holm"] > row["p"]
    assert nets(found)["residual", 20, "cifar", "cifar"]["result"] == WITHIN


def test_turning_the_sides_round_turns_every_number(base, tmp_path):
    """B and A in place of A and B: the same results, with the sign of every difference changed."""
    other = side(tmp_path / "b", lambda run, twin: made.level(run, twin) + 20 + run.seed)

    one, two = (contrast.contrast(*pair).nets for pair in ((base, other), (other, base)))

    assert (one["difference"] == -two["difference"]).all()
    assert (one["low"] == -two["high"]).all()
    assert [*one["result"]] == [*two["result"]]
    assert APART in {*one["result"]}


@pytest.mark.parametrize(("claimed", "weighty"), [(None, HEADLINE), ("test_error_pct", "test_error_pct")])
def test_errors_that_claims_name_weigh_ten_times_as_much(base, tmp_path, claimed, weighty):
    """In Holm's correction the errors that either study claims something of come first; without claims, training's."""
    other, records = side(tmp_path / "b", lambda run, twin: made.level(run, twin) + 20 + run.seed)
    if claimed:
        other = other.model_copy(update={"expect": [Expect(twin="plain", trend="rises", metric=claimed)]})

    found = contrast.contrast(base, (other, records))

    # All p are equal: 4 tests of weight 1 stand before 8 of weight 0.1.
    factors = {
        metric: row["p_holm"] / row["p"]
        for metric in (HEADLINE, "test_error_pct")
        for row in [nets(found, metric)["plain", 20, "cifar", "cifar"]]
    }
    light = ({*factors} - {weighty}).pop()
    assert factors == pytest.approx({weighty: 4.8, light: 8.0})


def test_what_cannot_be_judged_is_not(base, tmp_path):
    """A net that diverged in a seed, and a single seed, have no verdict."""

    def lost(run, _lines):
        if run.twins["plain"].depth == 56:
            return made.records(run, diverged=("plain",)) if run.seed == 2 else made.records(run)
        return made.records(run, lambda _run, _twin: 7.0) if run.seed == 0 else None

    found = contrast.contrast(base, side(tmp_path / "b", changed=lost))

    rows = nets(found)
    assert (rows["plain", 56, "cifar", "cifar"]["result"], rows["plain", 56, "cifar", "cifar"]["verdict"]) == (
        OPEN,
        "diverged",
    )
    assert rows["residual", 56, "cifar", "cifar"]["result"] == SAME
    assert (rows["plain", 20, "cifar", "cifar"]["result"], rows["plain", 20, "cifar", "cifar"]["n"]) == (OPEN, 1)


def test_nets_that_diverged_alike_are_the_same(tmp_path):
    """A loss that both lack is no difference."""
    both = [
        side(tmp_path / name, changed=lambda run, _: made.records(run, diverged=("plain",)), grid=made.ONE_DEPTH)
        for name in "ab"
    ]

    assert {*contrast.contrast(*both).nets["result"]} == {SAME}


def test_what_only_one_side_has_is_listed(base, tmp_path):
    """Depths that the other side lacks, and seeds of nets that both have."""
    grid = made.GRID.replace("[20, 56]", "[20, 110]").replace("[0, 1, 2]", "[1, 2, 3]")

    found = contrast.contrast(base, side(tmp_path / "b", grid=grid))

    assert {key[:2] for key in nets(found)} == {("plain", 20), ("residual", 20)}
    rows = {(row["side"], row["depth"], row["twin"]): row for row in found.unpaired.to_dict("records")}
    assert {key for key in rows if key[2] == "plain"} == {
        ("A", 20, "plain"),
        ("A", 56, "plain"),
        ("B", 20, "plain"),
        ("B", 110, "plain"),
    }
    assert (rows["A", 20, "plain"]["seeds"], rows["A", 20, "plain"]["in_both"]) == ([0], 2)
    assert (rows["B", 110, "plain"]["seeds"], rows["B", 110, "plain"]["in_both"]) == ([1, 2, 3], 0)


@pytest.mark.parametrize(
    ("a", "b", "pairs"),
    [
        ("5", "[5, 9]", {("cifar", "cifar, warmup 5")}),
        ("7", "[5, 9]", {("cifar", "cifar, warmup 5"), ("cifar", "cifar, warmup 9")}),
        (
            "[5, 9]",
            "[5, 9]",
            {("cifar, warmup 5", "cifar, warmup 5"), ("cifar, warmup 9", "cifar, warmup 9")},
        ),
        (
            "[5, 7]",
            "[5, 9]",
            {("cifar, warmup 5", "cifar, warmup 5"), ("cifar, warmup 7", "cifar, warmup 9")},
        ),
    ],
    ids=["one of both", "none of both", "the same", "one shared"],
)
def test_nets_are_compared_that_share_most_of_what_varies(tmp_path, a, b, pairs):
    """A value that both have pairs them; where no value is shared, all that are left are compared."""
    found = contrast.contrast(
        side(tmp_path / "a", grid=WARMUPS + a + "\n"), side(tmp_path / "b", grid=WARMUPS + b + "\n")
    )

    assert {key[2:] for key in nets(found)} == pairs


FIELDS = st.dictionaries(
    st.tuples(st.just("cifar"), st.sampled_from("uvwx"), st.sampled_from([20, 56]), st.just("plain")),
    st.fixed_dictionaries({key: st.sampled_from("12") for key in ("warmup", "shift", "width")}),
    max_size=6,
)


@given(FIELDS, FIELDS)
def test_pairing_does_not_depend_on_the_order(a, b):
    """Whichever side comes first, the same nets are paired: of one depth, and someone, where both have it."""
    one, two = contrast._nearest(a, b), contrast._nearest(b, a)

    assert {(place.a, place.b) for place in one} == {(place.b, place.a) for place in two}
    assert all(place.a[2] == place.b[2] for place in one)
    assert {place.a[2] for place in one} == {cell[2] for cell in a} & {cell[2] for cell in b}


def test_sources_without_a_common_net_have_nothing(base, tmp_path):
    """Other twins are other nets, and nothing is compared."""
    found = contrast.contrast(base, side(tmp_path / "b", twins="wide = { width = 32 }\nwider = { width = 64 }"))

    assert found.nets.empty
    assert found.trends.empty
    assert found.effects.empty


def test_findings_stand_side_by_side(base, tmp_path):
    """Trends of a twin, and differences of two twins, whichever of the two each study names first."""
    turned = side(tmp_path / "b", twins="\n".join(reversed(made.TWINS.splitlines())))

    found = contrast.contrast(base, turned)

    trend = found.trends[(found.trends["twin"] == "plain") & (found.trends["metric"] == HEADLINE)].iloc[0]
    assert (trend["shallowest_a"], trend["deepest_b"]) == (20, 56)
    assert trend["difference_a"] > 0
    effect = found.effects[(found.effects["metric"] == HEADLINE) & (found.effects["depth"] == 56)]
    assert [(row["twin"], row["other"]) for row in effect.to_dict("records")] == [("residual", "plain")]
    assert effect["difference_a"].iloc[0] < -30
    assert effect["difference_b"].iloc[0] < -30

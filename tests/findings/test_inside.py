"""Findings about the inside of nets: medians over seeds, ranks, whether gradients vanish, precise statistics."""

import math

import pytest

import made
from deeptwins.findings import frames
from deeptwins.findings import inside as findings


def inside(folder, study, **options):
    """Derive the findings of a study whose runs have left diagnostics."""
    return findings.derive(frames.load(study, made.looked_into(folder, study, **options)))


@pytest.fixture
def study(tmp_path):
    """A study of two depths, two twins and three seeds."""
    return made.small(tmp_path)


def test_responses_are_medians_over_seeds_and_ranked(study, tmp_path):
    """A layer's response is the median over seeds, which a wild one does not move; rank 1 is the largest of its net."""
    wild = [0.0, 1.0, 7000.0]
    table = inside(tmp_path, study, response=lambda seed, layer: [3.0, 1.0, 2.0][layer % 3] + wild[seed]).responses

    net = table[(table["depth"] == 20) & (table["twin"] == "plain")]
    assert list(net["layer"]) == list(range(1, 20))
    assert list(net["response_std"][:3]) == pytest.approx([2.0, 3.0, 4.0])
    assert net.set_index("rank").loc[1, "response_std"] == 4.0
    assert sorted(net["rank"]) == list(range(1, 20))


def test_only_layers_of_3x3_have_their_responses_shown(study, tmp_path):
    """The 1x1 layers of a bottleneck are in the records, and not in the paper's figure."""
    table = inside(tmp_path, study, kernel=lambda layer: 3 if layer % 3 == 2 else 1).responses

    assert set(table["layer"] % 3) == {2}


def test_gradients_are_medians_of_the_deepest_nets(study, tmp_path):
    """Of the deepest nets, at the first, the last and three evaluations between; a norm of 0 counts, none does not."""
    norms = {0: 1.0, 1: 100.0, 2: 0.0}
    one, none = (
        inside(
            tmp_path / name, study, norm=lambda seed, layer, _, last=last: last if seed == layer == 2 else norms[seed]
        )
        for name, last in (("zero", 0.0), ("none", None))
    )
    table = one.gradients

    assert set(table["depth"]) == {56}
    assert list(dict.fromkeys(table["evaluation"])) == list(findings.EVALUATIONS)
    assert list(dict.fromkeys(table["iteration"])) == [12, 60, 120, 180, 240]
    assert list(table.loc[table["twin"] == "plain", "layer"][:56]) == list(range(1, 57))
    assert list(table["norm"].unique()) == [1.0]
    assert set(none.gradients.loc[none.gradients["layer"] == 2, "norm"]) == {50.5}


def test_a_gradient_of_0_in_most_seeds_is_shown_as_0(study, tmp_path):
    """What most seeds have is shown: one seed whose gradients have survived does not stand for all."""
    table = inside(tmp_path, study, norm=lambda seed, *_: 0.0 if seed else 1.0).gradients

    assert set(table["norm"]) == {0.0}


@pytest.mark.parametrize(("slope", "verdict"), [(0.0, "healthy"), (-0.1, "explode"), (0.1, "vanish")])
def test_gradients_that_shrink_tenfold_on_their_way_vanish(study, tmp_path, slope, verdict):
    """The first tenth of the layers is compared with the last: medians of what all evaluations give, for each seed."""
    flow = inside(tmp_path, study, norm=lambda seed, layer, _: math.exp(slope * layer) * (1 + seed)).gradient_flow

    row = flow.set_index("twin").loc["plain"]
    assert (row["depth"], row["n"], row["verdict"]) == (56, 3, verdict)
    # Tenths of 5 layers whose middles lie 51 apart, whatever a seed multiplies all with.
    assert row["ratio"] == pytest.approx(math.exp(-51 * slope))
    assert row["lowest"] == pytest.approx(row["highest"])
    assert row["first_tenth"] == pytest.approx(math.exp(3 * slope) * 2)


def test_seeds_that_differ_leave_open_whether_gradients_vanish(study, tmp_path):
    """No verdict without an interval that lies within its limits: not where seeds spread over one."""
    flow = inside(tmp_path, study, norm=lambda seed, layer, _: math.exp(0.05 * seed * layer)).gradient_flow

    assert set(flow["verdict"]) == {"inconclusive"}
    assert (flow["low"] < 0.1).all()
    assert (flow["high"] > 0.1).all()


@pytest.mark.parametrize(
    ("ratios", "may_vanish", "may_explode"),
    [((0.02, 0.1, 0.5), True, False), ((2.0, 10.0, 50.0), False, True), ((0.01, 1.0, 100.0), True, True)],
)
def test_an_open_verdict_says_what_is_not_excluded(study, tmp_path, ratios, may_vanish, may_explode):
    """An interval over one limit alone excludes what lies beyond the other."""
    flow = inside(tmp_path, study, norm=lambda seed, layer, _: ratios[seed] if layer < 20 else 1.0).gradient_flow

    assert set(flow["verdict"]) == {"inconclusive"}
    assert set(flow["may_vanish"]) == {may_vanish}
    assert set(flow["may_explode"]) == {may_explode}


def vanished(seeds, until=240, last=1.0):
    """Norms that are 0 in the first layers of some seeds, until some iteration, and `last` in their last layers."""

    def norm(seed, layer, iteration):
        if seed not in seeds or iteration > until:
            return 1.0
        return 0.0 if layer < 20 else last

    return norm


@pytest.mark.parametrize("last", [1.0, 0.0])
def test_gradients_of_0_in_every_seed_vanish(study, tmp_path, last):
    """Exactly 0 in the first layers counts as vanished, even where no layer has a gradient; there is no interval."""
    flow = inside(tmp_path, study, norm=vanished({0, 1, 2}, last=last)).gradient_flow

    row = flow.set_index("twin").loc["plain"]
    assert (row["verdict"], row["n"], row["zeros"]) == ("vanish", 3, 3)
    assert (row["ratio"], row["lowest"], row["highest"], row["least"]) == (0, 0, 0, 0)
    assert math.isnan(row["low"])


def test_gradients_of_0_in_some_seeds_leave_it_open(study, tmp_path):
    """Seeds whose gradients are 0 are counted, not left out: the others do not decide without them."""
    row = inside(tmp_path, study, norm=vanished({1, 2})).gradient_flow.set_index("twin").loc["plain"]

    assert (row["verdict"], row["n"], row["zeros"]) == ("inconclusive", 3, 2)
    assert (row["ratio"], row["lowest"], row["highest"]) == (0, 0, 1)


@pytest.mark.parametrize(("until", "zeros"), [(108, 0), (132, 3)])
def test_a_gradient_is_0_where_it_is_so_at_most_evaluations(study, tmp_path, until, zeros):
    """Of 20 evaluations, 9 of which give 0 do not make a seed's gradient 0; 11 do."""
    flow = inside(tmp_path, study, norm=vanished({0, 1, 2}, until)).gradient_flow

    assert set(flow["zeros"]) == {zeros}
    assert set(flow["ratio"]) == {0.0 if zeros else 1.0}


def test_a_seed_with_nothing_to_compare_with_is_not_counted(study, tmp_path):
    """Where the last layers alone have a gradient of 0 there is no ratio, and the seed is none of the `n`."""
    norm = lambda seed, layer, _: 0.0 if seed == 0 and layer > 50 else 1.0  # noqa: E731
    row = inside(tmp_path, study, norm=norm).gradient_flow.set_index("twin").loc["plain"]

    assert (row["verdict"], row["n"], row["ratio"], row["high"]) == ("healthy", 2, 1, 1)


def test_the_worst_evaluation_is_told(study, tmp_path):
    """Gradients that are small on their way at one evaluation alone do not vanish, but that it was so is told."""
    norm = lambda _seed, layer, iteration: 0.01 if layer < 20 and iteration == 36 else 1.0  # noqa: E731
    row = inside(tmp_path, study, norm=norm).gradient_flow.set_index("twin").loc["plain"]

    assert row["verdict"] == "healthy"
    assert row["ratio"] == 1
    assert (row["least"], row["least_at"]) == (pytest.approx(0.01), 36)


def test_evaluations_before_growth_are_of_another_net(study, tmp_path):
    """A net that was grown has more layers at the end, and only evaluations of all of them are compared."""
    layers = lambda depth, iteration: depth if iteration > 120 else 20  # noqa: E731
    grown = inside(tmp_path, study, layers=layers, norm=lambda _seed, _layer, iteration: 1 / iteration)

    assert grown.gradients["iteration"].min() == 132
    assert grown.gradient_flow["first_tenth"].min() > 1 / 240
    assert grown.gradient_flow["first_tenth"].max() < 1 / 132


def test_nets_that_were_grown_are_not_judged(study, tmp_path):
    """The gradients of layers that were added tell how these were built: no verdict, whatever the ratio."""
    layers = lambda depth, iteration: depth if iteration > 120 else 20  # noqa: E731
    norm = lambda _seed, layer, _iteration: math.exp(-0.1 * layer)  # noqa: E731
    grown, built = (
        inside(tmp_path / name, study, norm=norm, **options).gradient_flow
        for name, options in (("grown", {"layers": layers}), ("built", {}))
    )

    assert list(grown["ratio"]) == pytest.approx(list(built["ratio"]))
    assert (set(grown["verdict"]), set(built["verdict"])) == ({"inconclusive"}, {"explode"})
    assert grown["grown"].all()
    assert not built["grown"].any()


def test_without_a_gradient_there_is_nothing_to_find(study, tmp_path):
    """Where no norm is finite there are no rows, and nothing is said to vanish."""
    found = inside(tmp_path, study, norm=lambda *_: None)

    assert found.gradients.empty
    assert found.gradient_flow.empty


def test_precise_statistics_are_paired_by_seed(study, tmp_path):
    """The difference is precise minus running, of the same run, in points, with Student's interval."""
    table = inside(tmp_path, study, precise=lambda seed, error: error - seed).precise

    row = table.set_index(["depth", "twin"]).loc[56, "plain"]
    assert (row["n"], row["difference"]) == (3, pytest.approx(-1))
    assert row["precise_pct"] == pytest.approx(row["running_pct"] - 1)
    assert (row["low"], row["high"]) == pytest.approx((-1 - 2.484, -1 + 2.484), abs=1e-3)  # t(2) = 4.303, sd 1


def test_shares_and_statistics_are_medians_over_seeds(study, tmp_path):
    """What blocks and layers leave is that of the middle seed."""
    found = inside(tmp_path, study)

    assert found.branches["branch_share"].unique() == pytest.approx([0.6])  # 0.5, 0.6, 0.7
    assert found.running_statistics["running_mean_error"].unique() == pytest.approx([0.2])
    assert list(found.branches.loc[(found.branches["depth"] == 20), "block"][:9]) == list(range(1, 10))


def test_nets_without_batch_normalization_have_no_statistics(study, tmp_path):
    """Where every error of running statistics is null there is no row."""
    assert inside(tmp_path, study, error=None).running_statistics.empty


def test_old_records_have_responses_alone(study, tmp_path):
    """Records from before there were other diagnostics give their responses, and empty tables."""
    found = findings.derive(frames.load(study, made.results(tmp_path, study)))

    assert len(found.responses) == 2 * (19 + 55)
    for name in ("gradients", "gradient_flow", "branches", "running_statistics", "precise"):
        assert getattr(found, name).empty

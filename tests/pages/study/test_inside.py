"""Sections about the inside of nets: their figures, captions, words and tables."""

import dataclasses
import math
import re
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from matplotlib.colors import to_rgb

import made
from deeptwins.findings import frames
from deeptwins.findings import inside as findings
from deeptwins.pages import colours
from deeptwins.pages.page import Section
from deeptwins.pages.study import page, sections
from deeptwins.pages.study.inside import figures, words
from deeptwins.study import Study

pytestmark = pytest.mark.slow

RATIOS = {"a": 1.2, "b": 0.4, "c": 0.9, "d": 0.01}
TITLES = ["Layer responses", "Gradients", "Residual branches", "Statistics of batch normalization"]


def derived(folder, study: Study, **options):
    """Derive the findings of a study whose runs have left diagnostics."""
    return findings.derive(frames.load(study, made.looked_into(folder, study, **options)))


@pytest.fixture(scope="module")
def inside(tmp_path_factory):
    """The findings of the study that ships."""
    folder = tmp_path_factory.mktemp("study")
    return derived(folder, made.load(folder))


def contents(inside):
    """What the sections about the inside of nets hold, by title."""
    facts = SimpleNamespace(inside=inside)
    contents = {title: content(facts) for title, content in sections.SECTIONS if title in TITLES}
    return {title: content for title, content in contents.items() if content}


def titles(figure):
    """The titles of a figure's panels."""
    return [ax.get_title(loc="left") for ax in figure.axes]


def test_sections_show_what_the_records_say(inside):
    """Four sections, each with a picture whose words stand in it."""
    assert [*contents(inside)] == TITLES
    for picture, *_ in contents(inside).values():
        root = ET.fromstring(picture.svg)  # noqa: S314 - our own
        assert root.find("{http://www.w3.org/2000/svg}desc").text == picture.alt
        assert "cifar" in picture.alt
        assert "\n" not in picture.caption


def test_what_old_records_do_not_say_is_left_out(shipped):
    """Records from before the other diagnostics show their responses, and nothing else."""
    assert [*contents(shipped.facts.inside)] == TITLES[:1]


def test_nets_without_batch_normalization_show_no_statistics(tmp_path):
    """Where there are no running statistics there is no section about them."""
    study = made.small(tmp_path)

    assert [*contents(derived(tmp_path, study, error=None))] == TITLES[:3]


def test_one_evaluation_of_one_net_can_be_drawn(tmp_path):
    """A study of one twin, depth and seed, evaluated once, has every figure."""
    twins, grid = "a = {}", '[[vary]]\nfamily = "cifar"\ndepth = 8\nseed = 0\n'
    study = made.small(tmp_path, twins, grid)
    recipe = study.runs[0].recipe.model_copy(update={"evaluate_every": 240})
    study = study.model_copy(update={"runs": [study.runs[0].model_copy(update={"recipe": recipe})]})

    assert [*contents(derived(tmp_path, study))] == TITLES


def test_responses_are_drawn_in_order_and_ranked(inside):
    """As in the paper's figure 7: the same layers in order and, beside it, from the largest to the smallest."""
    figure = figures.layer_responses(inside).figure

    assert titles(figure) == ["cifar: in order", "cifar: ranked", "imagenet: in order", "imagenet: ranked"]
    for in_order, ranked in zip(figure.axes[0].get_lines(), figure.axes[1].get_lines(), strict=True):
        assert list(ranked.get_ydata()) == sorted(in_order.get_ydata(), reverse=True)
        assert list(ranked.get_xdata()) == list(range(1, len(ranked.get_xdata()) + 1))


def test_twins_of_one_depth_are_told_apart(tmp_path):
    """Ten twins of one depth: no two lines alike, no depth at their ends, a legend that stays on the figure."""
    twins = [f"a-rather-long-name-{i}" for i in range(10)]
    study = made.small(tmp_path, "\n".join(f"{twin} = {{}}" for twin in twins), made.GRID.replace("[20, 56]", "20"))
    inside = derived(tmp_path, study)

    for picture in (figures.layer_responses(inside), figures.running_statistics(inside)):
        figure = picture.figure
        lines = figure.axes[0].get_lines()
        assert [line.get_label() for line in lines] == twins
        assert len({(line.get_color(), line.get_marker()) for line in lines}) == 10
        assert all(len(line.get_xdata()) > line.get_markevery()[0] for line in lines)  # each shows its marker
        assert not figure.axes[0].texts
        (legend,) = figure.legends
        figure.draw_without_rendering()
        assert legend.get_window_extent().x1 <= figure.bbox.x1
        assert titles(figure)[0] in {"in order", "mean"}


def test_a_twin_has_its_hue_also_where_another_has_no_statistics(inside):
    """Where the first twin has no batch normalization, the other keeps its hue and its line."""
    twin = inside.running_statistics["twin"].unique()[-1]
    others = inside.running_statistics["twin"] != twin
    renamed = {name: getattr(inside, name).replace({"plain": "a", "residual": "b"}) for name in vars(inside)}
    some = dataclasses.replace(inside, **renamed)
    some = dataclasses.replace(some, running_statistics=some.running_statistics[~others])

    (line, *_) = figures.running_statistics(some).figure.axes[0].get_lines()

    assert (line.get_label(), line.get_color()) == ("b", colours.OTHERS[1])


def test_gradients_have_a_panel_per_deepest_net_and_a_line_per_evaluation(inside):
    """Gradients are drawn by layer on a log scale; evaluations differ in colour and in their dashes."""
    picture = figures.gradients(inside)
    figure = picture.figure

    assert titles(figure) == ["cifar 56: plain", "cifar 56: residual", "imagenet 34: plain", "imagenet 34: residual"]
    for ax in figure.axes:
        lines = ax.get_lines()
        assert ax.get_yscale() == "log"
        assert [line.get_label() for line in lines] == list(findings.EVALUATIONS)
        assert len({line.get_color() for line in lines}) == 5
        assert {to_rgb(line.get_color()) for line in lines} == {(0, 0, 0)}  # shades of ink, no hue of a twin
    assert list(figure.axes[0].get_lines()[0].get_ydata()) == pytest.approx([1 / layer for layer in range(1, 57)])
    dashes = set(re.findall('stroke-dasharray: ([^;"]+)', picture.svg))
    assert len(dashes) == 4  # all but the last


def test_gradients_of_0_have_a_place_of_their_own(tmp_path):
    """Norms that are exactly 0 are drawn below all others, and the caption and the words for the figure say so."""
    inside = derived(tmp_path, made.small(tmp_path), norm=lambda _seed, layer, _: 0.0 if layer < 20 else 1.0)

    picture = figures.gradients(inside)
    ax = picture.figure.axes[0]

    assert ax.get_ylim()[0] < min(ax.get_lines()[0].get_ydata()) == 0
    assert "0" in [label.get_text() for label in ax.get_yticklabels()]
    assert "exactly 0 in most seeds" in picture.caption
    assert "plain, depth 56: 0 in its first layer, 1 in its last" in picture.alt


@pytest.mark.parametrize(("wild", "scale"), [(2.0, "linear"), (1000.0, "log")])
def test_one_wild_net_does_not_flatten_the_others(tmp_path, wild, scale):
    """Responses that differ little have an axis from 0; where one is far larger they have powers of ten."""
    study = made.small(tmp_path)
    inside = derived(tmp_path, study, response=lambda _seed, layer: wild if layer == 9 else 1.0)

    assert figures.layer_responses(inside).figure.axes[0].get_yscale() == scale


def test_nets_of_several_depths_are_told_apart_without_words_on_the_lines(inside):
    """The deeper net has the longer and the thicker line, as a note says; no text lies over the lines."""
    figure = figures.branches(inside).figure

    ax = figure.axes[0]
    plain = [line for line in ax.get_lines() if line.get_color() == ax.get_lines()[0].get_color()]
    lengths = [len(line.get_xdata()) for line in plain]
    widths = [line.get_linewidth() for line in plain]
    assert lengths == sorted(set(lengths))
    assert widths == sorted(set(widths))
    assert not ax.texts
    assert figures.LENGTH_NOTE in [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.parametrize(
    ("error", "after"), [(0.1, "its batch normalization"), (None, "or, in nets without, its bias")]
)
def test_the_caption_names_what_layers_have(tmp_path, error, after):
    """Where every net has batch normalization responses are said to be those behind it; else others are told."""
    picture = figures.layer_responses(derived(tmp_path, made.small(tmp_path), error=error))

    assert after in picture.caption


def test_nothing_is_cut_off(inside):
    """Every point of every figure lies within its panel."""
    for picture, *_ in contents(inside).values():
        for ax in picture.figure.axes:
            for line in ax.get_lines():
                assert all(ax.get_ylim()[0] <= y <= ax.get_ylim()[1] for y in line.get_ydata())


@pytest.mark.parametrize(
    ("slope", "behaviour", "ratio"),
    [(0.0, "neither vanish nor explode", "1"), (0.1, "vanish", "0.0061"), (-0.1, "explode", "160")],
)
def test_words_say_whether_gradients_vanish(tmp_path, slope, behaviour, ratio):
    """The sentence on gradients is computed: what they do in the deepest nets; the table has the numbers behind."""
    inside = derived(tmp_path, made.small(tmp_path), norm=lambda _seed, layer, _iteration: math.exp(slope * layer))

    (sentence,) = words.flow(inside.gradient_flow)
    table = words.flows(inside.gradient_flow)

    size = f"{ratio} times as large in the first tenth of the layers as in the last"
    assert sentence == f"Gradients {behaviour} in plain and residual ({size})."
    for row, twin in zip(table.rows, ("plain", "residual"), strict=True):
        spread = [f"{ratio} to {ratio}"] * 2
        assert row[:-2] == ["cifar", "56", twin, behaviour, ratio, *spread, ratio]
        assert len(row) == len(table.columns)


def test_twins_whose_gradients_differ_are_told_apart(tmp_path):
    """Where the gradients of one twin vanish, and of the others do not, that one is named, and the others counted."""
    row = derived(tmp_path, made.small(tmp_path)).gradient_flow.head(1)
    flow = pd.concat(
        [
            row.assign(twin=twin, ratio=ratio, verdict="vanish" if twin == "d" else "healthy")
            for twin, ratio in RATIOS.items()
        ]
    )

    (one,) = words.flow(flow)
    first, second = words.flow(pd.concat([flow, flow.assign(group="imagenet").iloc[:3]]))

    size = "times as large in the first tenth of the layers as in the last"
    vanish = f"vanish in d (0.01 {size}). Gradients neither vanish nor explode in 3 of 4 twins (0.4 to 1.2)."
    assert one == f"Gradients {vanish}"
    assert first == f"In the cifar family, gradients {vanish}"
    assert second == f"In the imagenet family, gradients neither vanish nor explode in all 3 twins (0.4 to 1.2 {size})."


def flow_of(tmp_path, **options):
    """The section on gradients of a small study, with every column of its table."""
    picture, table, *sentences = contents(derived(tmp_path, made.small(tmp_path), **options))["Gradients"]
    return Section("Gradients", (picture,), (table,), tuple(sentences))


@pytest.mark.parametrize(
    ("ratios", "open_"),
    [
        ((0.02, 0.1, 0.5), "vanish"),
        ((2.0, 10.0, 50.0), "explode"),
        ((0.01, 1.0, 100.0), "vanish or explode"),
    ],
)
def test_of_undecided_gradients_only_what_nobody_can_tell_is_said(tmp_path, ratios, open_):
    """Where the interval decides nothing the page asks what it leaves open, and states nothing of the gradients."""
    section = flow_of(tmp_path, norm=lambda seed, layer, _: ratios[seed] if layer < 20 else 1.0)

    undecided = f"Three seeds cannot tell whether gradients {open_} in plain and residual ("
    assert section.paragraphs[0].startswith(undecided)
    assert section.tables[0].rows[0][3] == "undecided"
    assert any("need not mean" in text for text in section.paragraphs) == ("explode" in open_)


def test_gradients_of_0_are_counted_in_words_and_rows(tmp_path):
    """In how many seeds gradients are exactly 0 is told, and nothing that is no number is printed."""
    section = flow_of(tmp_path, norm=lambda seed, layer, _: 0.0 if seed and layer < 20 else 1.0)

    sentence, (table,) = section.paragraphs[0], section.tables
    zeros = "exactly 0 in the first tenth of the layers in 2 of 3 seeds"
    undecided = "Three seeds cannot tell whether gradients vanish or explode in plain and residual"
    assert sentence == f"{undecided} ({', '.join([zeros] * 2)})."
    assert table.rows[0][3:7] == ["undecided", "exactly 0 in 2 of 3 seeds", "-", "0 to 1"]
    assert not any("nan" in cell for row in table.rows for cell in row)


def test_grown_nets_are_said_not_to_be_judged(tmp_path):
    """Words and rows give the ratio of a net that was grown, no verdict, and from when it is measured."""
    layers = lambda depth, iteration: depth if iteration > 120 else 20  # noqa: E731
    norm = lambda _seed, layer, _iteration: math.exp(-0.1 * layer)  # noqa: E731
    section = flow_of(tmp_path, norm=norm, layers=layers)

    assert section.paragraphs[0].startswith(
        "Gradients are not judged in plain and residual, as the layers added to them compute"
    )
    assert [row[3] for row in section.tables[0].rows] == ["not judged: grown"] * 2
    assert "grown: evaluations after the growth" in section.pictures[0].caption


def test_precise_statistics_have_a_row_per_net(tmp_path):
    """The table says what precise statistics change in each net, in points."""
    inside = derived(tmp_path, made.small(tmp_path), precise=lambda seed, error: error + 2 + seed)

    table = words.precise(inside.precise)

    nets = [["cifar", depth, twin] for depth in ("20", "56") for twin in ("plain", "residual")]
    assert [row[:3] for row in table.rows] == nets
    assert all(row[-3:] == ["+3.0", "0.5 to 5.5", "3"] for row in table.rows)


def test_a_study_that_asks_about_gradients_is_answered_at_the_top(tmp_path):
    """What the gradients of the twins that claims name do stands behind the answer; of others, further down."""
    answer = 'answer = { met = "They vanish.", contradicted = "They do not." }'
    claims = '[[expect]]\ntwin = "plain"\ngradients = "vanish"\n'
    study = made.load(tmp_path, f"{answer}\n{made.TOML.split('[[expect]]')[0]}{claims}")
    results = made.looked_into(tmp_path, study, norm=lambda _seed, layer, _iteration: math.exp(0.1 * layer))

    facts = page.PAGE.load(study, results)
    evidence = page.PAGE.verdict(facts)

    assert page.PAGE.answer(facts) == "They vanish."
    assert "radients vanish in plain" in evidence[0]
    assert "residual" not in evidence[0]

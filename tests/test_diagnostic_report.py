"""Sections about the inside of nets: their figures, captions, words and tables."""

import json
import math
from xml.etree import ElementTree as ET

import pandas as pd
import pytest

import made
from deeptwins import diagnostic_figures as figures
from deeptwins import diagnostic_findings, diagnostic_prose, diagnostic_report, drawing, frames, report
from deeptwins.study import Study

RATIOS = {"a": 1.2, "b": 0.4, "c": 0.9, "d": 0.01}
TITLES = ["Layer responses", "Gradients", "Residual branches", "Statistics of batch normalization"]


def derived(folder, study: Study, **options):
    """Derive the findings of a study whose runs have left diagnostics."""
    return diagnostic_findings.derive(frames.load(study, made.looked_into(folder, study, **options)))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The findings of the study that ships."""
    folder = tmp_path_factory.mktemp("study")
    return derived(folder, made.load(folder))


def titles(figure):
    """The titles of a figure's panels."""
    return [ax.get_title(loc="left") for ax in figure.axes]


def test_sections_show_what_the_records_say(found):
    """Four sections, each with a picture whose words stand in it; the data lie beside."""
    sections = diagnostic_report.sections(found)

    assert [section.title for section in sections] == TITLES
    for section in sections:
        (picture,) = section.pictures
        root = ET.fromstring(picture.svg)  # noqa: S314 - our own
        assert root.find("{http://www.w3.org/2000/svg}title").text == picture.alt
        assert "cifar" in picture.alt
        assert "\n" not in picture.caption


def test_what_old_records_do_not_say_is_left_out(tmp_path):
    """Records from before the other diagnostics show their responses, and nothing else."""
    study = made.load(tmp_path)
    inside = diagnostic_findings.derive(frames.load(study, made.results(tmp_path, study)))

    assert [section.title for section in diagnostic_report.sections(inside)] == TITLES[:1]


def test_nets_without_batch_normalization_show_no_statistics(tmp_path):
    """Where there are no running statistics there is no section about them."""
    study = made.small(tmp_path)

    assert [part.title for part in diagnostic_report.sections(derived(tmp_path, study, error=None))] == TITLES[:3]


def test_one_evaluation_of_one_net_can_be_drawn(tmp_path):
    """A study of one twin, depth and seed, evaluated once, has every figure."""
    twins, grid = "a = {}", '[[vary]]\nfamily = "cifar"\ndepth = 8\nseed = 0\n'
    study = made.small(tmp_path, twins, grid)
    recipe = study.runs[0].recipe.model_copy(update={"evaluate_every": 240})
    study = study.model_copy(update={"runs": [study.runs[0].model_copy(update={"recipe": recipe})]})

    assert [part.title for part in diagnostic_report.sections(derived(tmp_path, study))] == TITLES


def test_responses_are_drawn_in_order_and_ranked(found):
    """As in the paper's figure 7: the same layers in order and, beside it, from the largest to the smallest."""
    figure = figures.layer_responses(found.responses)

    assert titles(figure) == ["cifar: in order", "cifar: ranked", "imagenet: in order", "imagenet: ranked"]
    for in_order, ranked in zip(figure.axes[0].get_lines(), figure.axes[1].get_lines(), strict=True):
        assert list(ranked.get_ydata()) == sorted(in_order.get_ydata(), reverse=True)
        assert list(ranked.get_xdata()) == list(range(1, len(ranked.get_xdata()) + 1))


def test_twins_of_one_depth_are_told_apart(tmp_path):
    """Ten twins of one depth: no two lines alike, no depth at their ends, a legend that stays on the figure."""
    twins = [f"a-rather-long-name-{i}" for i in range(10)]
    study = made.small(tmp_path, "\n".join(f"{twin} = {{}}" for twin in twins), made.GRID.replace("[20, 56]", "20"))
    found = derived(tmp_path, study)

    for figure in (figures.layer_responses(found.responses), figures.running_statistics(found.running_statistics)):
        lines = figure.axes[0].get_lines()
        assert [line.get_label() for line in lines] == twins
        assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 10
        assert not figure.axes[0].texts
        (legend,) = figure.legends
        figure.draw_without_rendering()
        assert legend.get_window_extent().x1 <= figure.bbox.x1
        assert titles(figure)[0] in {"in order", "mean"}


def test_gradients_have_a_panel_a_deepest_net_and_a_line_an_evaluation(found):
    """Gradients are drawn by layer on a log scale, the colours a ramp over time."""
    figure = figures.gradients(found.gradients)

    assert titles(figure) == ["cifar 56: plain", "cifar 56: residual", "imagenet 34: plain", "imagenet 34: residual"]
    for ax in figure.axes:
        lines = ax.get_lines()
        assert ax.get_yscale() == "log"
        assert [line.get_label() for line in lines] == list(diagnostic_findings.EVALUATIONS)
        assert len({line.get_color() for line in lines}) == 5
    assert list(figure.axes[0].get_lines()[0].get_ydata()) == pytest.approx([1 / layer for layer in range(1, 57)])


def test_nothing_is_cut_off(found):
    """Every point of every figure lies within its panel."""
    for figure in (
        figures.layer_responses(found.responses),
        figures.gradients(found.gradients),
        figures.branches(found.branches),
        figures.running_statistics(found.running_statistics),
    ):
        ET.fromstring(drawing.svg(figure, "name", "what it shows"))  # noqa: S314 - our own
        for ax in figure.axes:
            for line in ax.get_lines():
                assert all(ax.get_ylim()[0] <= y <= ax.get_ylim()[1] for y in line.get_ydata())


@pytest.mark.parametrize(("slope", "said"), [(0.0, "neither vanish nor explode"), (0.1, "vanish"), (-0.1, "explode")])
def test_words_say_whether_gradients_vanish(tmp_path, slope, said):
    """The sentence on gradients is computed: what they do in the deepest nets; the table has the numbers behind."""
    found = derived(tmp_path, made.small(tmp_path), norm=lambda _seed, layer, _iteration: math.exp(slope * layer))

    (sentence,) = diagnostic_prose.flow(found.gradient_flow)
    table = diagnostic_prose.flows(found.gradient_flow)

    ratio = f"{math.exp(-51 * slope):.2g}"
    size = f"{ratio} times as large in the first tenth of the layers as in the last"
    assert sentence == f"Gradients {said} in plain and residual ({size})."
    for row, twin in zip(table.rows, ("plain", "residual"), strict=True):
        spread = [f"{ratio} to {ratio}"] * 2
        assert row[:-2] == ["cifar", "56", twin, said, ratio, *spread, ratio]
        assert len(row) == len(table.columns)


def test_twins_whose_gradients_differ_are_told_apart(tmp_path):
    """Where the gradients of one twin vanish, and of the others do not, that one is named, and the others counted."""
    found = derived(tmp_path, made.small(tmp_path))
    row = found.gradient_flow.head(1)
    flow = pd.concat(
        [
            row.assign(twin=twin, ratio=ratio, verdict="vanish" if twin == "d" else "healthy")
            for twin, ratio in RATIOS.items()
        ]
    )

    (one,) = diagnostic_prose.flow(flow)
    first, second = diagnostic_prose.flow(pd.concat([flow, flow.assign(group="imagenet").iloc[:3]]))

    size = "times as large in the first tenth of the layers as in the last"
    vanish = f"vanish in d (0.01 {size}); they neither vanish nor explode in the other 3 twins (0.4 to 1.2)."
    assert one == f"Gradients {vanish}"
    assert first == f"Family cifar: gradients {vanish}"
    assert second == f"Family imagenet: gradients neither vanish nor explode in all 3 twins (0.4 to 1.2 {size})."


def test_precise_statistics_have_a_row_a_net(tmp_path):
    """The table says what precise statistics change in each net, in points."""
    found = derived(tmp_path, made.small(tmp_path), precise=lambda seed, error: error - 2 - seed)

    table = diagnostic_prose.precise(found.precise)

    nets = [["cifar", depth, twin] for depth in ("20", "56") for twin in ("plain", "residual")]
    assert [row[:3] for row in table.rows] == nets
    assert all(row[-3:] == ["-3.0", "-5.5 to -0.5", "3"] for row in table.rows)


def test_a_study_that_asks_about_gradients_is_answered_at_the_top(tmp_path):
    """What the gradients of the twins that claims name do stands behind the answer; of others, further down."""
    answer = 'answer = { met = "They vanish.", contradicted = "They do not." }'
    claims = '[[expect]]\ntwin = "plain"\ngradients = "vanish"\n'
    study = made.load(tmp_path, f"{answer}\n{made.TOML.split('[[expect]]')[0]}{claims}")
    results = made.looked_into(tmp_path, study, norm=lambda _seed, layer, _iteration: math.exp(0.1 * layer))

    report.write(study, results, tmp_path)

    answer, *evidence = json.loads(tmp_path.joinpath("depth", "summary.json").read_text())["verdict"]
    assert answer == "They vanish."
    assert "radients vanish in plain" in evidence[0]
    assert "residual" not in evidence[0]

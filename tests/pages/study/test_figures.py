"""Figures: what is drawn, and that it can be read on any page."""

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from matplotlib.colors import to_rgb

import made
from deeptwins.findings import derive, frames
from deeptwins.pages import colours, drawing
from deeptwins.pages.study import figures

pytestmark = pytest.mark.slow

HEAD, TAIL = made.TOML.split("[twins]")[0], "[recipe]" + made.TOML.split("[recipe]")[1].split("[[expect]]")[0]
FIVE = "\n".join(f't{i} = {{ shortcut = "s{i}" }}' for i in range(5))
GRID = '[[vary]]\nfamily = "cifar"\n'
STUDIES = {
    "one run": f"{HEAD}[twins]\na = {{}}\nb = {{ width = 8 }}\n{GRID}depth = 20\nseed = 0\n{TAIL}",
    "one twin": f"{HEAD}[twins]\na = {{}}\n{GRID}depth = [20, 32, 44, 56]\nseed = [0, 1]\n{TAIL}",
    "five": f"{HEAD}[twins]\n{FIVE}\n{GRID}depth = [8, 14, 20, 26, 32, 38, 44, 50]\nseed = [0, 1]\n{TAIL}",
}


def derived(folder, text, level=made.level):
    """The findings of a made-up study."""
    study = made.load(folder, text)
    return derive.derive(study, frames.load(study, made.results(folder, study, level)))


def drawn(findings):
    """All figures that a report draws."""
    yield figures.error_by_depth(findings.by_depth, findings.final)
    yield figures.learning_curves(findings.curves)
    if len(findings.comparisons):
        yield figures.gap_by_depth(findings.comparisons)
    if len(findings.drift):
        yield figures.drift(findings.drift, findings.final)


@pytest.fixture(scope="module")
def findings(shipped):
    """The findings of the study that ships."""
    return shipped.facts.findings


@pytest.fixture(scope="module")
def pictures(findings):
    """The figures of the study that ships, by name."""
    return {picture.name: picture for picture in drawn(findings)}


@pytest.fixture(scope="module")
def svgs(pictures):
    """The figures of the study that ships, as text."""
    return {name: picture.svg for name, picture in pictures.items()}


@pytest.mark.parametrize("study", STUDIES)
def test_any_study_can_be_drawn(tmp_path, study):
    """One twin or five, one depth or eight, one seed or two: every figure is well-formed SVG."""
    for picture in drawn(derived(tmp_path, STUDIES[study])):
        root = ET.fromstring(picture.svg)  # noqa: S314 - our own

        assert root.tag.endswith("svg")


def test_the_studies_that_ship_can_be_drawn(shipped, agreeing):
    """Two families, or twins that agree: every figure on their pages is well-formed SVG, and says what it shows."""
    for written in (shipped, agreeing):
        paths = sorted(written.page.parent.glob("*.svg"))
        assert len(paths) >= 3
        for path in paths:
            root = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - our own
            assert root.find("{http://www.w3.org/2000/svg}desc").text.endswith(".")


def test_a_panel_per_family_and_a_line_per_twin(findings, pictures):
    """Training error against depth has one panel per family, and in it the means of each twin at its depths."""
    figure = pictures["error-by-depth"].figure

    assert [ax.get_title(loc="left") for ax in figure.axes] == ["cifar", "imagenet"]
    table = findings.by_depth.query("metric == 'train_error_pct' and group == 'cifar'")
    for line, twin in zip(figure.axes[0].get_lines(), ["plain", "residual"], strict=True):
        assert line.get_label() == twin
        assert list(line.get_ydata()) == list(table.loc[table["twin"] == twin, "mean"])


def test_the_first_figure_leaves_room_on_a_screen(pictures, agreeing):
    """What a study's page begins with is, in one row, at most 2.6 inches high, legend included."""
    drift = figures.drift(agreeing.facts.findings.drift, agreeing.facts.findings.final)

    for picture in (pictures["error-by-depth"], drift):
        assert picture.figure.get_figheight() <= 2.6


def test_learning_curves_have_a_panel_per_family_and_twin(pictures):
    """Learning curves show a thin dashed and a bold line per depth in each panel, and say which depth it is."""
    figure = pictures["learning-curves"].figure

    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "cifar: plain",
        "cifar: residual",
        "imagenet: plain",
        "imagenet: residual",
    ]
    lines = figure.axes[1].get_lines()
    assert [line.get_linestyle() for line in lines] == ["--"] * 4 + ["-"] * 4
    assert max(line.get_linewidth() for line in lines[:4]) < min(line.get_linewidth() for line in lines[4:])
    assert {text.get_text() for text in figure.axes[1].texts} == {"20", "32", "44", "56"}


def test_learning_curves_of_one_depth_have_their_twins_colours(tmp_path):
    """Of one family and depth a panel is a twin, by its name alone and in its colour; the depth is not repeated."""
    findings = derived(tmp_path, STUDIES["five"].replace("[8, 14, 20, 26, 32, 38, 44, 50]", "8"))

    figure = figures.learning_curves(findings.curves).figure

    assert [ax.get_title(loc="left") for ax in figure.axes] == [f"t{i}" for i in range(5)]
    assert [ax.get_lines()[1].get_color() for ax in figure.axes] == [*colours.OTHERS, colours.OTHERS[0]]
    assert not any(ax.texts for ax in figure.axes)
    assert [bool(ax.get_xlabel()) for ax in figure.axes] == [False, False, True, True, True]


def test_a_curve_of_one_evaluation_is_a_dot(findings):
    """A line through one point would not be seen."""
    once = findings.curves.groupby(["family", "group", "depth", "twin"], sort=False, as_index=False).tail(1)

    lines = [line for ax in figures.learning_curves(once).figure.axes for line in ax.lines if len(line.get_xdata())]

    assert lines
    assert all(line.get_marker() == "." for line in lines)


def test_low_errors_stay_legible_beside_high_ones(pictures):
    """An error of 2 % beside one of 60 % stands clear of the axis: at least a tenth of the panel's height."""
    ax = pictures["error-by-depth"].figure.axes[0]

    low, high = (ax.transData.transform((20, error))[1] for error in (0, 60))
    assert (ax.transData.transform((20, 2.0))[1] - low) / (high - low) > 0.1
    assert ax.get_ylim()[0] == 0


def test_errors_alike_have_a_plain_scale(tmp_path):
    """Where errors do not differ by much, the scale is linear."""
    findings = derived(tmp_path, STUDIES["one twin"], lambda run, _: 20 + run.seed)

    assert figures.error_by_depth(findings.by_depth, findings.final).figure.axes[0].get_yscale() == "linear"


def test_nothing_is_cut_off(pictures):
    """Every point of every figure lies within its panel."""
    for picture in pictures.values():
        for ax in picture.figure.axes:
            for line in ax.get_lines():
                assert all(ax.get_ylim()[0] <= y <= ax.get_ylim()[1] for y in line.get_ydata())


def drift(folder, level=made.alike, text=made.AGREEING):
    """The figure of the drift."""
    findings = derived(folder, text, level)
    return figures.drift(findings.drift, findings.final).figure


def test_drift_has_a_line_per_pair_and_a_yardstick(agreeing):
    """Drift is drawn on a log scale, a line per pair in the twin's colour, and dashed grey what two seeds differ by."""
    findings = agreeing.facts.findings

    (ax,) = figures.drift(findings.drift, findings.final).figure.axes
    compiled, triton, chance = ax.get_lines()

    assert ax.get_yscale() == "log"
    assert [line.get_label() for line in ax.get_lines()] == [
        "compiled and eager",
        "triton and eager",
        "two seeds of eager",
    ]
    assert [compiled.get_color(), triton.get_color()] == [*colours.OTHERS[1:3]]  # eager has the first everywhere
    assert (chance.get_color(), chance.get_linestyle()) == (colours.CHANCE, "--")
    assert list(triton.get_ydata()) == list(findings.drift.loc[findings.drift["twin"] == "triton", "median"])
    assert list(triton.get_xdata()) == [12, 24, 36, 48]
    assert list(chance.get_ydata()) == list(findings.drift["between_seeds"].head(4))


def test_drift_has_a_panel_per_family_and_depth(tmp_path):
    """Nets of another depth or family drift in a panel of their own."""
    grid = '[[vary]]\nfamily = "imagenet"\ndepth = 18\nseed = [0, 1]\n[recipe]'
    text = made.AGREEING.replace("depth = 8", "depth = [8, 14]").replace("[recipe]", grid)

    titles = [ax.get_title(loc="left") for ax in drift(tmp_path, text=text).axes]

    assert titles == ["cifar, depth 8", "cifar, depth 14", "imagenet, depth 18"]


@pytest.mark.parametrize("seeds", ["[0, 1, 2]", "0"])
@pytest.mark.parametrize("zero", [("compiled",), ("compiled", "triton")])
def test_no_drift_at_all_can_be_drawn(tmp_path, zero, seeds):
    """A difference of 0 has its own place below the powers of ten, within the panel, whatever else is drawn."""
    text = made.AGREEING.replace("[0, 1, 2]", seeds)

    figure = drift(tmp_path, lambda run, twin: made.alike(run, "eager" if twin in zero else twin), text)

    ax = figure.axes[0]
    low, zero, next_tick = (
        ax.transData.transform((0, y))[1] for y in (ax.get_ylim()[0], 0, sorted(ax.get_yticks())[1])
    )
    assert low < zero < next_tick
    assert ax.get_yticklabels()[list(ax.get_yticks()).index(0)].get_text() == "0"
    assert all(ax.get_ylim()[0] <= y <= ax.get_ylim()[1] for line in ax.get_lines() for y in line.get_ydata())
    ET.fromstring(drawing.svg(figure, "name", "what it shows"))  # noqa: S314 - our own


def test_labels_do_not_overlap(tmp_path):
    """Where lines end at the same height their labels are moved apart."""
    findings = derived(tmp_path, STUDIES["one twin"], lambda *_: 5.0)
    figure = figures.learning_curves(findings.curves).figure
    figure.draw_without_rendering()

    boxes = sorted((text.get_window_extent() for text in figure.axes[0].texts), key=lambda box: box.y0)
    assert len(boxes) == 4
    assert all(below.y1 <= above.y0 + 1 for below, above in pairwise(boxes))


def test_svg_is_the_same_every_time(findings, svgs):
    """The same findings give the same bytes, with no date in them."""
    again = figures.error_by_depth(findings.by_depth, findings.final).svg

    assert again == svgs["error-by-depth"]
    assert not re.search(r"20\d\d-\d\d-\d\d", again)


def test_ink_follows_the_page(svgs):
    """Text and axes take the page's colour, which a lone file chooses by the reader's light or dark mode."""
    for text in svgs.values():
        assert colours.INK not in text
        assert text.count("currentColor") > 20
        assert "#000000" not in text
        assert "prefers-color-scheme:dark" in text
        assert "#ffffff" not in text


def test_depths_and_times_have_no_hue(pictures):
    """Where a line is a depth or an evaluation it is a shade of ink, and a hue never is."""
    for ax in pictures["learning-curves"].figure.axes:
        assert {to_rgb(line.get_color()) for line in ax.get_lines()} == {to_rgb(colours.INK)}


def test_text_is_text(svgs):
    """Labels can be read by machines and are set in the page's typeface, not in one that came with matplotlib."""
    assert ">cifar</text>" in svgs["error-by-depth"]
    assert "DejaVu" not in svgs["error-by-depth"]


def test_figures_on_one_page_share_no_id(svgs):
    """Figures can stand in one page: no id is used twice, and every reference leads to an id of its own figure."""
    seen = []
    for text in svgs.values():
        ids = re.findall(r'\bid="([^"]+)"', text)
        references = {*re.findall(r"url\(#([^)]+)\)", text), *re.findall(r'href="#([^"]+)"', text)}
        assert references
        assert references <= set(ids)
        seen += ids

    assert len(seen) == len(set(seen))


def test_alternative_text_is_escaped(pictures):
    """The words for those who cannot see the figure are its title, whatever is in them."""
    svg = drawing.svg(pictures["gap-by-depth"].figure, "gap", "a < b & c")
    root = ET.fromstring(svg)  # noqa: S314 - our own

    assert root.find("{http://www.w3.org/2000/svg}desc").text == "a < b & c"
    assert root.get("role") == "img"

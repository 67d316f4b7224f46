"""The page of throughput: it says what the timings say, in the same bytes each time, readable to all."""

import re

import pytest

from deeptwins.pages.page import write
from deeptwins.pages.throughput.page import PAGE
from reading import markdown, rows
from throughput_made import case, each, grid, together, written


def page_of(folder, *benchmarks):
    """Write timings and their page."""
    return write(PAGE, folder / "reports", written(folder, *benchmarks))


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The page of a whole file, whose cases come in another order."""
    return page_of(tmp_path_factory.mktemp("usual"), *reversed(grid()))


def results(page):
    """The last column of the table of targets."""
    return [row[-1] for row in page.tables[-1].rows]


def test_the_verdict(usual):
    """The study's precision first, with device and projection; then ratios, then what became of the targets."""
    tf32, bf16, ratios, targets = usual.lines

    assert tf32 == (
        "One seed in 5.29 minutes, projected: 4 nets together do 1,000 net-iterations/s in tf32 on NVIDIA H100 80GB"
        " HBM3, 79 GiB."
    )
    assert bf16 == "In bf16: 2,000 net-iterations/s, and 3.16 minutes for one seed, projected."
    assert ratios == (
        "All nets together train 25 times as fast as the usual loop (both tf32) and 4 times as fast as the compiled"
        " loop (both bf16)."
    )
    assert "- all nets together, tf32: **1,000/s**, net-iterations; 4.27 min of training" in markdown(usual)
    assert re.findall("✓ met|✗ missed|within it, by a projection", targets) == [
        "✓ met",
        "✗ missed",
        "within it, by a projection",
    ]


def test_targets_met_and_missed(tmp_path, usual):
    """25 is at least 20; 4 is not 5; 4 nets of 64,000 at 100 a second take more than 10 minutes, by a projection."""
    within, beyond = "within it, by a projection", "beyond it, by a projection"
    slow = [together(40.0), together(2.0, "bf16"), *each("usual", 1000.0, "tf32")]

    assert results(usual) == ["✓ met", "✗ missed", within]
    assert results(page_of(tmp_path, *slow)) == ["✓ met", "not measured", beyond]
    assert results(page_of(tmp_path, together(2.0, "bf16"), *each("compiled", 5.0, "bf16"))) == [
        "not measured",
        "✓ met",
        "not measured",
    ]


@pytest.mark.parametrize(
    ("changes", "rehearsed"), [({"device": "AMD EPYC", "rehearsal": True}, True), ({"device": "NVIDIA A100"}, False)]
)
def test_elsewhere_no_target_applies(tmp_path, changes, rehearsed):
    """On another device targets are not judged; a rehearsal says that its numbers mean nothing for a GPU."""
    page = page_of(tmp_path, *grid(**changes))

    assert page.lines[-1] == "No target applies: they are for an H100 or H200."
    assert {*results(page)} == {"no target applies"}
    assert ("mean nothing for a GPU" in markdown(page)) is rehearsed
    assert page.lines[0].startswith("Not known: these timings are a rehearsal") is rehearsed
    assert ("- all nets together, tf32: **" in markdown(page)) is not rehearsed


def test_the_page_says_what_the_timings_say(usual):
    """Rates, times by depth, rooflines, where they come from, what a projection is, and how to do it again."""
    text = markdown(usual)
    found = rows(text)

    assert "all nets together|tf32|1,000|800 to 1,250|62 %|4.27" in found
    assert "the usual loop|tf32|40|32 to 50|10 %|107" in found
    assert "the trainer|residual|tf32|56|5|4 to 6.25|25,600|2.5|50 %" in found
    assert "tf32|4.27|41|1.5|5.29" in found
    assert "one seed of the study in 10 minutes, tf32|projected: 5.29 min|within it, by a projection" in found
    assert "all nets together|tf32|no|-|-|100|3" in found
    assert "the compiled loop|bf16|allowed|4|inductor|100|3" in found
    assert "device|NVIDIA H100 80GB HBM3, 79 GiB" in found
    assert "cpu|Some CPU" in found
    assert "driver|570.1" in found
    assert "commit|0123456789ab" in found
    assert "date|2026-02-03" in found
    assert "versions|torch 2.14.1" in found
    assert "projected, not measured" in text
    assert "deeptwins profile --timings" in text


def test_evaluations_decide_whether_a_projection_is_within_the_target(tmp_path):
    """9.92 minutes of training are within 10, but not with 41 evaluations of 1.5 s."""
    page = page_of(tmp_path, together(9.3))

    assert page.tables[1].rows == [["tf32", "9.92", "41", "1.5", "10.9"]]
    assert results(page)[-1] == "beyond it, by a projection"


def test_a_single_round_has_no_spread(tmp_path):
    """What was timed once has no fastest and slowest round."""
    one = together()
    one["stats"]["rounds"] = 1

    assert "one round" in page_of(tmp_path, one).tables[0].rows[0]


def test_pictures_say_in_words_what_they_show(usual):
    """Their alternative texts have the numbers; the roofline is drawn beside the times."""
    ways, depths = (usual.page.with_name(f"{name}.svg").read_text(encoding="utf-8") for name in ("ways", "by-depth"))

    assert "the usual loop, tf32 40" in ways
    assert "plain, bf16: 2.5 at depth 20 to 2.5 at depth 56, roofline 1.25 to 1.25" in depths
    assert "residual: memory roofline" in depths


@pytest.mark.parametrize(("ms", "told"), [(2.6, False), (2.4, True)])
def test_less_time_than_the_roofline_is_no_finding(tmp_path, ms, told):
    """A share of more than 100 % has no number anywhere, and stands under a warning."""
    page = page_of(tmp_path, together(), case(ms=ms))
    text = markdown(page)

    assert ("took less time than the memory roofline allows" in text) is told
    assert (r"|\> 100 %" in "".join(rows(text))) is told
    assert page.lines[0].startswith("Some iterations took less time") is told
    assert not re.search(r"1\d\d(\.\d)? %", text.replace("100 %", ""))


def test_a_page_without_nets_alone(tmp_path):
    """Where only the nets together were timed, what was not is left out."""
    page = page_of(tmp_path, together(), case("usual"))

    assert not (page.page.parent / "by-depth.svg").exists()
    assert "times as fast" not in page.lines[1].split("Targets")[0]

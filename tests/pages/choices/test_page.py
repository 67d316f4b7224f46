"""The page of packing and of the trainer's choices: it says what the timings say, in the same bytes each time."""

import pytest

from choices_made import H100, all_of_them, chosen, packed, packings, written
from deeptwins.pages.choices.page import PAGE
from deeptwins.pages.page import write
from reading import html, markdown, rows


def page_of(folder, *benchmarks, where="reports"):
    """Write timings and their page."""
    return write(PAGE, folder / where, written(folder, *benchmarks))


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The page of a whole file."""
    return page_of(tmp_path_factory.mktemp("usual"), *all_of_them())


def test_the_verdict(usual):
    """What packing is worth by its rule; then, of each choice, whether another value was faster."""
    packing, steps, runs = usual.lines

    assert packing == (
        f"Yes: on {H100}, 2 nets packed into one train 1.50 to 2.00 times as fast as one after another in the"
        " trainer's layout, channels_last; packing pays from 1.3 on."
    )
    assert steps == "Steps a replay: the trainer's value, 8, takes 4 ms; 4 is fastest, with 3 ms."
    assert runs == "Runs in hand: the trainer's value, 4, takes 5 ms, the fastest of 2."


@pytest.mark.parametrize(("least", "answer"), [(1.3, "Yes"), (1.29, "No")])
def test_every_depth_must_gain(tmp_path, least, answer):
    """The depth that gains least decides, however much another gains."""
    assert page_of(tmp_path, *packings(at20=9.0, at56=least)).lines[0].startswith(f"{answer}: on")


@pytest.mark.parametrize(
    ("ratio", "answer"), [(2.0, "Not known, as not both depths 20 and 56 were timed"), (1.2, "No")]
)
def test_one_depth_can_rule_packing_out_and_not_in(tmp_path, ratio, answer):
    """Where not all depths of the rule were timed a gain is no answer, and a loss is one."""
    assert page_of(tmp_path, packed(ratio)).lines[0].startswith(f"{answer}: on")


def test_without_the_settings_of_the_rule_packing_is_open(tmp_path):
    """Other settings do not decide."""
    assert page_of(tmp_path, packed(9.0, "gemm"), packed(9.0, nets=8)).lines[0].startswith("Not known: ")


def test_a_choice_whose_own_value_was_not_timed(tmp_path):
    """Nothing is said to be faster than what was not timed."""
    page = page_of(tmp_path, chosen(4, 3.0), chosen(2, 2.0))

    assert page.lines == ("Steps a replay: the trainer's value, 8, was not timed.",)
    assert page.tables[0].rows[0][-1] == "-"


def test_a_rehearsal_is_called_one(tmp_path, usual):
    """Times of tiny nets on a CPU are no answer, neither in the verdict nor on the page; those of packing are."""
    page = page_of(tmp_path, *packings(), chosen(rehearsal=True))

    assert "(a rehearsal)" in page.lines[1]
    assert "rehears" not in page.lines[0]
    assert "mean nothing" in html(page)
    assert "mean nothing" not in html(usual)


def test_the_page_says_what_the_timings_say(usual):
    """Ratios with quartiles, operators, times, where they come from, and how to do it again."""
    text = markdown(usual)
    found = rows(text)

    assert r"- grouped: **1.50 to 2.00**, times as fast as one after another, 2 nets packed, channels\_last" in text
    assert "- separate: **1.00**, one after another, against themselves: the noise" in text
    assert "2|20|480|248|1.00 (0.90 to 1.10)|2.00 (1.80 to 2.20)" in found
    assert "steps a replay|4||3|2.7 to 3.6|0.75" in found
    assert "steps a replay|8|the trainer's|4|3.6 to 4.8|1.00" in found
    assert f"device|{H100}" in found
    assert "commit|0123456789ab" in found
    assert "deeptwins profile --timings results/packing.json --timings results/choices.json" in text


def test_a_page_of_one_bench_alone(tmp_path):
    """What was not timed has no section, no file, and no command."""
    page = page_of(tmp_path, *packings())

    assert not (page.page.parent / "choices.svg").exists()
    assert "bench_choices" not in markdown(page)
    assert not (page_of(tmp_path, chosen(), where="other").page.parent / "packing.svg").exists()


def test_pictures_say_in_words_what_they_show(usual):
    """Their alternative texts have the numbers."""
    folder = usual.page.parent

    assert "separate 1.00 to 1.00, grouped 0.50 to 2.00" in (folder / "packing.svg").read_text(encoding="utf-8")
    assert "steps a replay: 8 4 ms, 4 3 ms" in (folder / "choices.svg").read_text(encoding="utf-8")

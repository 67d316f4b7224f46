"""Reports: the page of a study, in words first."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import made
from deeptwins import study as studies
from deeptwins.errors import InputError
from deeptwins.pages.page import write as write_page
from deeptwins.pages.study import prose
from deeptwins.pages.study.page import PAGE
from deeptwins.study import places
from reading import html, markdown

pytestmark = pytest.mark.slow


def test_the_verdict_comes_first(shipped):
    """The page opens with question, answer, figure and evidence; then come what was found, why, and what is folded."""
    text = html(shipped).replace("\N{NO-BREAK SPACE}", " ").split("<body>")[1]

    order = [
        "Does training error rise with depth when there is no shortcut?</h1>",
        "<strong>Yes, it does.</strong>",
        'href="error-by-depth.svg"',
        re.split(r"\d", PAGE.verdict(shipped.facts)[0])[0],
        *(f">{heading}</h2>" for heading in headings(shipped)),
    ]
    at = [text.index(part) for part in order]
    assert at == sorted(at)
    assert headings(shipped) == [
        "What the study claims",
        "Against the paper",
        "Learning curves",
        "Differences between the twins",
        "Layer responses",
        "Trends",
        "All errors",
        "Single runs",
        "What it cost",
        "Provenance",
        "How to reproduce",
    ]
    folded = [section.title for section in PAGE.sections(shipped.facts) if section.folded]
    assert folded == ["Trends", "All errors", "Single runs", "What it cost"]


def test_every_single_run_is_on_the_page(shipped):
    """Each net and seed has its errors, its machine and its commit."""
    text = markdown(shipped).split("## Single runs")[1].split("## ")[0]

    lines = [line for line in text.splitlines() if line.startswith(("| cifar", "| imagenet"))]
    assert len(lines) == len(shipped.facts.findings.final)
    assert all(line.endswith("| AMD EPYC | abc1234 |") for line in lines)


def test_the_paper_is_beside_ours(shipped):
    """Published values stand beside ours, with their source."""
    text = markdown(shipped)

    assert re.search(
        r"\| cifar \| 56 \| residual \| test error \| table 6 \| 6\.97 \| \d\.\d\d \| .* \| outside \|", text
    )


def test_alternative_texts_say_the_numbers(shipped):
    """Who cannot see the first figure reads its numbers."""
    text = markdown(shipped)

    alt = re.search(r"!\[([^]]*)\]\(error-by-depth\.svg\)", text).group(1)
    assert re.search(r"cifar, plain: \d\.\d % at depth 20, .* at depth 56; cifar, residual: ", alt)


def headings(written):
    """The headings of a page's sections, in order."""
    return re.findall(r"^## (.*)$", markdown(written), re.MULTILINE)


def test_agreement_comes_first(agreeing):
    """Where twins should agree the page opens with whether they do; of a single depth it draws nothing by depth."""
    assert headings(agreeing) == [
        "Agreement of the twins",
        "What the study claims",
        "Learning curves",
        "Layer responses",
        "All errors",
        "Single runs",
        "What it cost",
        "Provenance",
        "How to reproduce",
    ]
    assert not (agreeing.page.parent / "error-by-depth.svg").exists()
    text = markdown(agreeing)
    assert (
        text.index("](drift.svg)")
        < text.index("The twins triton and eager agree within 1 point. ")
        < text.index("| triton \N{MINUS SIGN} eager | training error | agree |")
    )
    assert re.search(r"\| triton and eager \| furthest apart, last \| 48 \| 1\.0e-3 \|", text)
    assert "Two twins agree in an error where" in text
    assert "An effect is a trend that rises" not in text
    assert "| fused\\_op | eager: eager; compiled: compiled; triton: triton |" in text


@pytest.fixture(scope="module")
def diverged(tmp_path_factory):
    """The page of a study whose twins should agree, one of which diverged before its first evaluation."""
    folder = tmp_path_factory.mktemp("diverged")
    study = made.load(folder, made.AGREEING, "kernel")
    for run in study.runs:
        made.write(folder / "results", run, made.records(run, diverged=["eager"], diverged_at=1))
    return write_page(PAGE, folder / "reports", study, folder / "results")


def test_claims_are_met_or_contradicted(shipped, agreeing, diverged):
    """Of a trend or of an agreement, the page says which, and the caller is told."""
    agrees = "  cifar: training error of triton agrees with that of eager"

    assert [written.facts.contradicted for written in (shipped, agreeing, diverged)] == [False, False, False]
    assert "  cifar: training error of plain rises: ✓ met" in shipped.lines
    assert f"{agrees}: ✓ met" in agreeing.lines
    assert f"{agrees}: ? undecided, as nets diverged" in diverged.lines
    for read in (html, markdown):
        assert "? undecided" in read(diverged)


def test_nets_that_have_no_loss_do_not_drift(diverged):
    """Where a twin diverged before its first evaluation there is no drift to show, and still a page."""
    told = " ".join(diverged.lines)
    assert "The twins compiled and eager cannot be compared. Training error: nets diverged." in told
    assert "oss traces" not in told
    assert not (diverged.page.parent / "drift.svg").exists()
    assert headings(diverged)[0] == "Agreement of the twins"
    assert "identical" not in markdown(diverged)


def test_the_drift_is_told_to_who_cannot_see_it(agreeing):
    """The figure of the drift says in words where each line begins and ends, and what chance makes."""
    text = markdown(agreeing)

    alt = re.search(r"!\[([^]]*)\]\(drift\.svg\)", text).group(1)
    compiled, triton = re.findall(r"cifar, depth 8, (.*?)\. ?(?=cifar|$)", alt)
    assert re.fullmatch(
        r"compiled and eager: \de-8 at iteration 12, 1e-6 at iteration 48; two seeds of eager 42 % there", compiled
    )
    assert re.fullmatch(
        r"triton and eager: \de-5 at iteration 12, 0\.1 % at iteration 48; two seeds of eager 42 % there", triton
    )
    assert json.loads(agreeing.page.with_name("summary.json").read_text(encoding="utf-8"))["figure"] == "drift.svg"


def test_what_does_not_drift_is_told_in_words(tmp_path):
    """Loss traces that are identical to the last bit are not drawn; the page says so, and gives no numbers of it."""
    study = made.load(tmp_path, made.AGREEING, "kernel")

    results = made.results(tmp_path, study, lambda run, _: 2 + run.seed)
    written = write_page(PAGE, tmp_path / "reports", study, results)

    text = markdown(written)
    assert "The loss traces of these twins are identical to the last bit at every evaluation." in text
    assert not (written.page.parent / "drift.svg").exists()
    assert "| triton and eager |" not in text


def test_a_single_depth_has_a_page(one_depth):
    """A study of one depth opens with how its twins compare, and draws nothing against depth."""
    assert headings(one_depth)[:4] == [
        "Learning curves",
        "Differences between the twins",
        "Layer responses",
        "All errors",
    ]
    assert markdown(one_depth).index("](error-by-twin.svg)") < markdown(one_depth).index("## ")
    assert (one_depth.page.parent / "error-by-twin.svg").is_file()
    assert not list(one_depth.page.parent.glob("*-by-depth.svg"))


def test_a_single_twin_has_a_page(tmp_path):
    """A study of one twin has nothing to compare."""
    study = made.small(tmp_path, "plain = {}")

    first, second, third, *_ = PAGE.sections(PAGE.load(study, made.results(tmp_path, study)))

    assert [first.title, second.title, third.title] == [
        "Training error against depth", "Learning curves", "Layer responses"
    ]  # fmt: skip


def test_a_study_of_one_depth_draws_its_twins(one_depth):
    """Of one depth the page draws each twin's errors, and tells them to who cannot see them."""
    text = markdown(one_depth)
    alt = re.search(r"!\[([^]]*)\]\(error-by-twin\.svg\)", text).group(1)
    assert "cifar, residual: 6.0 % in training, 8.0 % in test" in alt
    assert "| training error | agree | 0.0 |" in text
    assert "All rows: residual \N{MINUS SIGN} plain, family cifar, depth 20, 3 seeds:" in text


def test_other_data_and_failures_are_on_the_page(tmp_path):
    """Published values of other data have a table of their own, and what is other than published is said above."""
    value = (
        '[[paper]]\nfamily = "cifar"\ndepth = 110\ndataset = "cifar10"\nmetric = "test_error_pct"\nsource = "table 6"\n'
    )
    far = f'{value}twin = "plain"\nvalue = "fails"\n{value}twin = "residual"\nvalue = 6.43\n'
    study = made.load(tmp_path, made.TOML.replace("[twins]", 'scale = "Ours are small."\n[twins]', 1) + far)
    results = made.results(tmp_path, study, lambda run, twin: 3.0 + run.seed + 0.5 * (twin == "residual"))

    written = write_page(PAGE, tmp_path / "reports", study, results)

    text = markdown(written)
    assert "| plain | - | fails as published, trains here |" in text
    assert re.search(r"^Published on cifar10 at depth 110 \(table 6\): .*\.\n\nOurs are small\.$", text, re.MULTILINE)
    assert text.index("Published on cifar10") < text.index("## ")


def test_growth_is_on_the_page(tmp_path):
    """A study that grows nets shows what growing changed."""
    grid = '[[vary]]\nfamily = "cifar"\ndepth = 20\nseed = [0, 1]\ngrow_at = 100\n'
    study = made.load_text(f"[twins]\na = {{}}\nb = {{ grown_from = 8 }}\n{grid}")

    written = write_page(PAGE, tmp_path / "reports", study, made.results(tmp_path, study))

    assert "Growth" in headings(written)
    assert "| cifar | 8 to 20 | b | 100 | 2.0e-6 | 40.00 | 40.00 | 2 |" in markdown(written)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load a study in ablations/ of the repository, the working directory, and its records, as the command would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "SHIPPED", tmp_path / "ablations")
    (tmp_path / "ablations").mkdir()
    made.small(tmp_path / "ablations", grid=made.ONE_DEPTH)

    def loader(settings=(), seeds=None, path=Path("ablations", "small.toml")):
        study = studies.load(path, settings, seeds)
        return PAGE.load(study, made.results(tmp_path, study))

    return loader


def test_settings_and_seeds_are_in_the_commands(load):
    """What was changed for this page is in the commands that make it, quoted for the shell, and said at the top."""
    facts = load(["recipe.shift=0", "recipe.milestones=[9, 10]"], seeds=2)

    changed = "small --set recipe.shift=0 --set 'recipe.milestones=[9, 10]' --seeds 2"
    for page, words in ((load(), "small"), (facts, changed)):
        commands = f"tox -e ablate -- {words}", f"deeptwins run {words}", f"deeptwins report {words}"
        assert PAGE.commands(page).lines == commands
    changes = "The study's recipe with these changes: recipe.shift=0, recipe.milestones=[9, 10]."
    assert PAGE.remarks(facts)[0] == changes


def test_a_study_given_by_path_is_reproduced_by_path(load, tmp_path):
    """Outside ablations/ a study goes by its path, and tox has no line: it may not be in the clone."""
    (tmp_path / "my studies").mkdir()
    made.small(tmp_path / "my studies")

    facts = load(path=Path("my studies", "small.toml"))

    commands = "deeptwins run 'my studies/small.toml'", "deeptwins report 'my studies/small.toml'"
    assert PAGE.commands(facts).lines == commands


def test_a_study_that_does_not_ship_is_reproduced_by_name(load, tmp_path, monkeypatch):
    """In a folder that is no clone, a study of ablations/ goes by its name, without tox; so does one that hides one."""
    monkeypatch.setattr(places, "SHIPPED", tmp_path / "shipped")
    commands = "deeptwins run small", "deeptwins report small"

    assert PAGE.commands(load()).lines == commands
    (tmp_path / "shipped").mkdir()
    made.small(tmp_path / "shipped")
    assert PAGE.commands(load()).lines == commands


def test_records_of_more_seeds_than_asked_for_are_reproduced(load, tmp_path):
    """A page shows all seeds that there are; the commands ask for as many."""
    made.results(tmp_path, studies.load(Path("ablations", "small.toml"), seeds=4))

    assert PAGE.commands(load()).lines[1] == "deeptwins run small --seeds 4"


def test_another_recipe_is_another_page(load):
    """A changed recipe has a page of its own; more seeds are no change."""
    changes = ("shift=0", "shift=1", "milestones=[1, 2]", "milestones=[12]")
    names = [PAGE.name(load([f"recipe.{change}"])) for change in changes]

    assert PAGE.name(load()) == PAGE.name(load(seeds=4)) == "small"
    assert names[0] == "small-shift-0"
    assert len({"small", *names}) == 5


@pytest.mark.parametrize("value", ["folder:../../elsewhere", "..", "a/" * 200])
def test_a_setting_cannot_lead_out_of_the_folder(load, value):
    """Whatever `--set` says, the page lies in one folder, of a length that file systems take, beside the others."""
    name = PAGE.name(load([f"recipe.dataset={value}"]))

    assert Path(name).name == name
    assert name.startswith("small-dataset-")
    assert len(name) < 100


def test_studies_with_records_are_found(load, tmp_path):
    """Of the studies in ablations/ those that have records have a page, in alphabetical order."""
    for name in ("untrained", "first"):
        made.small(tmp_path / "ablations", name=name, grid=made.ONE_DEPTH)
    results = made.results(tmp_path, studies.load(Path("ablations", "first.toml")))
    load()

    assert [(study.name, where) for study, where in PAGE.find(results)] == [("first", results), ("small", results)]


def test_trends_and_recipe_are_on_the_page(shipped):
    """The numbers behind every verdict, and the recipe, are there to read."""
    text = markdown(shipped)

    assert "| cifar | plain | training error | rises | " in text
    assert "| iterations | 240 (240.0 epochs) |" in text


def test_answer_cost_and_dates_are_told(shipped):
    """The answer comes before the rest; what the study cost, and when, stand on the page and in the list of pages."""
    listed = json.loads(shipped.page.with_name("summary.json").read_text(encoding="utf-8"))
    text = markdown(shipped)

    cost, date = "10.2 core-minutes on AMD EPYC", "2026-11-20 to 2026-11-22"
    assert (listed["answer"], listed["cost"], listed["date"]) == ("Yes, it does.", cost, date)
    assert text.index("**Yes, it does.**") < text.index("In the cifar family, without")
    assert f"| training time | {cost} |" in text
    assert f"| date | {date} |" in text


def test_the_source_is_told_as_written(shipped):
    """A study's source stands under the question."""
    assert "\nSource: He et al. 2015, section 4.2, figure 6\n" in markdown(shipped)
    assert ">Source: He et al. 2015, section 4.2, figure 6<" in html(shipped)


def test_no_finished_run_is_one_line(tmp_path):
    """A study that has only begun has no report; the error says how to go on."""
    study = made.small(tmp_path)
    made.write(tmp_path / "results", study.runs[0], made.records(study.runs[0], status=None))

    with pytest.raises(InputError, match=r"no run has finished yet; go on with `deeptwins run .*small\.toml`"):
        PAGE.load(study, tmp_path / "results")


def test_runs_with_other_settings_are_told_where_none_has_finished(tmp_path):
    """Where only runs with another recipe, other nets or renamed twins lie, the line says which keys differ."""
    study = made.small(tmp_path)
    run, *_, deep = study.runs
    slow = run.model_copy(update={"recipe": run.recipe.model_copy(update={"iterations": 480, "warmup": 7})})
    renamed = run.model_copy(update={"twins": dict(zip(("flat", "skip"), run.twins.values(), strict=True))})
    wide = deep.model_copy(
        update={"twins": deep.twins | {"plain": deep.twins["plain"].model_copy(update={"width": 32})}}
    )
    for other in (slow, slow.model_copy(update={"seed": 1}), renamed, wide):
        made.write(tmp_path / "results", other)

    with pytest.raises(InputError) as refused:
        PAGE.load(study, tmp_path / "results")

    assert str(refused.value).startswith(
        f"{tmp_path}/results/small: none of the study's runs has finished, but there are "
        "2 runs with iterations 480 (here 240), warmup 7 (here 0); "
    )
    assert "1 run with twins flat, skip (here plain, residual)" in str(refused.value)
    assert "1 run with width 32/16 (here 16)" in str(refused.value)
    assert "; go on with `deeptwins run" in str(refused.value)


def test_a_claim_about_gradients_is_answered_though_no_net_trained(tmp_path):
    """That no net trained comes first; a claim about gradients is none about errors, and its answer follows."""
    claim = '[answer]\nmet = "Yes."\ncontradicted = "No."\n[[expect]]\ntwin = "plain"\ngradients = "healthy"\n'
    study = made.load_text(f"[twins]\n{made.TWINS}\n{made.GRID}", claim)
    for run in study.runs:
        *lines, end = [line for line in made.records(run, lambda *_: 90.0) if line["kind"] != "layer"]
        made.write(tmp_path / "results", run, [*lines, *made.inside(run, norm=lambda *_: 1.0), end])

    facts = PAGE.load(study, tmp_path / "results")
    answer, (gradients,) = PAGE.answer(facts), PAGE.verdict(facts)

    assert answer.startswith("No net trained: ")
    assert answer.endswith(" Yes.")
    assert gradients.startswith("Gradients neither vanish nor explode in plain")


def test_nets_that_all_diverged_have_a_page(tmp_path):
    """Runs without a layer, a block or a gradient to show have a page, which says that they diverged."""
    study = made.small(tmp_path)
    for run in study.runs:
        lines = made.records(run, diverged=list(run.twins), diverged_at=study.runs[0].recipe.evaluate_every)
        made.write(tmp_path / "results", run, [line for line in lines if line["kind"] != "layer"])

    written = write_page(PAGE, tmp_path / "reports", study, tmp_path / "results")

    text = markdown(written)
    note = "training error at depth 56, in 3 of 3 seeds; diverged at depth 20"
    numbers = prose.numbers(study, written.facts.findings)
    assert numbers == [("plain", "diverged", note), ("residual", "diverged", note)]
    assert "\n**No net trained: all 12 nets diverged. So their errors decide nothing." in text


@settings(max_examples=8)  # a page takes a second; `tox -e torture` tries thousands
@given(data=st.data())
def test_no_record_ends_in_a_traceback(tmp_path_factory, data):
    """Whatever number stands in a record, there is a page, or one line that names the file."""
    folder = tmp_path_factory.mktemp("any")
    study = made.small(folder)
    results = made.looked_into(folder, study)
    path = data.draw(st.sampled_from(sorted(results.rglob("*.jsonl"))))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    record = data.draw(st.sampled_from(lines[1:]))
    record[data.draw(st.sampled_from(sorted(record)))] = data.draw(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    try:
        refusal = "" if write_page(PAGE, folder / "reports", study, results).page.exists() else "no page"
    except InputError as error:
        refusal = str(error)

    assert not refusal or re.fullmatch(rf"{re.escape(str(path))}:\d+: .+", refusal)

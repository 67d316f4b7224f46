"""Reports: the page of a study, in words first."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import made
from deeptwins import study as studies
from deeptwins.errors import InputError
from deeptwins.pages import page as pages
from deeptwins.pages.page import write as write_page
from deeptwins.pages.study.page import PAGE


class Outline(HTMLParser):
    """Tags, headings and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Remember a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        """Remember text."""
        self.text += data


def markdown(written):
    """The page as Markdown."""
    return written.page.with_name("report.md").read_text(encoding="utf-8")


def test_the_verdict_comes_first(shipped):
    """The page opens with the question, then the verdict in words, then the figure."""
    text = shipped.page.read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")

    question = text.index("Does training error rise with depth when there is no shortcut?</h1>")
    words = text.index("without shortcuts, training error rises from ", question)
    assert words < text.index("<svg")
    for heading in [
        "Learning curves",
        "Differences between",
        "Layer responses",
        "claims",
        "paper",
        "All errors",
        "cost",
    ]:
        assert words < text.index(heading, words)


def test_claims(tmp_path):
    """A claim that the records contradict is said, on the page and to the caller."""
    study = made.load(tmp_path)
    results = made.results(tmp_path, study, lambda run, twin: 100 - run.twins[twin].depth)

    written = write_page(PAGE, tmp_path / "reports", study, results)

    assert written.facts.contradicted
    assert "  cifar: training error of plain rises: ✗ contradicted" in written.lines
    assert "✗ contradicted" in written.page.read_text(encoding="utf-8")


def test_a_provisional_report_says_so(tmp_path):
    """While runs are missing, the page says under the verdict how many have finished."""
    study = made.small(tmp_path)
    made.write(tmp_path / "results", study.runs[0])

    written = write_page(PAGE, tmp_path / "reports", study, tmp_path / "results")

    for text in (written.page.read_text(encoding="utf-8"), markdown(written)):
        assert "Provisional: 1 of 6 runs have finished." in text


def test_met_claims_contradict_nothing(shipped):
    """Where every claim is met nothing is contradicted."""
    assert not shipped.facts.contradicted
    assert shipped.lines[1] == "  cifar: training error of plain rises: ✓ met"


def test_the_paper_is_beside_ours(shipped):
    """Published values stand beside ours, with their source."""
    text = markdown(shipped)

    assert re.search(
        r"\| cifar \| 56 \| residual \| test error \| table 6 \| 6\.97 \| \d\.\d \| .* \| outside \|", text
    )


def test_the_page_needs_nothing_else(shipped):
    """The page holds its styles and figures; it loads nothing and runs no script."""
    outline = Outline(shipped.page.read_text(encoding="utf-8"))

    names = [tag for tag, _ in outline.tags]
    assert names.count("svg") == 4
    assert not {"script", "link", "img", "iframe"} & set(names)
    assert "@import" not in outline.text
    references = [value for _, attrs in outline.tags for key, value in attrs.items() if key in {"href", "src"}]
    assert references
    for reference in references:
        assert (shipped.page.parent / reference).is_file()


def test_heads_say_of_what_and_figures_what_they_are(shipped):
    """The heads of tables have a scope, figures the role of an image, and the page one main part."""
    outline = Outline(shipped.page.read_text(encoding="utf-8"))

    assert [tag for tag, _ in outline.tags].count("main") == 1
    assert all("scope" in attrs for tag, attrs in outline.tags if tag == "th")
    assert all(attrs["role"] == "img" for tag, attrs in outline.tags if tag == "svg")


def test_alternative_texts_say_the_numbers(shipped):
    """Who cannot see the first figure reads its numbers."""
    text = markdown(shipped)

    alt = re.search(r"!\[([^]]*)\]\(error-by-depth\.svg\)", text).group(1)
    assert re.search(r"cifar, plain: \d\.\d % at depth 20, .* at depth 56; cifar, residual: ", alt)


def test_every_file_of_the_markdown_is_there(shipped):
    """The Markdown points at figures and data beside it."""
    links = re.findall(r"\]\(([^)]*)\)", markdown(shipped))

    assert len(links) > 10
    assert all((shipped.page.parent / link).is_file() for link in links)


def headings(written):
    """The headings of a page's sections, in order."""
    return re.findall(r"^## (.*)$", markdown(written), re.MULTILINE)


def test_agreement_comes_first(agreeing):
    """Where twins should agree the page opens with whether they do; of a single depth it draws nothing by depth."""
    assert headings(agreeing) == [
        "Agreement of the twins",
        "Learning curves",
        "Layer responses",
        "What the study claims",
        "All errors",
        "What it cost",
        "Provenance",
        "How to reproduce",
    ]
    assert not (agreeing.page.parent / "error-by-depth.svg").exists()
    text = markdown(agreeing)
    assert (
        text.index("**triton agrees with eager: ")
        < text.index("](drift.svg)")
        < text.index("| triton | training error | agree |")
    )
    assert re.search(r"\| triton and eager \| furthest apart, last \| 48 \| 1\.0e-3 \|", text)
    assert "Two twins agree in an error where" in text
    assert "An effect (a trend that rises" not in text
    assert "| fused\\_op | eager: eager; compiled: compiled; triton: triton |" in text


def test_agreement_is_claimed(agreeing, tmp_path):
    """Claims of agreement are met, or contradicted, like others: the page says so, and the caller is told."""
    study = made.load(tmp_path, made.AGREEING, "kernel")
    results = made.results(tmp_path, study, lambda run, twin: 2 + run.seed + 9 * (twin == "triton"))

    facts = PAGE.load(study, results)

    assert not agreeing.facts.contradicted
    assert agreeing.lines[2] == "  cifar: training error of triton agrees with that of eager: ✓ met"
    assert facts.contradicted
    assert PAGE.lines(facts)[2] == "  cifar: training error of triton agrees with that of eager: ✗ contradicted"


def test_the_drift_is_told_to_who_cannot_see_it(agreeing, tmp_path):
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
    index = pages.write_index(agreeing.page.parents[1]).read_text(encoding="utf-8")
    assert 'src="kernel/drift.svg"' in index


def test_what_does_not_drift_is_told_in_words(tmp_path):
    """Loss traces that are identical to the last bit are not drawn; the page says so, and gives no numbers of it."""
    study = made.load(tmp_path, made.AGREEING, "kernel")

    results = made.results(tmp_path, study, lambda run, _: 2 + run.seed)
    written = write_page(PAGE, tmp_path / "reports", study, results)

    text = markdown(written)
    assert "At every evaluation the loss traces of these twins are identical to the last bit." in text
    assert not (written.page.parent / "drift.svg").exists()
    assert "| triton and eager |" not in text


def test_nets_that_have_no_loss_do_not_drift(tmp_path):
    """Where a twin diverged before its first evaluation there is no drift to show, and still a page."""
    study = made.load(tmp_path, made.AGREEING, "kernel")
    for run in study.runs:
        lines = made.records(run, diverged=["eager"], diverged_at=1)
        made.write(tmp_path / "results", run, lines)

    written = write_page(PAGE, tmp_path / "reports", study, tmp_path / "results")

    assert written.lines[0].startswith("kernel: compiled differs from eager: training error ")
    assert "loss traces" not in written.lines[0]
    assert not (written.page.parent / "drift.svg").exists()
    assert headings(written)[0] == "Agreement of the twins"
    assert "identical" not in markdown(written)


def test_a_single_depth_has_a_page(one_depth):
    """A study of one depth opens with how its twins compare, and draws nothing against depth."""
    assert headings(one_depth)[:4] == [
        "Differences between the twins",
        "Learning curves",
        "Layer responses",
        "All errors",
    ]
    assert (one_depth.page.parent / "error-by-twin.svg").is_file()
    assert not list(one_depth.page.parent.glob("*-by-depth.svg"))


def test_a_single_twin_has_a_page(tmp_path):
    """A study of one twin has nothing to compare."""
    study = made.small(tmp_path, "plain = {}")

    written = write_page(PAGE, tmp_path / "reports", study, made.results(tmp_path, study))

    assert headings(written)[:3] == ["Training error against depth", "Learning curves", "Layer responses"]


def test_a_study_of_one_depth_draws_its_twins(one_depth):
    """Of one depth the page draws each twin's errors, and tells them to who cannot see them."""
    text = markdown(one_depth)
    alt = re.search(r"!\[([^]]*)\]\(error-by-twin\.svg\)", text).group(1)
    assert "cifar, residual: 6.0 % in training, 8.0 % in test" in alt
    assert "| residual | training error | agree | +0.0 |" in text
    assert "The same in all rows: family cifar; depth 20; minus plain; seeds 3" in text


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
    assert "| plain | - | fails there, trains here |" in text
    assert re.search(r"^Published on cifar10 at depth 110 \(table 6\): .* Ours are small\.$", text, re.MULTILINE)
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
    """Load a shipped-like study (in ablations/ of the working directory) and its records as the command would."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ablations").mkdir()
    made.small(tmp_path / "ablations")

    def loader(settings=(), seeds=None, path=Path("ablations", "small.toml")):
        study = studies.load(path, settings, seeds)
        return PAGE.load(study, made.results(tmp_path, study))

    return loader


def test_it_says_how_to_reproduce(load, tmp_path):
    """The commands that make the page are on it, in HTML and Markdown."""
    written = write_page(PAGE, Path("reports"), load().study, tmp_path / "results")

    commands = ["tox -e ablate -- small", "deeptwins run small", "deeptwins report small"]
    assert re.findall(r"^    (.*)$", markdown(written), re.MULTILINE) == commands
    for command in commands:
        assert f"{command}\n" in written.page.read_text(encoding="utf-8")


def test_settings_and_seeds_are_in_the_commands(load):
    """What was changed for this page is in the commands that make it, quoted for the shell, and said at the top."""
    facts = load(["recipe.shift=0", "recipe.milestones=[9, 10]"], seeds=2)

    words = "small --set recipe.shift=0 --set 'recipe.milestones=[9, 10]' --seeds 2"
    commands = f"tox -e ablate -- {words}", f"deeptwins run {words}", f"deeptwins report {words}"
    assert PAGE.commands(facts).lines == commands
    changes = "The study's recipe with these changes: recipe.shift=0, recipe.milestones=[9, 10]."
    assert PAGE.remarks(facts)[0] == changes


def test_a_study_given_by_path_is_reproduced_by_path(load, tmp_path):
    """Outside ablations/ a study goes by its path, and tox has no line: it may not be in the clone."""
    (tmp_path / "my studies").mkdir()
    made.small(tmp_path / "my studies")

    facts = load(path=Path("my studies", "small.toml"))

    commands = "deeptwins run 'my studies/small.toml'", "deeptwins report 'my studies/small.toml'"
    assert PAGE.commands(facts).lines == commands


def test_records_of_more_seeds_than_asked_for_are_reproduced(load, tmp_path):
    """A page shows all seeds that there are; the commands ask for as many."""
    made.results(tmp_path, studies.load(Path("ablations", "small.toml"), seeds=4))

    assert PAGE.commands(load()).lines[1] == "deeptwins run small --seeds 4"


def test_another_recipe_is_another_page(load, tmp_path):
    """A changed recipe has a page of its own, and the index tells them apart; more seeds are no change."""
    changes = ("shift=0", "shift=1", "milestones=[1, 2]", "milestones=[12]")
    others = [load([f"recipe.{change}"]) for change in changes]
    names = [PAGE.name(facts) for facts in others]

    assert PAGE.name(load()) == PAGE.name(load(seeds=4)) == "small"
    assert names[0] == "small-shift-0"
    assert len({"small", *names}) == 5
    for study in (load().study, load(["recipe.shift=0"]).study):
        write_page(PAGE, tmp_path / "reports", study, made.results(tmp_path, study))
    index = pages.write_index(tmp_path / "reports").read_text(encoding="utf-8")
    assert all(f'href="{name}/index.html"' in index for name in ("small", names[0]))
    assert index.count("with these changes: recipe.shift=0.") == 1


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
        made.small(tmp_path / "ablations", name=name)
    results = made.results(tmp_path, studies.load(Path("ablations", "first.toml")))
    load()

    assert [(study.name, where) for study, where in PAGE.find(results)] == [("first", results), ("small", results)]


def test_trends_and_recipe_are_on_the_page(shipped):
    """The numbers behind every verdict, and the recipe, are there to read."""
    text = markdown(shipped)

    assert "| cifar | plain | training error | rises | " in text
    assert "| iterations | 240 (21.4 epochs) |" in text


def test_the_source_is_told_as_written(shipped):
    """A study's source stands under the question."""
    assert "\nSource: He et al. 2015, section 4.2, figure 6\n" in markdown(shipped)
    assert ">Source: He et al. 2015, section 4.2, figure 6<" in shipped.page.read_text(encoding="utf-8")


NASTY = "</title><script>alert(1)</script> a|b\n# c [d](e) *f* `g` & $h$"


def test_texts_of_a_study_stay_texts(tmp_path):
    """Whatever a study's author writes is shown as written: no markup of theirs works in HTML or Markdown."""
    study = made.small(tmp_path, question=NASTY)
    written = write_page(PAGE, tmp_path / "reports", study, made.results(tmp_path, study))
    pages.write_index(tmp_path / "reports")

    for path in (written.page, tmp_path / "reports" / "index.html"):
        outline = Outline(path.read_text(encoding="utf-8"))
        assert "script" not in [tag for tag, _ in outline.tags]
        assert "<script>alert(1)</script> a|b" in outline.text
    first = markdown(written).splitlines()[0]
    assert first == r"# \</title\>\<script\>alert(1)\</script\> a\|b \# c \[d\](e) \*f\* \`g\` \& \$h\$"


def test_an_interrupted_report_leaves_the_old_one(tmp_path, monkeypatch):
    """When writing fails midway, the page that was there is untouched and nothing half-written stays."""
    study = made.small(tmp_path)
    results = made.results(tmp_path, study)
    folder = write_page(PAGE, tmp_path / "reports", study, results).page.parent
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    made.write(results, study.runs[0], made.records(study.runs[0], lambda *_: 1.0))
    write_text = Path.write_text

    def full(path, *args, **kwargs):
        if path.name == "index.html":
            raise OSError(28, "No space left on device")
        return write_text(path, *args, **kwargs)

    monkeypatch.setattr(pages.Path, "write_text", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_page(PAGE, tmp_path / "reports", study, results)

    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_no_finished_run_is_one_line(tmp_path):
    """A study that has only begun has no report; the error says how to go on."""
    study = made.small(tmp_path)
    made.write(tmp_path / "results", study.runs[0], made.records(study.runs[0], status=None))

    with pytest.raises(InputError, match=r"no run has finished yet; go on with `deeptwins run .*small\.toml`"):
        PAGE.load(study, tmp_path / "results")


def test_the_index_lists_every_report(tmp_path):
    """The index links each study's page, with its question, verdict and figure, in alphabetical order."""
    for name in ("zeta", "alpha"):
        study = made.small(tmp_path, question=f"Does {name} rise?", name=name)
        made.write(tmp_path / "results", study.runs[0])
        write_page(PAGE, tmp_path / "reports", study, tmp_path / "results")

    outline = Outline(pages.write_index(tmp_path / "reports").read_text(encoding="utf-8"))

    links = [attrs["href"] for tag, attrs in outline.tags if tag == "a"]
    assert links == ["alpha/index.html", "zeta/index.html"] * 2  # in the table, and above each entry
    images = [attrs["src"] for tag, attrs in outline.tags if tag == "img"]
    assert all((tmp_path / "reports" / path).is_file() for path in links + images)
    assert "Does alpha rise?" in outline.text
    assert "1 of 6 runs finished" in outline.text


def test_the_index_gives_answers_costs_and_dates(tmp_path):
    """Every report has a row with its question, its answer, what it cost and when; the answer comes before the rest."""
    answer = '[answer]\nmet = "Yes, it does."\ncontradicted = "No."\n'
    study = made.load(tmp_path, made.TOML.replace("[twins]", f"{answer}[twins]", 1))
    written = write_page(PAGE, tmp_path / "reports", study, made.results(tmp_path, study))

    text = pages.write_index(tmp_path / "reports").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")

    rows = re.findall(r"<tr>(.*)</tr>", text)
    assert len(rows) == 2
    for part in (
        "depth",
        study.question,
        "<strong>Yes, it does.</strong>",
        "10.2 core-minutes on AMD EPYC",
        "2026-11-20 to 2026-11-22",
    ):
        assert part in rows[1]
    assert text.index("<p>Yes, it does.</p>") < text.index("<p>Family cifar: without shortcuts")
    page = markdown(written)
    assert page.index("**Yes, it does.**") < page.index("**Family cifar: without")
    assert "| training time | 10.2 core-minutes on AMD EPYC |" in page
    assert "| date | 2026-11-20 to 2026-11-22 |" in page


def test_a_page_without_answer_or_date_is_listed(tmp_path):
    """A study without claims, from records without a date, has a row of what is known."""
    study = made.small(tmp_path)
    for run in study.runs:
        first, *rest = made.records(run)
        made.write(tmp_path / "results", run, [{key: first[key] for key in first if key != "started"}, *rest])
    write_page(PAGE, tmp_path / "reports", study, tmp_path / "results")

    text = pages.write_index(tmp_path / "reports").read_text(encoding="utf-8")

    assert "<strong>" not in text
    assert "<br>" not in text
    assert "2026" not in text


def test_an_index_of_nothing(tmp_path):
    """Without reports the index says so."""
    assert "No report yet." in pages.write_index(tmp_path / "reports").read_text(encoding="utf-8")


def test_a_damaged_summary_is_one_line(tmp_path):
    """A summary that is none is an error that names the file."""
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth" / "summary.json").write_text("{}", encoding="utf-8")

    with pytest.raises(InputError, match=r"depth/summary.json: not a report's summary"):
        pages.write_index(tmp_path)

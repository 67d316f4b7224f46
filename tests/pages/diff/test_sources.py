"""Where the sides of a diff come from: names, folders of results, commits; and what is refused, in one line."""

import shutil
import tempfile
from pathlib import Path

import pytest

import made
from deeptwins.errors import InputError
from deeptwins.pages.diff import sources
from deeptwins.pages.diff.sources import DiffSource
from repositories import git

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The working directory: the study `small`, with results in `results/`."""
    monkeypatch.chdir(tmp_path)
    Path("ablations").mkdir()
    made.results(Path(), made.small(Path("ablations"), grid=made.ONE_DEPTH))
    return tmp_path


@pytest.fixture
def repository(root):
    """The same as a repository: its first commit has these results as reference; then they and the study change."""
    git(root, "init", "--quiet", "--initial-branch=main")
    Path("results").rename("made")
    Path("results").mkdir()
    Path("made").rename("results/reference")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=a")
    made.small(Path("ablations"), grid=made.ONE_DEPTH, question="Who wins now?")
    shutil.rmtree("results/reference/small")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=b")
    return root


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("depth", DiffSource("depth", None, ())),
        ("depth@results/reference", DiffSource("depth", "results/reference", ())),
        ("depth@HEAD~5", DiffSource("depth", "HEAD~5", ())),
        ("depth@main@{1}", DiffSource("depth", "main@{1}", ())),
        ("depth+recipe.shift=0", DiffSource("depth", None, ("recipe.shift=0",))),
        (
            "depth@a+b+recipe.decay=1e+1+recipe.milestones=[1,2]",
            DiffSource("depth", "a+b", ("recipe.decay=1e+1", "recipe.milestones=[1,2]")),
        ),
        ("a@b/own.toml@results", DiffSource("a@b/own.toml", "results", ())),
        ("a+b/own.toml", DiffSource("a+b/own.toml", None, ())),
    ],
)
def test_a_source_is_a_study_and_what_of_it(text, source):
    """STUDY, @WHERE and +recipe.KEY=VALUE are told apart, whatever signs stand in paths and values."""
    assert sources.parse(text) == source
    assert source.text == text


@pytest.mark.parametrize("text", ["", "@results", "depth@", "+recipe.shift=0", "depth+shift=0", "depth+net.width=9"])
def test_another_form_is_refused(text):
    """What is none of this is refused in a line that says what would be one."""
    with pytest.raises(InputError, match=r"write .*\+recipe\.KEY=VALUE"):
        sources.parse(text)


def test_a_folder_of_results_is_read_where_it_lies(root):
    """Named or not, the study is that of the working directory, and the records are the folder's."""
    shutil.copytree("results", "other/results")
    (root / "other" / "results" / "small").joinpath(next(Path("results/small").glob("*.jsonl")).name).unlink()

    here = sources.read("small", Path("results"))
    there = sources.read("small@other/results", Path("results"))
    home = sources.read(f"small@{root}/other/results", Path("results"))

    assert (here.name, here.where, here.facts.frames.missing) == ("small", "results", 0)
    assert (there.name, there.where, there.facts.frames.missing) == ("small@other/results", "other/results", 1)
    assert home.facts.frames.missing == 1


def test_a_setting_is_that_of_the_runs(root):
    """Records of another setting are read by its text, and not found without it."""
    study = made.study.load(Path("ablations/small.toml"), ["recipe.shift=1"])
    made.results(Path(), study)

    side = sources.read("small+recipe.shift=1", Path("results"))

    assert side.name == "small+recipe.shift=1"
    assert {*side.facts.frames.runs["shift"]} == {1}
    with pytest.raises(InputError, match=r"none of the study's runs has finished, but there are .* shift"):
        sources.read("small+recipe.shift=2", Path("results"))


@needs_git
def test_a_commit_has_its_own_study_and_records(repository):
    """Both are read from the commit, whose own name they get; the checkout and its index are not touched."""
    commit = git(repository, "rev-parse", "HEAD~1")
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*") if ".git" not in path.parts}
    temporary = {*Path(tempfile.gettempdir()).glob("deeptwins-diff-*")}

    side = sources.read("small@HEAD~1", Path("results"))

    assert side.name == f"small@{commit[:12]}"
    assert side.where == f"commit {commit[:12]}, results/reference"
    assert side.facts.study.question == "Who wins?"
    assert side.facts.frames.missing == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert git(repository, "status", "--porcelain") == ""
    assert {*Path(tempfile.gettempdir()).glob("deeptwins-diff-*")} <= temporary


@needs_git
def test_a_study_of_a_commit_extends_what_the_commit_has(repository):
    """What a study extends is read of the commit, too, not of the folder, where it may have changed or be gone."""
    git(repository, "checkout", "--quiet", "HEAD~1")
    Path("ablations/small.toml").rename("ablations/base.toml")
    Path("ablations/small.toml").write_text('extends = "base"\nscale = "Small."\n', encoding="utf-8")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message=c")
    shutil.rmtree("ablations")

    study = sources.read("small@HEAD", Path("results")).facts.study

    assert (study.question, study.scale) == ("Who wins?", "Small.")


@needs_git
def test_a_study_of_a_commit_may_be_given_by_its_path(repository, monkeypatch):
    """A .toml file is looked up in the commit, from the working directory on, which may lie below the root."""
    git(repository, "checkout", "--quiet", "HEAD~1")
    Path("deep").mkdir()
    Path("ablations").rename("deep/ablations")
    Path("results").rename("deep/results")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message=c")
    monkeypatch.chdir(repository / "deep")

    side = sources.read("ablations/small.toml@HEAD", Path("results"))

    assert side.facts.frames.missing == 0


@needs_git
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("small@nowhere", '"nowhere": neither a folder of results nor a commit here'),
        ("small@--output=x", '"--output=x": neither a folder of results nor a commit here'),
        ("smal@HEAD~1", "ablations/smal.toml: not in commit [0-9a-f]{12}; did you mean small?"),
        ("../small.toml@HEAD~1", r"\.\./small.toml: not in commit [0-9a-f]{12}"),
        ("small@HEAD", "results/reference/small: not in commit [0-9a-f]{12}"),
        ("small@HEAD~1+recipe.shif=1", "[0-9a-f]{12}:ablations/small.toml: recipe.shif: unknown key"),
    ],
)
def test_what_a_commit_lacks_is_refused(repository, text, line):
    """A line names what is not there, by the commit's name and never by where it was written aside."""
    with pytest.raises(InputError, match=line) as refused:
        sources.read(text, Path("results"))

    assert "deeptwins-diff-" not in str(refused.value)


@needs_git
def test_damage_in_a_commit_is_named_by_its_place(repository):
    """A damaged record is named by commit, file and line."""
    git(repository, "checkout", "--quiet", "HEAD~1")
    path = next(Path("results/reference/small").glob("*.jsonl"))
    path.write_text("{}\n", encoding="utf-8")
    git(repository, "commit", "--quiet", "--all", "--message=c")

    with pytest.raises(InputError, match=rf"^[0-9a-f]{{12}}:results/reference/small/{path.name}:1: "):
        sources.read("small@HEAD", Path("results"))


def test_outside_a_repository_there_are_no_commits(root, monkeypatch):
    """Where there is no repository, or no git, that is said."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(root.parent))
    with pytest.raises(InputError, match="nowhere: no such folder, and no git repository here"):
        sources.read("small@nowhere", Path("results"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="git is not installed"):
        sources.read("small@nowhere", Path("results"))


def test_a_folder_goes_before_a_commit_of_its_name(repository):
    """A name that is both is the folder."""
    git(repository, "branch", "kept")
    Path("kept").mkdir()

    with pytest.raises(InputError, match="kept/small: no such folder"):
        sources.read("small@kept", Path("results"))

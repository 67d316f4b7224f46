"""Two commits side by side: what is checked out, what is brought in, what is left behind."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from deeptwins.errors import InputError
from deeptwins.gate.arms import processes, worktrees
from repositories import begun, commit, git

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@pytest.fixture
def root(tmp_path):
    """A repository with one commit."""
    folder = begun(tmp_path / "repository")
    commit(folder, code="1", bench__a="old", bench__gone="old", readme="words")
    return folder


def test_both_arms_have_the_suite_of_one_commit(root):
    """Code is each commit's own; benchmarks, and what they need, are those of the commit that is asked for."""
    base = git(root, "rev-parse", "HEAD")
    (root / "bench" / "gone").unlink()
    settings = '[tool.deeptwins.gate]\nsuite = "bench"\nwith = ["data"]\n'
    head = commit(root, code="2", bench__a="new", data__x="new", pyproject_toml=settings)
    suite = worktrees.suite(root, head, None)

    with worktrees.worktrees(root, base, head) as arms:
        for arm in arms:
            worktrees.bring(root, arm, suite)
        for arm, code in zip(arms, "12", strict=True):
            assert (arm.root / "code").read_text() == code
            assert (arm.root / "bench" / "a").read_text() == (arm.root / "data" / "x").read_text() == "new"
            assert not (arm.root / "bench" / "gone").exists()
            assert (arm.root / "pyproject.toml").exists()
        assert worktrees.fingerprint(arms[0], suite) == worktrees.fingerprint(arms[1], suite)
        assert len(str(arms[0].root)) == len(str(arms[1].root))
        places = [arm.root for arm in arms]

    assert not any(place.exists() for place in places)
    assert len(git(root, "worktree", "list").splitlines()) == 1


def test_the_fingerprint_follows_the_definitions(root):
    """Another text of a benchmark, or another name, is another suite; other code is not."""
    settings = '[tool.deeptwins.gate]\nsuite = "bench"\n'
    shas = []
    for change in ({}, {"code": "2"}, {"bench__a": "new"}, {"bench__b": "new"}):
        head = commit(root, pyproject_toml=settings, **change)
        suite = worktrees.suite(root, head, None)
        with worktrees.worktrees(root, head, head) as arms:
            shas.append(worktrees.fingerprint(arms[1], suite))

    assert shas[0] == shas[1]
    assert len({*shas}) == 3


def test_nothing_is_left_behind_where_it_breaks_off(root):
    """An interrupt leaves no worktree."""
    head = git(root, "rev-parse", "HEAD")
    with pytest.raises(KeyboardInterrupt), worktrees.worktrees(root, head, head):
        raise KeyboardInterrupt

    assert len(git(root, "worktree", "list").splitlines()) == 1


KILLED = """
import os, sys
from pathlib import Path
from deeptwins.gate.arms import worktrees
from deeptwins.gate.arms import processes
with worktrees.worktrees(Path(sys.argv[1]), "HEAD", "HEAD"), processes.folder_for_files() as files:
    files.joinpath("file").touch()
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(9)
"""
"""A gate that waits until its input ends, and then is killed."""


@pytest.fixture
def killed(root, tmp_path, monkeypatch):
    """A gate at work in the repository."""
    for name in ("temporary", "memory"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(processes, "MEMORY", tmp_path / "memory")
    memory = str(tmp_path / "memory")
    code = f"from deeptwins.gate.arms import processes\nprocesses.MEMORY = processes.Path({memory!r})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": tempfile.tempdir}
    with subprocess.Popen(  # noqa: S603  our own
        [sys.executable, "-c", code + KILLED, root],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as gate:
        assert gate.stdout.readline() == b"ready\n"
        yield gate


def test_what_a_killed_gate_has_left_goes_when_the_next_one_begins(root, tmp_path, killed):
    """Its worktrees, what git knows of them, and its folders: but not while it runs, and nothing of the user's."""

    def found():
        listed = {Path(row.split()[0]) for row in git(root, "worktree", "list").splitlines()}
        folders = {path for name in ("temporary", "memory") for path in (tmp_path / name).iterdir()}
        return listed - {root}, folders

    mine, lost = tmp_path / "mine", tmp_path / "unplugged"
    for place in (mine, lost):
        git(root, "worktree", "add", "--quiet", "--detach", str(place))
    shutil.rmtree(lost)
    foreign = tmp_path / "temporary" / "deeptwins-gate-link"
    foreign.symlink_to(mine)
    listed, folders = found()
    (root / ".git" / "worktrees" / "base" / "locked").write_text("initializing")  # as git itself leaves it, when killed

    with worktrees.worktrees(root, "HEAD", "HEAD"), processes.folder_for_files():
        assert len(found()[0] - listed) == 2
    assert found() == (listed, folders)
    assert (len(listed), len(folders)) == (4, 3)
    killed.communicate()
    with worktrees.worktrees(root, "HEAD", "HEAD"), processes.folder_for_files():
        pass

    assert found() == ({mine, lost}, {foreign})


def test_a_snapshot_holds_what_is_not_committed(root):
    """Changes of tracked files, staged or not, are in it; checkout, index and stashes stay as they are."""
    head = git(root, "rev-parse", "HEAD")
    assert worktrees.snapshot(root) == (head, False)
    (root / "code").write_text("changed")
    before = git(root, "status", "--porcelain")

    made, dirty = worktrees.snapshot(root)

    assert dirty
    assert git(root, "show", f"{made}:code") == "changed"
    assert git(root, "status", "--porcelain") == before
    assert git(root, "stash", "list") == ""
    assert worktrees.merge_base(root, "main", made) == head


def test_a_snapshot_holds_files_that_are_announced_and_no_conflicts(root):
    """A file of `git add --intent-to-add` is in it; an unfinished merge is refused by the files in conflict."""
    (root / "new").write_text("content")
    git(root, "add", "--intent-to-add", "new")
    made, dirty = worktrees.snapshot(root)
    assert (git(root, "show", f"{made}:new"), dirty) == ("content", True)
    git(root, "rm", "--quiet", "--cached", "new")
    git(root, "checkout", "--quiet", "-b", "work")
    commit(root, code="2")
    git(root, "checkout", "--quiet", "main")
    commit(root, code="3")
    with pytest.raises(CalledProcessError):
        git(root, "merge", "work")

    with pytest.raises(InputError, match=r"^code: in conflict; finish or end the merge"):
        worktrees.snapshot(root)


def test_a_repository_of_somebody_else_is_called_that(root, monkeypatch):
    """What git refuses for its owner is not called no repository; the line says how to trust it."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")

    with pytest.raises(InputError, match=r"another user .*`git config --global --add safe.directory '.*repository'`"):
        worktrees.root_of(root / "bench")


def test_a_file_that_was_only_touched_is_no_change(root):
    """A new time of the same content, as a copy of the checkout has, leaves nothing to commit."""
    os.utime(root / "code", (0, 0))

    assert worktrees.snapshot(root) == (git(root, "rev-parse", "HEAD"), False)


@pytest.mark.parametrize(
    ("files", "prose"),
    [
        ({"readme": "other"}, False),
        ({"a.md": "other", "docs__b": "c", "results__x": "1", "LICENSE": "free"}, True),
        ({"a.md": "other", "code": "2"}, False),
        ({"constraints.txt": "torch==1"}, False),
        ({"bench__gate.txt": "a"}, False),
        ({}, False),
    ],
)
def test_only_prose(root, files, prose):
    """Words, pages and results never run; everything else might."""
    base = git(root, "rev-parse", "HEAD")
    head = commit(root, **files)

    assert worktrees.only_prose(root, base, head) == prose


def test_code_is_no_prose(root):
    """Wherever it lies, or where it lay; nor is what the suite reads."""
    base = commit(root, thing__a="1\n2\n3\n", bench__data__x="1")
    for files in ({"docs__conf.py": "1"}, {"reports__main.py": "1"}):
        head = commit(root, **files)
        assert not worktrees.only_prose(root, base, head)
        base = head
    git(root, "mv", "thing/a", "a.md")
    assert not worktrees.only_prose(root, base, commit(root))
    base, head = git(root, "rev-parse", "HEAD"), commit(root, **{"bench__data__x.md": "2"})
    assert worktrees.only_prose(root, base, head)
    assert not worktrees.only_prose(root, base, head, [Path("bench")])


def test_what_pytest_reads_is_the_suites_too(root):
    """On the way from the suite to the root; what the suite's commit has not, the other loses."""
    base = commit(root, **{"tests__bench__a": "1", "tests__conftest.py": "old", "pytest.ini": "", "conftest.py": "old"})
    git(root, "rm", "--quiet", "pytest.ini", "conftest.py")
    head = commit(root, **{"tests__conftest.py": "new"})
    suite = worktrees.suite(root, head, Path("tests/bench"))

    with worktrees.worktrees(root, base, head) as (arm, _):
        worktrees.bring(root, arm, suite)
        assert (arm.root / "tests" / "conftest.py").read_text() == "new"
        assert not (arm.root / "pytest.ini").exists()
        assert not (arm.root / "conftest.py").exists()


def test_only_the_worktrees_are_touched(root, monkeypatch):
    """In a hook, too, where git's variables name the user's checkout and index; hooks themselves do not run."""
    base, head = git(root, "rev-parse", "HEAD"), commit(root, bench__a="new")
    hook = root / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (root / "bench" / "a").write_text("mine")
    before = git(root, "status", "--porcelain")
    with monkeypatch.context() as patch:
        patch.setenv("GIT_DIR", str(root / ".git"))
        patch.setenv("GIT_INDEX_FILE", str(root / ".git" / "index"))
        assert worktrees.root_of(root / "bench") == root
        suite = worktrees.suite(root, base, Path("bench"))
        with worktrees.worktrees(root, base, head) as arms:
            for arm in arms:
                worktrees.bring(root, arm, suite)

    assert git(root, "status", "--porcelain") == before


@pytest.mark.parametrize("place", [".", "", "/", "../repository/bench"])
def test_a_suite_that_holds_all_code_is_refused(root, place):
    """Nothing outside of a worktree is replaced, nor all of it."""
    for settings in (f'suite = "{place}"', f'suite = "bench"\nwith = ["{place}"]'):
        head = commit(root, pyproject_toml=f"[tool.deeptwins.gate]\n{settings}\n")
        with pytest.raises(InputError, match="inside the repository"):
            worktrees.suite(root, head, None)


def test_names_of_files_are_bytes(root):
    """A name that is no UTF-8 is a name."""
    base = git(root, "rev-parse", "HEAD")
    (root / "bench" / os.fsdecode(b"caf\xe9")).write_text("a")
    head = commit(root)

    assert not worktrees.only_prose(root, base, head)
    with worktrees.worktrees(root, base, head) as arms:
        assert worktrees.fingerprint(arms[1], worktrees.suite(root, head, Path("bench")))


def test_the_list_names_what_is_expected(root):
    """A name a line; comments do not count. It lies in the suite's folder, or beside its file."""
    assert worktrees.expected(root, worktrees.suite(root, "HEAD", Path("bench"))) is None
    commit(root, **{"bench__gate.txt": "# all\nbench/a::b[#c]  # slow\n\nd\n"})

    for place in ("bench", "bench/a"):
        suite = worktrees.suite(root, git(root, "rev-parse", "HEAD"), Path(place))
        assert worktrees.expected(root, suite) == ("bench/a::b[#c]", "d")


def test_a_list_of_other_suites_is_none(root):
    """Of a file that the list of its folder does not name, nothing is expected."""
    commit(root, **{"bench__gate.txt": "bench/other.py::b\n"})

    assert worktrees.expected(root, worktrees.suite(root, git(root, "rev-parse", "HEAD"), Path("bench/a"))) is None


def test_code_of_an_arm_comes_first(tmp_path, monkeypatch):
    """Its `src`, if there is one, and its root, before what the variable had."""
    monkeypatch.setenv("PYTHONPATH", "before")
    arm = worktrees.Arm("base", "c", tmp_path)
    assert arm.environment() == {"PYTHONPATH": f"{tmp_path}:before"}
    (tmp_path / "src").mkdir()

    assert arm.environment() == {"PYTHONPATH": f"{tmp_path / 'src'}:{tmp_path}:before"}


@pytest.mark.parametrize(
    "settings",
    [
        '[tool.deeptwins.gate]\nsuit = "bench"\n',
        "[tool.deeptwins.gate]\nsuite = 3\n",
        "[tool.deeptwins.gate]\nwith = 3\n",
        "[tool.deeptwins]\ngate = 3\n",
        "[tool\n",
        "tool = 3\n",
    ],
)
def test_a_table_that_makes_no_sense_is_one_line(root, settings):
    """A misspelt key, a wrong type, or no TOML."""
    head = commit(root, pyproject_toml=settings)

    with pytest.raises(InputError, match=r"pyproject\.toml"):
        worktrees.suite(root, head, None)


def test_what_is_not_there_is_one_line(root, tmp_path, monkeypatch):
    """A commit, a suite, a repository, a common ancestor."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with pytest.raises(InputError, match="nowhere: no such commit"):
        worktrees.resolve(root, "nowhere")
    with pytest.raises(InputError, match="--output"):
        worktrees.resolve(root, "--output=x")
    with pytest.raises(InputError, match="no suite"):
        worktrees.suite(root, "HEAD", None)
    with pytest.raises(InputError, match="other: not in commit"):
        worktrees.suite(root, "HEAD", Path("other"))
    with pytest.raises(InputError, match="not in a git repository"):
        worktrees.root_of(tmp_path)
    with pytest.raises(InputError, match="nothing to compare with"):
        worktrees.first(root, ["one", "two"])
    git(root, "checkout", "--quiet", "--orphan", "alone")
    alone = commit(root, code="alone")
    with pytest.raises(InputError, match="main: has no commit in common"):
        worktrees.merge_base(root, "main", alone)

"""What git does not hold of a commit is brought beside it: submodules, ignored files; or refused: what is compiled."""

from pathlib import Path

import pytest

from deeptwins.errors import InputError
from deeptwins.gate.arms import surroundings, worktrees
from repositories import begun, commit, git


@pytest.fixture
def root(tmp_path):
    """A repository with a submodule, which has one itself."""
    for name, inside in (("inner", None), ("outer", "inner"), ("repository", "outer")):
        folder = begun(tmp_path / name)
        commit(folder, file=name, bench__a="1")
        if inside:
            local = "-c", "protocol.file.allow=always"
            git(folder, *local, "submodule", "--quiet", "add", str(tmp_path / inside), "sub")
            git(folder, *local, "submodule", "--quiet", "update", "--init", "--recursive")
            commit(folder)
    return tmp_path / "repository"


def test_each_arm_has_its_commits_submodules(root):
    """At the commit that each names, those inside of them too; the user's checkout and settings stay as they are."""
    base = git(root, "rev-parse", "HEAD")
    commit(root / "sub", file="newer")
    head = commit(root)
    before = git(root, "status", "--porcelain"), (root / ".git" / "config").read_text()

    with worktrees.worktrees(root, base, head) as arms:
        assert [(arm.root / "sub" / "file").read_text() for arm in arms] == ["outer", "newer"]
        assert [(arm.root / "sub" / "sub" / "file").read_text() for arm in arms] == ["inner", "inner"]
        places = [arm.root for arm in arms]

    assert not any(place.exists() for place in places)
    assert len(git(root, "worktree", "list").splitlines()) == 1
    assert before == (git(root, "status", "--porcelain"), (root / ".git" / "config").read_text())


def test_a_submodule_that_is_not_checked_out_stays_empty(root, tmp_path):
    """As it is for the user; one that is, and lacks the commit, is refused by its name."""
    git(tmp_path, "clone", "--quiet", str(root), "clone")
    with worktrees.worktrees(tmp_path / "clone", "HEAD", "HEAD") as (arm, _):
        assert not [*(arm.root / "sub").iterdir()]
    git(root, "update-index", "--cacheinfo", f"160000,{'1' * 40},sub")
    git(root, "commit", "--quiet", "--message=lost")

    with pytest.raises(InputError, match=r"^sub: this submodule lacks commit 111111111111; `git -C sub fetch`"):
        surroundings.bring_submodules(root, "HEAD", tmp_path / "arm")


def test_what_git_ignores_is_copied_where_the_suite_asks_for_it(root):
    """A generated file or a folder of them; a path that is neither committed nor ignored is refused."""
    settings = '[tool.deeptwins.gate]\nsuite = "bench"\nwith = ["made.py", "data"]\n'
    (root / ".gitignore").write_text("made.py\ndata\n")
    head = commit(root, pyproject_toml=settings)
    with pytest.raises(InputError, match=r"made\.py: not in commit"):
        worktrees.suite(root, head, None)
    (root / "made.py").write_text("generated")
    (root / "data").mkdir()
    (root / "data" / "x").write_text("x")
    suite = worktrees.suite(root, head, None)

    with worktrees.worktrees(root, head, head) as arms:
        for arm in arms:
            worktrees.bring(root, arm, suite)
            assert (arm.root / "made.py").read_text() == "generated"
            assert (arm.root / "data" / "x").read_text() == "x"


@pytest.mark.parametrize(
    ("changed", "named"),
    [("src__fast.pyx", True), ("src__fast.rs", True), ("src__fast.py", False), ("bench__made.c", False)],
)
def test_sources_that_nothing_compiles_are_refused(root, changed, named):
    """Both commits would run the same binary; the suite's own sources are the same in both."""
    base = git(root, "rev-parse", "HEAD")
    head = commit(root, **{changed: "1"})
    suite = worktrees.suite(root, head, Path("bench"))
    arms = tuple(worktrees.Arm(name, at, root) for name, at in (("base", base), ("head", head)))

    def enter():
        with worktrees.installed(root, arms, suite, print) as same:
            return same

    if named:
        with pytest.raises(InputError, match=r"^src/fast\.\w+: changed, and not compiled here.* --install 'pip"):
            enter()
    else:
        assert enter() == arms

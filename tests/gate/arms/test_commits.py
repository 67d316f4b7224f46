"""Which two commits are compared, and what is said where they are the same."""

import re
import shutil

import pytest

from deeptwins.errors import InputError
from deeptwins.gate.arms import commits
from repositories import begun, commit, git

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@pytest.fixture
def root(tmp_path):
    """A repository whose main has two commits."""
    folder = begun(tmp_path / "repository")
    commit(folder, file="1")
    commit(folder, file="2")
    return folder


@pytest.mark.parametrize(
    ("checkout", "given", "message"),
    [
        ("main", {}, "HEAD is main (COMMIT), so there is nothing to compare: name an older commit, such as --base"),
        ("--detach", {}, "HEAD is main ("),
        ("-bwork", {}, "HEAD is main ("),
        ("-bwork", {"base": "main"}, "HEAD is main ("),
        ("--detach HEAD~1", {}, "HEAD is already in main ("),
        ("--detach HEAD~1", {"base": "main"}, "HEAD is already in main ("),
        ("--detach HEAD~1", {}, "name an older commit with --base (there is none yet)"),
        ("main", {"head": "main~1"}, "main~1 is already in main ("),
        ("main", {"base": "HEAD", "head": "main"}, "main is HEAD ("),
    ],
)
def test_a_commit_is_not_compared_with_itself(root, checkout, given, message):
    """It is said which commit HEAD is, and what to give instead."""
    git(root, "checkout", "--quiet", *checkout.split())
    short = git(root, "rev-parse", "HEAD")[:12]

    with pytest.raises(commits.NothingToCompareError, match=re.escape(message.replace("COMMIT", short))):
        commits.choose(root, **given)


@pytest.mark.parametrize("given", [{"base": "HEAD"}, {"base": "main~1", "head": "main~1"}])
def test_the_same_name_twice_asks_for_it(root, given):
    """`--base HEAD` measures the noise: the commit against itself."""
    chosen = commits.choose(root, **given)

    assert chosen.kind == "aa"
    assert chosen.base == chosen.head == git(root, "rev-parse", given["base"])


def test_a_commit_may_be_compared_with_itself_on_request(root):
    """As the self-test and --write-list do, whatever main is."""
    assert commits.choose(root, itself=True).kind == "aa"


@pytest.mark.parametrize("base", [None, "main", "HEAD"])
def test_changes_that_are_not_committed_are_compared_with_head(root, base):
    """On main, too."""
    (root / "file").write_text("3", encoding="utf-8")

    chosen = commits.choose(root, base)

    assert (chosen.kind, chosen.dirty) == ("paired", True)
    assert chosen.base == git(root, "rev-parse", "HEAD") != chosen.head


def test_new_files_count_once_git_knows_them(root):
    """A file that git does not track is no change, and it is said how it would be."""
    (root / "new").touch()

    with pytest.raises(commits.NothingToCompareError, match="or add your new files to git"):
        commits.choose(root)
    git(root, "add", "new")

    assert commits.choose(root).dirty


def test_the_main_branch_is_the_remote_s(root, tmp_path):
    """Whatever it is called, in a clone it is the branch that the remote repository begins with."""
    git(root, "branch", "--move", "main", "release")
    git(tmp_path, "clone", "--quiet", str(root), "clone")
    clone = tmp_path / "clone"

    assert commits.main_branch(clone) == "origin/release"
    with pytest.raises(commits.NothingToCompareError, match="HEAD is origin/release"):
        commits.choose(clone)
    head = commit(clone, file="3")
    assert commits.choose(clone).base == git(clone, "rev-parse", "origin/release") != head


@pytest.mark.parametrize("name", ["master", "trunk"])
def test_without_a_remote_it_has_a_usual_name(root, name):
    """Also where it is not called main."""
    git(root, "branch", "--move", "main", name)

    assert commits.main_branch(root) == name


def test_a_main_that_is_behind_the_remote_s_is_already_in_it(root, tmp_path):
    """What origin has got since is no base of an older commit."""
    git(tmp_path, "clone", "--quiet", str(root), "clone")
    clone = tmp_path / "clone"
    git(clone, "reset", "--quiet", "--hard", "HEAD~1")

    with pytest.raises(commits.NothingToCompareError, match="HEAD is already in origin/main"):
        commits.choose(clone)


def test_a_shallow_clone_is_told_how_to_get_older_commits(root, tmp_path):
    """Where the commit before is not there, and where the point at which HEAD left main is not."""
    git(root, "checkout", "--quiet", "-b", "work")
    commit(root, file="3")
    git(root, "checkout", "--quiet", "main")
    git(tmp_path, "clone", "--quiet", "--depth=1", "--no-single-branch", f"file://{root}", "clone")
    clone = tmp_path / "clone"

    with pytest.raises(commits.NothingToCompareError, match=r"older commit with --base \(.*git fetch --unshallow"):
        commits.choose(clone)
    with pytest.raises(
        InputError, match=r"origin/main: it cannot be told where [0-9a-f]{12} left it; .*fetch-depth: 0"
    ):
        commits.choose(clone, head="origin/work")


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://code.example/o/r.git", "https://code.example/o/r"),
        ("https://user:secret@code.example/o/r", "https://code.example/o/r"),
        ("git@code.example:group/o/r.git", "https://code.example/group/o/r"),
        ("ssh://git@code.example/o/r", "https://code.example/o/r"),
        ("../r", None),
        ("javascript:alert(1)//code.example/o", None),
        (None, None),
    ],
)
def test_where_a_commit_is_shown_is_told_without_secrets(root, remote, address):
    """The address of the remote repository's pages, where it has such; and the author's date of the commit."""
    if remote:
        git(root, "remote", "add", "origin", remote)
    facts = commits.facts(root, "HEAD")

    assert facts.get("repository") == address
    assert facts["authored"] == git(root, "show", "--no-patch", "--format=%aI")


def test_without_a_main_branch_a_base_must_be_named(root):
    """The names that were looked for are told."""
    git(root, "branch", "--move", "main", "work")

    with pytest.raises(InputError, match=r"none of origin/main, main, .*; name a commit with --base"):
        commits.choose(root)

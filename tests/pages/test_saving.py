"""Pages are saved as a whole or not at all, and nothing of others goes."""

import errno
import fcntl
import json
import os
import subprocess
import sys

import pytest

import killed
from deeptwins.pages import saving


@pytest.fixture(params=["exchange", "move"])
def how(request, monkeypatch):
    """The way in which a page takes the place of the one before: at once, or file by file."""
    if request.param == "move":
        monkeypatch.setattr(saving, "_rename_exchange", killed.refuse)
    return request.param


@pytest.fixture
def folder(tmp_path):
    """The folder of a page, in which others have put files."""
    killed.save(tmp_path / "reports" / "page", killed.OLD)
    for name, text in killed.USERS.items():
        path = tmp_path / "reports" / "page" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "reports" / "page"


@pytest.mark.parametrize("way", ["exchange", "move"])
def test_a_kill_at_any_step_leaves_the_old_page_or_the_new_one(tmp_path, way):
    """Right after it where folders can be exchanged, elsewhere once a page is saved again; leftovers are gone then."""
    command = [sys.executable, killed.__file__, tmp_path / "reports", way]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    lines = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()  # noqa: S603
    old, new = ({**page, **killed.USERS} for page in (killed.OLD, killed.NEW))

    states = [json.loads(line) for line in lines]
    assert len(states) > 20
    for right_after, after_the_next, left in states:
        if way == "exchange":
            assert right_after in (old, new)
        assert after_the_next in (old, new)
        assert left == []
    assert states[0][1] == old
    assert states[-1][0] == new


def test_files_that_another_s_index_names_stay(folder, how):
    """An index that deeptwins has not written is no list of what is the page's own."""
    (folder / "index.html").write_text('<a href="own.svg">mine</a> <a href="data/own.csv">mine</a>')

    killed.save(folder, killed.NEW)

    assert (folder / "own.svg").read_text() == (folder / "data" / "own.csv").read_text() == "mine"


def test_what_others_put_there_stays(folder, how):
    """Files of others stay what they were, also those named as a page's may be; what was the page's alone goes."""
    (folder / "pointer").symlink_to("own.svg")
    (folder / "empty").mkdir()
    before = (folder / "own.svg").stat().st_ino

    killed.save(folder, killed.NEW)

    assert killed.contents(folder) == killed.NEW | killed.USERS | {"pointer": "mine"}
    assert (folder / "pointer").is_symlink()
    assert (folder / "empty").is_dir()
    assert not (folder / "figures").exists()  # nor is a folder left of what was the page's alone
    assert ((folder / "own.svg").stat().st_ino, (folder / "own.svg").stat().st_nlink) == (before, 1)
    assert [path.name for path in folder.parent.iterdir()] == ["page"]


@pytest.mark.usefixtures("how")
def test_without_its_index_a_page_has_nothing_of_its_own(folder):
    """Where it cannot be told which files the page wrote, none goes."""
    (folder / "index.html").unlink()

    killed.save(folder, killed.NEW)

    assert killed.contents(folder) == killed.OLD | killed.USERS | killed.NEW


def test_a_folder_keeps_its_mode_and_a_link_its_place(folder, tmp_path, how):
    """A page's folder may be shared with others, or lie elsewhere; that stays so."""
    folder.chmod(0o2775)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    killed.save(folder, killed.NEW)
    assert folder.is_symlink()

    folder.unlink()
    (tmp_path / "elsewhere").rename(folder)
    killed.save(folder, killed.OLD)

    assert folder.stat().st_mode & 0o7777 == 0o2775
    assert killed.contents(folder) == killed.OLD | killed.USERS


@pytest.mark.usefixtures("how")
def test_what_is_being_written_is_left_alone(folder):
    """While another process saves a page, only leftovers of long ago go; once it has ended, all do."""
    places = folder.parent / ".new-0000000a", folder / ".new-0000000b", folder.parent / ".new-0000000c"
    for place in places:
        place.mkdir()
    os.utime(places[2], (0, 0))
    descriptor = os.open(folder.parent, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)

    killed.save(folder.parent / "other", killed.NEW)
    assert [place.exists() for place in places] == [True, True, False]
    os.close(descriptor)
    killed.save(folder.parent / "other", killed.NEW)

    assert not any(place.exists() for place in places)


def test_without_locks_pages_are_saved(folder, monkeypatch):
    """On a file system without locks, too; what may be another's is left until it is old."""

    def refused(*_arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    (folder.parent / ".new-0000000a").mkdir()
    killed.save(folder, killed.NEW)

    assert killed.contents(folder) == killed.NEW | killed.USERS
    assert (folder.parent / ".new-0000000a").exists()

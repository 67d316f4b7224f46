"""Following: what has changed in a study's records since the last look, until all runs are over."""

import json

import pytest

import made
from deeptwins.findings import following
from deeptwins.findings.following import Watched


@pytest.fixture
def study(tmp_path):
    """A study of two runs."""
    return made.small(tmp_path, grid='[[vary]]\nfamily = "cifar"\ndepth = 8\nseed = [0, 1]\n')


def world(monkeypatch, *events):
    """Let something happen between two looks, in the place of waiting; returns how long it was waited each time."""
    to_come, waited = [*events], []

    def sleep(seconds):
        waited.append(seconds)
        to_come.pop(0)()

    monkeypatch.setattr(following.time, "sleep", sleep)
    return waited


def followed(study, results):
    """Follow a study to its end; returns the names of the runs that were taken each time, and the warnings."""
    taken, warned = [], []
    watched = Watched(study, results)
    tasks = [(watched, lambda _study, paths: taken.append([path.stem for path in paths]))]
    following.follow(tasks, warned.append, edited=lambda study: taken.append(len(study.runs)))
    return taken, [str(warning) for warning in warned]


def test_a_study_is_followed_until_all_its_runs_are_over(study, tmp_path, monkeypatch):
    """Each change is taken once: the folder comes, a line, a torn one, a run that starts over, the ends."""
    one, other = study.runs
    results = tmp_path / "results"
    torn = json.dumps(made.records(other)[4])[:20]

    def tear():
        with (results / "small" / f"{other.id}.jsonl").open("a") as file:
            file.write(torn)

    waited = world(
        monkeypatch,
        lambda: made.write(results, one, made.records(one)),
        lambda: made.write(results, other, made.records(other, status=None)[:4]),
        lambda: None,
        tear,
        (results / "small" / f"{one.id}.jsonl").unlink,
        lambda: made.write(results, one, made.records(one)[:1]),
        lambda: made.write(results, other, made.records(other, status="failed")),
        lambda: made.write(results, one, made.records(one)),
    )

    assert followed(study, results) == ([[one.id], [other.id], [other.id], [], [one.id], [other.id], [one.id]], [])
    assert min(waited) >= following.PAUSE_SECONDS


def test_a_study_that_is_done_is_taken_once(study, tmp_path, monkeypatch):
    """Where all runs are over, nothing is waited for."""
    waited = world(monkeypatch)

    assert followed(study, made.results(tmp_path, study)) == ([sorted(run.id for run in study.runs)], [])
    assert not waited


def test_what_is_removed_is_noticed_unless_nothing_is_left(study, tmp_path, monkeypatch):
    """A record that is removed is a change without files; while all are gone, what was made of them stays."""
    results = made.results(tmp_path, study)
    one, other = (results / "small" / f"{run.id}.jsonl" for run in study.runs)
    one.unlink()
    made.write(results, made.small(tmp_path / "other", grid=made.ONE_DEPTH).runs[0])
    third = next(path for path in (results / "small").glob("*.jsonl") if path != other)
    world(
        monkeypatch,
        third.unlink,
        other.unlink,
        lambda: made.write(results, study.runs[0]),
        lambda: made.write(results, study.runs[1]),
    )

    assert followed(study, results)[0] == [sorted([other.stem, third.stem]), [], [one.stem], [other.stem]]


def test_a_damaged_file_is_told_once_and_read_again_when_it_changes(study, tmp_path, monkeypatch):
    """While a file is damaged nothing is taken; what has changed meanwhile is taken afterwards."""
    one, other = study.runs
    results = tmp_path / "results"
    path = made.write(results, one)
    whole = path.read_bytes()
    path.write_bytes(b"{}\n" + whole)
    world(
        monkeypatch,
        lambda: None,
        lambda: made.write(results, other),
        lambda: path.write_bytes(whole),
    )
    taken, warned = followed(study, results)

    assert taken == [sorted([one.id, other.id])]
    assert len(warned) == 1
    assert f"{one.id}.jsonl:1: " in warned[0]


def test_a_look_costs_the_more_time_the_more_follows(study, tmp_path, monkeypatch):
    """After a look whose consequences took long, the next one waits several times as long."""
    results = made.results(tmp_path, study)
    (results / "small" / f"{study.runs[0].id}.jsonl").unlink()
    clock = iter([0.0, 7.0, 7.0])
    monkeypatch.setattr(following.time, "monotonic", lambda: next(clock))
    waited = world(monkeypatch, lambda: made.write(results, study.runs[0]))
    followed(study, results)

    assert waited == [7 * following.SHARE]


def test_only_runs_that_are_asked_for_and_whole_are_over(study, tmp_path):
    """A file that is damaged, or of no run that the study asks for, is not one of the runs that are over."""
    results = made.results(tmp_path, study)
    watched = Watched(study, results)
    made.write(results, made.small(tmp_path / "other", grid=made.ONE_DEPTH).runs[0])
    assert len(watched.look()) == 3
    assert (watched.finished, watched.asked, watched.done, watched.damaged) == (2, 2, True, {})

    path = results / "small" / f"{study.runs[0].id}.jsonl"
    path.write_text("?\n")
    assert watched.look() == [*watched.damaged] == [path]
    assert (watched.finished, watched.done) == (1, False)
    path.unlink()
    assert (watched.look(), watched.damaged) == ([], {})


def test_a_study_that_is_edited_is_followed_as_its_file_is_now(study, tmp_path, monkeypatch):
    """All records are taken again for the edited study, whose runs are waited for; an unreadable file is told once."""
    one, other = study.runs
    results, text = tmp_path / "results", study.path.read_text()
    made.write(results, one)
    world(
        monkeypatch,
        lambda: study.path.write_text("question"),
        lambda: None,
        lambda: study.path.write_text(text.replace("[0, 1]", "[0, 1, 2]")),
        lambda: made.write(results, other),
        lambda: study.path.write_text(text.replace("question = ", "question = 'Now?' # ")),
    )
    taken, warned = followed(study, results)

    assert taken == [[one.id], 3, [one.id], [other.id], 2, sorted([one.id, other.id])]
    assert len(warned) == 1
    assert warned[0].startswith(f"{study.path}: ")
    assert warned[0].endswith("; until it can be read, the study stays what it was")

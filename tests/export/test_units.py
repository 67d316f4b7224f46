"""Units: what a tracker gets of a run's twin, and what it lacks."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import made
from deeptwins.export import trackers, units
from deeptwins.export.trackers import Tracker
from deeptwins.export.units import Point, Unit

STATES = st.tuples(st.integers(0, 2), st.integers(0, 5), st.booleans())
"""Of a run: how often it was begun anew, how many points it has, whether it is over."""


class Remembers(Tracker):
    """A tracker that keeps all that it is given."""

    def __init__(self):
        self.runs = {}

    def left(self, unit):
        """The mark."""
        return self.runs[unit.key]["mark"] if unit.key in self.runs else None

    def begin(self, unit):
        """Forget what there was."""
        self.runs[unit.key] = {"settings": unit.settings, "points": [], "mark": "", "header": unit.header}

    def add(self, unit, points):
        """Keep points."""
        run = self.runs[unit.key]
        run["points"] += points
        run["mark"] = units.mark(unit)

    def close(self):
        """Do nothing."""


def unit(begun=0, points=3, *, over=False):
    """Make a unit; its points are the same however many it has."""
    measured = [Point(10 * i, {"loss": 1 / i}) for i in range(1, points + 1)]
    end = [Point(10 * points, {"seconds": 1.5})] if over else []
    about = {"study": "s", "run": "r-0a", "twin": "t", "seed": 0, "commit": "", "started": 0.0, "seconds": None}
    return Unit(
        **about,
        settings={"n": begun},
        status="done" if over else "unfinished",
        header=f"{begun}a",
        points=measured + end,
    )


def hand(tracker, *its):
    """Hand units to a tracker, as an export does; returns what became of the last."""
    tracked = trackers.Tracked("client", lambda: tracker)
    return [tracked._hand(one) for one in its][-1]


@settings(max_examples=50)
@given(states=st.lists(STATES, min_size=1, max_size=8))
def test_a_tracker_has_what_the_records_say(states):
    """Whatever a run goes through, a tracker ends with its points, each once, or is ahead of a run that goes on."""
    tracker = Remembers()
    history = [unit(begun, points, over=over) for begun, points, over in states]
    hand(tracker, *history)
    had, last = tracker.runs["s/r-0a/t"], history[-1]

    assert had["settings"] == last.settings
    assert [*had["points"]] == [*last.points] or (
        not last.over and len(had["points"]) > len(last.points) and had["header"] == last.header
    )
    assert hand(tracker, last) == "the same"


def test_what_becomes_of_a_unit_is_told():
    """A unit is new, the same, changed where points came, and replaced where it was trained anew or is of no use."""
    tracker = Remembers()

    assert hand(tracker, unit()) == "new"
    assert hand(tracker, unit()) == "the same"
    assert hand(tracker, unit(points=2)) == "the same"  # gone back to its last checkpoint
    assert hand(tracker, unit(points=4, over=True)) == "changed"
    assert hand(tracker, unit(points=3, over=True)) == "replaced"
    assert hand(tracker, unit(begun=1, points=3, over=True)) == "replaced"
    tracker.runs["s/r-0a/t"]["mark"] = "1a 9999999999999 x"
    assert hand(tracker, unit(begun=1, points=3, over=True)) == "replaced"


def test_a_unit_has_settings_points_and_final_errors(tmp_path):
    """A unit says the net, the recipe, seed, commit, what was measured by iteration, and at last its final errors."""
    study = made.small(tmp_path)
    results = made.looked_into(tmp_path, study)
    run = study.runs[1]
    plain, residual = units.read(study, results / "small" / f"{run.id}.jsonl")
    lines = [json.loads(line) for line in (results / "small" / f"{run.id}.jsonl").read_text().splitlines()]
    evaluated = [line for line in lines if line["kind"] == "epoch" and line["twin"] == "residual"]

    assert (plain.key, plain.name) == (f"small/{run.id}/plain", f"{run.id} plain")
    assert {"shortcut": "zero-pad", "depth": 20, "learning_rate": 0.05, "seed": 1, "commit": "abc1234"}.items() <= (
        residual.settings.items()
    )
    assert residual.settings["milestones"] == "[]"
    assert "image_size" not in residual.settings  # which is not set
    assert [point.iteration for point in residual.points[:-1]] == [line["iteration"] for line in evaluated]
    assert [point.metrics["test_loss"] for point in residual.points[:-1]] == [line["test_loss"] for line in evaluated]
    assert residual.points[-1] == Point(240, {
        "seconds": lines[-1]["seconds"],
        **{f"final/{key}": evaluated[-1][key] for key in ("train_error_pct", "running_error_pct", "test_error_pct")},
        "precise/test_error_pct": next(
            line["test_error_pct"] for line in lines if line["kind"] == "precise" and line["twin"] == "residual"
        ),
    })  # fmt: skip
    assert (residual.status, residual.over, residual.started > 1e9, plain.id == residual.id) == (
        "done",
        True,
        True,
        False,
    )


def test_a_net_that_diverged_has_errors_and_no_loss(tmp_path):
    """What is null in a record is no number of a point; a failed run has no final errors, an unfinished one no end."""
    study = made.small(tmp_path, grid=made.ONE_DEPTH)
    told = []
    for run, lines in zip(
        study.runs,
        [
            made.records(study.runs[0], diverged=["plain"]),
            made.records(study.runs[1], status="failed"),
            made.records(study.runs[2], status=None),
        ],
        strict=True,
    ):
        told.append(units.read(study, made.write(tmp_path / "results", run, lines))[0])
    diverged, failed, unfinished = told

    assert diverged.points[-1].metrics["final/train_error_pct"] == 100
    assert "train_loss" not in diverged.points[-2].metrics
    assert {*failed.points[-1].metrics} == {"seconds"}
    assert "seconds" not in unfinished.points[-1].metrics
    assert [unit.status for unit in told] == ["diverged", "failed", "unfinished"]


def test_runs_of_another_setting_are_no_units(tmp_path):
    """A run whose setting is none of the study's is left out, and so is a file without a whole line."""
    study, other = made.small(tmp_path), made.small(tmp_path, grid=made.ONE_DEPTH.replace("20", "8"))
    path = made.write(tmp_path / "results", other.runs[0])

    assert units.read(study, path) is None
    path.write_bytes(path.read_bytes().split(b"\n")[0])
    assert units.read(study, path) is None


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("cifar-20-seed0-0a", "cifar-20-seed0-0a"),
        ("my.nets:make", "my.nets-make"),
        ("../x", "-.-x"),
        (".x", "-x"),
        ("a b\\c\nd\u00e9", "a-b-c-d-"),
    ],
)
def test_a_name_in_files_is_safe(name, safe):
    """A name becomes one that stays in its folder, and that every file system takes."""
    assert units.safe(name) == safe

"""The torture: what its cases are, and that it sees every way in which one may go wrong."""

import os
import signal
import time
from collections import Counter
from random import Random

import pytest

import children
import files
from deeptwins.errors import InputError
from mutate import damaged, edited
from tally import DEFECTS, Tally, table

pytestmark = pytest.mark.slow


def refuse():
    """Say what is wrong, in one line."""
    raise InputError("no good")


def fail():
    """Raise what nobody expects."""
    raise KeyError("depth")


def write():
    """Do what a library does that warns."""
    os.write(2, b"a warning\n")
    return "same", ""


def sleep():
    """Never return."""
    time.sleep(3600)


ENDINGS = {
    "named": refuse,
    "same": lambda: ("same", ""),
    "silent": lambda: ("silent", "other numbers"),
    "traceback": fail,
    "noise": write,
    "crash": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "hang": sleep,
}


def test_every_way_to_end_is_seen(monkeypatch):
    """A case that crashes, hangs, warns or raises is counted as that, and the cases after it are tried."""
    monkeypatch.setattr(children, "HANG_S", 2.0)
    tally, restored = Tally("made up"), []
    cases = [*ENDINGS.values(), ENDINGS["same"]]

    children.try_all(tally, lambda n: cases[n](), lambda: restored.append(1), range(len(cases)), float("inf"))

    assert tally.ended == Counter([*ENDINGS, "same"])
    assert [line.split(": ")[0] for line in tally.defects] == [f"made up:{n}" for n in range(2, 7)]
    assert len(restored) == 3  # after the crash, after the hang, at the end
    assert table([tally])[-1].split("|")[1:3] == [" made up ", " 8     "]


def test_memory_is_bounded():
    """A case that asks for more memory than a process may hold gets none."""
    tally = Tally("made up")

    children.try_all(tally, lambda _: ("same", str(bytes(16 << 30)[:1])), lambda: None, range(1), float("inf"))

    assert "MemoryError" in tally.defects[0]


def test_nothing_is_tried_after_the_deadline():
    """A part ends in time."""
    tally = Tally("made up")

    children.try_all(tally, lambda _: ("same", ""), lambda: None, range(1), time.monotonic())

    assert not tally.ended


@pytest.fixture(scope="module")
def prepared_of(tmp_path_factory):
    """A function of a part's name that gives its cases, which are prepared once."""
    parts = {}

    def prepare(part):
        if part not in parts:
            parts[part] = files.PARTS[part](tmp_path_factory.mktemp("part"), 0)
        return parts[part]

    return prepare


@pytest.mark.parametrize("part", files.PARTS)
def test_the_first_cases_of_every_part_end_well(prepared_of, part):
    """The cases of a part do what they did with the same seed, and nothing breaks."""
    prepared = prepared_of(part)
    prepared.restore()
    before = {path: path.read_bytes() for path in prepared.sound}

    ended = [children._outcome(prepared.case, number) for number in range(12)]

    assert not [ending for ending in ended if ending[0] in DEFECTS]
    assert {ending for ending, _ in ended} & {"named", "other"}
    assert {path: path.read_bytes() for path in prepared.sound} == before
    assert children._outcome(prepared.case, 0) == ended[0]


def test_records_that_are_not_checked_are_seen(prepared_of, monkeypatch):
    """Without the hashes of lines, and without the course of a run, other numbers get through in silence."""
    prepared = prepared_of("records")
    monkeypatch.setattr("deeptwins.records.runs._digest", lambda *_: "0" * 16)
    for path, content in prepared.sound.items():
        lines = [line[: line.rindex(b',"hash"')] + b',"hash":"' + b"0" * 16 + b'"}' for line in content.splitlines()]
        monkeypatch.setitem(prepared.sound, path, b"\n".join(lines) + b"\n")
    prepared.restore()

    assert any(children._outcome(prepared.case, number)[0] == "silent" for number in range(100))


@pytest.mark.parametrize("mutation", [damaged, edited])
def test_a_mutation_is_one_of_its_seed(mutation):
    """The same seed gives the same damage, another one another."""
    content = b'{"kind":"end","status":"done"}\n{"depth":20}\n'
    seen = {mutation(Random(seed), content) for seed in range(40)}  # noqa: S311  damage, no secret

    assert seen == {mutation(Random(seed), content) for seed in range(40)}  # noqa: S311
    assert len(seen) > 20

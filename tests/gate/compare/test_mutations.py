"""What the gate must find when it tests itself: changes for the worse that still apply to the source there is."""

import ast

import pytest

from deeptwins.errors import InputError
from deeptwins.gate.compare.mutations import MUTATIONS, apply
from deeptwins.gate.judge.metrics import METRICS
from places import ROOT


@pytest.fixture(params=MUTATIONS)
def mutation(request):
    """Each of them."""
    return MUTATIONS[request.param]


@pytest.fixture
def checkout(mutation, tmp_path):
    """A checkout that has the file alone which is changed."""
    path = tmp_path / mutation.file
    path.parent.mkdir(parents=True)
    path.write_bytes((ROOT / mutation.file).read_bytes())
    return tmp_path


def test_it_applies_to_the_source_there_is(mutation, checkout):
    """It changes one place of its file, which still is Python, by more than its looks."""
    before = (checkout / mutation.file).read_text(encoding="utf-8")

    apply(mutation, checkout)

    after = (checkout / mutation.file).read_text(encoding="utf-8")
    assert after == before.replace(mutation.old, mutation.new)
    assert ast.dump(ast.parse(after)) != ast.dump(ast.parse(before))


def test_it_applies_to_one_place_alone(mutation, checkout):
    """Where its text stands twice, there is no telling what it would do; the file is left as it is."""
    path = checkout / mutation.file
    twice = path.read_text(encoding="utf-8") * 2
    path.write_text(twice, encoding="utf-8")

    with pytest.raises(InputError, match=f"{mutation.name!r} no longer applies: its text is there 2 times, not 1"):
        apply(mutation, checkout)

    assert path.read_text(encoding="utf-8") == twice


def test_a_file_that_is_gone_is_named(mutation, tmp_path):
    """Source that was moved is said to be so."""
    with pytest.raises(InputError, match=f"^{mutation.file}: the change"):
        apply(mutation, tmp_path)


def test_the_metric_that_shows_it_is_judged(mutation):
    """It is found by a metric that can fail a commit."""
    assert METRICS[mutation.metric].better is not None


def test_the_kinds_of_harm_that_are_promised():
    """A kernel's memory access, its launches, the compiler's graphs, what a command loads."""
    assert {*MUTATIONS} == {"a lost vector load", "one extra kernel", "a graph break", "an import of torch"}

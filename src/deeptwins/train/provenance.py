"""The parts of one's own that a run is made of, and the code that they come from."""

from __future__ import annotations

from deeptwins import data
from deeptwins.study.specs import Net, RunSpec
from deeptwins.system.importing import is_own, ships
from deeptwins.system.origins import origin


def own_parts(net: Net) -> list[str]:
    """Name the parts of one's own that a net has, `package.module:attribute` each."""
    return [value for value in vars(net).values() if is_own(value)]


def named(run: RunSpec) -> list[str]:
    """Name all parts of one's own that a run is made of, but for those that ship, whose commit is the record's.

    Imports nothing.
    """
    names = [name for net in run.twins.values() for name in own_parts(net)]
    names += [name for name in (run.recipe.optimizer, run.recipe.schedule) if is_own(name)]
    names += [run.recipe.dataset] if data.is_own(run.recipe.dataset) else []
    return sorted(name for name in {*names} if not ships(name))


def parts(run: RunSpec) -> dict[str, dict[str, str | None]]:
    """Return which code each part of one's own is, by the part's name.

    Raises:
        InputError: one cannot be imported.
    """
    return {name: origin(name) for name in named(run)}

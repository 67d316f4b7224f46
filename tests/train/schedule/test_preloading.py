"""What workers are forked with."""

import importlib
import sys

import pytest

from deeptwins.train.schedule import preloading


@pytest.mark.parametrize("error", [ImportError, SystemExit, BaseException])
def test_preloading_is_quiet(monkeypatch, capsys, error):
    """Whatever an import raises, the process that workers are forked from goes on, and is quiet."""

    class Refusing:
        """A finder that raises instead of finding the module that workers need."""

        asked = 0

        def find_spec(self, name, *_others):
            if name == "deeptwins.train.schedule.workers":
                self.asked += 1
                raise error

    finder = Refusing()
    monkeypatch.delitem(sys.modules, "deeptwins.train.schedule.workers", raising=False)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])

    importlib.reload(preloading)

    assert finder.asked == 1
    assert capsys.readouterr() == ("", "")

"""One arm of a comparison: a pytest process whose benchmarks are timed segment by segment, as the gate tells it.

This script needs nothing but pytest and pytest-benchmark: both arms run this very file, and `segments.py`,
whatever version of a package they measure. It is started as

    python -P worker.py SOCKET PYTEST-ARGUMENT ...

with the file descriptor of a socket. Messages are JSON objects, one a line:

    {"core": 1, ...}                      to the worker, first of all: the settings of `GatePlugin`
    {"collected": [names], ...}           from the worker, at the start
    {"ready": name, "seconds": 0.1, ...}  from the worker, for each benchmark; then it waits for requests
    {"run": calls}                        to the worker: run a segment of so many calls; it replies with their time
    {"add": seconds}                      to the worker: make every call longer by so much work
    {"end": true}                         to the worker: let the test go on to its end
    {"outcome": "passed", "test": name}   from the worker, after the test
"""

from __future__ import annotations

import gc
import inspect
import json
import os
import socket
import sys
import sysconfig
import time
from collections.abc import Callable, Collection, Coroutine, Generator, Iterator, Mapping
from contextlib import closing
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

if TYPE_CHECKING:
    from deeptwins.gate.arms.segments import Segments
else:  # by its path: the package that an arm imports is the one that is measured
    _loader = SourceFileLoader("deeptwins_gate_segments", str(Path(__file__).with_name("segments.py")))
    _module = module_from_spec(spec_from_loader(_loader.name, _loader))
    _loader.exec_module(_module)
    Segments = _module.Segments

MARKS = ("benchmark", "codspeed_benchmark")  # pytest-codspeed's: without a fixture, the whole test is the benchmark
OTHERS = 8  # names of benchmarks that are told where none has the words asked for
MODULES_NAMED = 3  # of those that were loaded from the wrong place
Conversation = Generator[int, dict[str, float], None]


class Channel:
    """JSON objects to and from the gate."""

    def __init__(self, number: int) -> None:
        self._socket = socket.socket(fileno=number)
        self._socket.set_inheritable(False)  # what a benchmark starts has no part in it
        self._lines = self._socket.makefile("rb")

    def ask(self) -> dict[str, Any]:
        """Wait for a request; where the gate is gone, end."""
        try:
            if row := self._lines.readline():
                request: dict[str, Any] = json.loads(row)
                return request
        except ConnectionError:
            pass
        os._exit(1)

    def tell(self, **message: Any) -> None:  # noqa: ANN401
        """Send a message."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")


class GatePlugin:
    """The pytest plugin that times benchmarks as the gate asks."""

    def __init__(self, channel: Channel, settings: Mapping[str, Any]) -> None:
        """Prepare.

        Args:
            channel: to the gate.
            settings: `names`, the benchmarks to run, in their order, or None for all; `only`, words of which a name
                must hold one; `only_collect`, whether none is run; `once`, benchmarks that are not warmed up, as they
                can be run but once; `note_files`, whether to tell which files each runs; `core`, which is measured
                on, None for any; `elsewhere`, a folder that no module may come from, and `copies`, files installed from
                there; `options` of pytest with their values, `patterns` that are added to its own, and `without`,
                plugins that are taken out.
        """
        self._channel, self._settings = channel, settings
        self._root = os.path.realpath(".")
        self._broken: dict[str, str] = {}
        self._waiting: Coroutine[Any, Any, Any] | None = None
        """A measurement that is not awaited yet."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Undo options that would keep the gate from measuring, such as one that ignores the suite itself."""
        for name, value in self._settings["options"].items():
            if hasattr(config.option, name):
                setattr(config.option, name, value)

        paths = [path for name in config.args for path in (Path(name).absolute(), *Path(name).absolute().parents)]
        for name in ("ignore", "ignore_glob"):
            ignored = [Path(pattern).absolute() for pattern in getattr(config.option, name, None) or ()]
            kept = [str(one) for one in ignored if not any(path.match(str(one)) for path in paths)]
            setattr(config.option, name, kept)

    def pytest_configure(self, config: pytest.Config) -> None:
        """Put the gate's timing in the place of pytest-benchmark's."""
        config.addinivalue_line("markers", "gate: timed by `deeptwins gate`.")
        for mark in MARKS:
            config.addinivalue_line("markers", f"{mark}: the whole test is timed.")
        for name, pattern in self._settings["patterns"].items():
            config.addinivalue_line(name, pattern)

        def of_fixture(fixture: Any, segments: Segments, warm: int = 0) -> Any:  # noqa: ANN401
            fixture.disabled = False
            return self.measure(fixture.fullname, segments, fixture._make_stats(1).update, warm)  # noqa: SLF001

        def raw(fixture: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            return of_fixture(fixture, Segments(fixture._timer, function, (args, kwargs)))  # noqa: SLF001

        def pedantic(  # noqa: PLR0913, PLR0917  as pytest-benchmark has it
            fixture: Any,  # noqa: ANN401
            target: Callable[..., Any],
            args: tuple[Any, ...] = (),
            kwargs: Mapping[str, Any] | None = None,
            setup: Callable[..., Any] | None = None,
            teardown: Callable[..., Any] | None = None,
            rounds: int = 1,
            warmup_rounds: int = 0,
            iterations: int = 1,
        ) -> Any:  # noqa: ANN401
            arguments, around = (args, kwargs or {}), (setup, teardown)
            segments = Segments(fixture._timer, target, arguments, around, rounds, iterations)  # noqa: SLF001
            return of_fixture(fixture, segments, warmup_rounds)

        fixture_class: Any = BenchmarkFixture
        fixture_class._raw, fixture_class._raw_pedantic = raw, pedantic  # noqa: SLF001  its public methods call them

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Take out plugins that interfere."""
        manager = session.config.pluginmanager
        for plugin in filter(None, map(manager.get_plugin, self._settings["without"])):
            manager.unregister(plugin)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember what cannot be imported."""
        if report.failed:
            self._broken[report.nodeid] = _reason(report)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Iterator[None]:
        """Keep the benchmarks, in the order asked for; where some have the mark `gate`, only those.

        What the project deselects stays out, unless it deselects all: tests without the benchmarks, say.
        """
        item: Any
        for item in items:  # what has a path in its name has the same name in both worktrees
            item._nodeid = item.nodeid.replace(f"{self._root}{os.sep}", "")  # noqa: SLF001  reports take it from there
        tests, before = len(items), list(filter(_is_benchmark, items))
        yield
        benchmarks = list(filter(_is_benchmark, items)) or before
        benchmarks = [item for item in benchmarks if item.get_closest_marker("gate")] or benchmarks
        found = {item.nodeid: item for item in benchmarks}
        names = [name for name in found if _matches(name, self._settings["only"])]
        if self._settings["names"] is not None:
            names = [name for name in self._settings["names"] if name in found]
        items[:] = [found[name] for name in names]
        self._channel.tell(collected=names, broken=self._broken, tests=tests, others=[*found][:OTHERS])
        if self._settings["only_collect"]:
            items.clear()

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Time the whole test where a mark alone says that it is a benchmark."""
        if "benchmark" in pyfuncitem.fixturenames:
            return None
        arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}  # noqa: SLF001
        segments = Segments(time.perf_counter, pyfuncitem.obj, ((), arguments))
        self.measure(pyfuncitem.nodeid, segments, lambda _: None)
        return True

    def measure(self, name: str, segments: Segments, update: Callable[[float], object], warm: int = 0) -> Any:  # noqa: ANN401
        """Time a benchmark as the gate asks, and return the last call's result, or what awaits it.

        The times go into pytest-benchmark's statistics, too, by `update`: the test may look at them.
        """
        talk = self._conversation(name, segments, update, warm)
        if segments.awaits:
            self._waiting = self._measure_awaiting(talk, segments)
            return self._waiting
        with closing(talk):
            calls = next(talk, 0)
            while calls:
                told = segments.run(calls)
                if inspect.iscoroutine(segments.result):  # of a function that does not say that it is one
                    segments.result.close()
                    segments.awaits = True
                    return self.measure(name, segments, update, warm)
                calls = _next(talk, told)
        return segments.result

    async def _measure_awaiting(self, talk: Conversation, segments: Segments) -> Any:  # noqa: ANN401
        """Time a benchmark on the loop that runs."""
        self._waiting = None
        with closing(talk):
            calls = next(talk, 0)
            while calls:
                calls = _next(talk, await segments.run_awaiting(calls))
        return segments.result

    def _conversation(
        self, name: str, segments: Segments, update: Callable[[float], object], warm: int
    ) -> Conversation:
        """Talk to the gate about a benchmark; yields how many calls to run, and gets what that took."""
        # Warm up; what lives now is no garbage later. What can be run but once is not.
        files: set[str] = set()
        once, warm_up, asked = name in self._settings["once"], {"seconds": 0.0}, False
        if rounds := warm if once else max(1, warm):
            segments.files = files if self._settings["note_files"] else None
            warm_up = yield rounds * segments.least
            segments.files = None
        gc.collect()
        gc.freeze()
        self._channel.tell(
            ready=name,
            seconds=warm_up["seconds"],
            calls=segments.fixed,
            elsewhere=self._elsewhere(),
            files=self._own(files),
        )

        # Do what the gate asks, on the core that is measured on, until it has enough.
        cores_before = self._pin()
        try:
            while "end" not in (request := self._channel.ask()):
                if "add" in request:
                    segments.added = request["add"]
                    self._channel.tell(added=True)
                else:
                    segment = yield request["run"]
                    update(segment["seconds"])
                    asked = True
                    self._channel.tell(**segment)
        finally:
            gc.unfreeze()
            if cores_before:
                os.sched_setaffinity(0, cores_before)

        # Where the other arm is not ready nothing was asked, and a test that looks at its statistics needs some.
        if not asked:
            update(warm_up["seconds"])

    def _pin(self) -> set[int] | None:
        """Bind the process to the core that is measured on; returns the cores that it might use before."""
        core = self._settings["core"]
        if core is None:
            return None
        cores_before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})
        return cores_before

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell the outcome of a test."""
        if report.when == "call" and self._waiting is not None:
            self._waiting.close()
            self._waiting = None
            reason = "a coroutine must be awaited, `await benchmark(...)`; only its creation was timed"
            self._channel.tell(outcome="failed", test=report.nodeid, when="call", reason=reason)
        if report.when == "teardown" or report.outcome != "passed":
            reason = "" if report.outcome == "passed" else _reason(report)
            self._channel.tell(outcome=report.outcome, test=report.nodeid, when=report.when, reason=reason)

    def _own(self, files: set[str]) -> list[str]:
        """Name those files that lie in the worktree, relative to it."""
        paths = [Path(os.path.realpath(file)) for file in files]
        return sorted({str(path.relative_to(self._root)) for path in paths if path.is_relative_to(self._root)})

    def _elsewhere(self) -> list[str]:
        """Name modules that were loaded from the folder that no module may come from, or from a copy of it."""
        folder, copies = self._settings["elsewhere"], {*self._settings["copies"]}
        allowed = [self._root, *(os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))]
        files = {str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())}
        wrong = []
        for file in map(os.path.realpath, files - {"", __file__}):
            inside = Path(file).is_relative_to(folder) and "site-packages" not in file
            if file in copies or (inside and not any(map(Path(file).is_relative_to, allowed))):
                wrong.append(file)
        return sorted(wrong)[:MODULES_NAMED]


def _matches(name: str, words: Collection[str]) -> bool:
    return not words or any(word in name for word in words)


def _is_benchmark(item: pytest.Item) -> bool:
    """Tell whether a test uses pytest-benchmark's fixture, or a mark says that all of it is a benchmark.

    A mark with arguments is pytest-benchmark's, and for its fixture.
    """
    marks = [mark for mark in map(item.get_closest_marker, MARKS) if mark is not None and not mark.kwargs]
    return "benchmark" in getattr(item, "fixturenames", ()) or bool(marks)


def _next(talk: Conversation, told: dict[str, float]) -> int:
    """Go on with a conversation; returns how many calls to run, 0 at its end."""
    try:
        return talk.send(told)
    except StopIteration:
        return 0


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Say in a line why a test did not pass; files are named relative to the worktree, which is gone afterwards."""
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(crash.message if crash else report.longrepr).strip().splitlines()
    # Of errors that led to each other the last one ended it; its first line says what it is.
    firsts = [now for before, now in pairwise(["", *lines]) if now.startswith("E ") and not before.startswith("E ")]
    errors = [line.removeprefix("E ").strip() for line in firsts]
    return (errors[-1:] or lines or ["failed"])[0].replace(f"{Path.cwd()}{os.sep}", "")


def main(number: str, *arguments: str) -> int:
    """Run pytest as one arm; returns its exit code."""
    channel = Channel(int(number))
    code = pytest.main([*arguments], plugins=[GatePlugin(channel, channel.ask())])
    channel.tell(over=int(code))
    return int(code)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""One arm of a comparison: a pytest process whose benchmarks are timed segment by segment, as the gate tells it.

This script needs nothing but pytest and pytest-benchmark: both arms run this very file, whatever version of a package
they measure. It is started as

    python -P worker.py PIPE SETTINGS PYTEST-ARGUMENT ...

with the file descriptor of a connection of multiprocessing's and a JSON object. Messages are JSON objects:

    {"collected": [names], "broken": {}}  from the worker, at the start
    {"ready": name, "seconds": 0.1, ...}  from the worker, for each benchmark; then it waits for requests
    {"run": calls}                        to the worker: run a segment of so many calls; it replies with their time
    {"add": seconds}                      to the worker: make every call longer by so much work
    {"end": true}                         to the worker: let the test go on to its end
    {"outcome": "passed", "test": name}   from the worker, after the test
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import resource
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib import metadata
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

SENTINEL = bytes(1 << 20)  # hashing it is work that no commit changes: about a millisecond
MODULES_NAMED = 3  # of those that were loaded from the wrong place
OPTIONS: Mapping[str, Any] = {
    "numprocesses": None, "dist": "no", "distload": False, "tx": [], "looponfail": False,
    "benchmark_skip": False, "benchmark_only": False,
    "maxfail": 0, "lf": False, "failedfirst": False, "newfirst": False, "stepwise": False, "usepdb": False,
}  # fmt: skip
"""Options that a project may have set in `addopts` and that would keep the gate from measuring: tests in other
processes, benchmarks that are skipped, an end at the first failure."""
PLUGINS = ("timeout", "rerunfailures", "flaky", "randomly", "random_order")
"""Plugins that end a test, run it again, or shuffle."""


class Channel:
    """JSON objects to and from the gate."""

    def __init__(self, pipe: int) -> None:
        self._pipe = Connection(pipe)

    def ask(self) -> dict[str, Any]:
        """Wait for a request; where the gate is gone, end."""
        try:
            request: dict[str, Any] = json.loads(self._pipe.recv_bytes())
        except (EOFError, ConnectionError):
            os._exit(1)
        return request

    def tell(self, **message: Any) -> None:  # noqa: ANN401
        """Send a message."""
        self._pipe.send_bytes(json.dumps(message).encode())


def work(seconds: float) -> None:
    """Be busy for so long without touching memory, so that the caches stay as they are."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def seconds_of(call: Callable[[], object]) -> float:
    """Time one call, in seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextmanager
def untraced() -> Iterator[None]:
    """Let neither a debugger nor a profiler see what is timed."""
    tracer, profiler = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    try:
        yield
    finally:
        sys.settrace(tracer)
        sys.setprofile(profiler)


class Segments:
    """Runs the call of a benchmark in segments, on request."""

    def __init__(
        self,
        timer: Callable[[], float],
        target: Callable[..., Any],
        arguments: tuple[tuple[Any, ...], Mapping[str, Any]],
        around: tuple[Callable[..., Any] | None, Callable[..., Any] | None] = (None, None),
    ) -> None:
        """Prepare.

        Args:
            timer: of pytest-benchmark, in seconds.
            target: what is timed.
            arguments: positional and by name.
            around: what is called, untimed, before and after every call; the first may return the call's arguments.
        """
        self._timer, self._target, self._arguments = timer, target, arguments
        self._setup, self._teardown = around
        self.added = 0.0
        """Seconds of work that make every call longer."""
        self.result: Any = None

    def run(self, calls: int) -> dict[str, float]:
        """Run a segment: seconds per call, with what tells whether the machine was disturbed meanwhile."""
        gc.collect()
        sentinel = seconds_of(lambda: hashlib.sha256(SENTINEL).digest())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        with untraced():
            seconds = self._time_each(calls) if self._setup or self._teardown else self._time_all(calls)
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - before
        return {"seconds": seconds / calls, "switches": switches, "sentinel": sentinel}

    def _time_all(self, calls: int) -> float:
        target, (args, kwargs), added = self._target, self._arguments, self.added
        start = self._timer()
        for _ in range(calls):
            self.result = target(*args, **kwargs)
            if added:
                work(added)
        return self._timer() - start

    def _time_each(self, calls: int) -> float:
        """Time each call by itself, without what goes on around it."""
        total = 0.0
        for _ in range(calls):
            args, kwargs = (self._setup() if self._setup else None) or self._arguments
            start = self._timer()
            self.result = self._target(*args, **kwargs)
            if self.added:
                work(self.added)
            total += self._timer() - start
            if self._teardown:
                self._teardown(*args, **kwargs)
        return total


class GatePlugin:
    """The pytest plugin that times benchmarks as the gate asks."""

    def __init__(self, channel: Channel, settings: Mapping[str, Any]) -> None:
        """Prepare.

        Args:
            channel: to the gate.
            settings: `only_collect`, whether no benchmark is run; `core`, which is measured on, None for any;
                `elsewhere`, a folder that no module may come from.
        """
        self._channel, self._settings = channel, settings
        self._root = os.path.realpath(".")
        self._broken: dict[str, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Undo options that would keep the gate from measuring."""
        for name in OPTIONS.keys() & vars(config.option).keys():
            setattr(config.option, name, OPTIONS[name])

    def pytest_configure(self, config: pytest.Config) -> None:
        """Put the gate's timing in the place of pytest-benchmark's."""
        config.addinivalue_line("markers", "gate: timed by `deeptwins gate`.")
        plugin = self

        def raw(fixture: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            return plugin.measure(fixture, Segments(fixture._timer, function, (args, kwargs)))  # noqa: SLF001

        def pedantic(  # noqa: PLR0913, PLR0917  as pytest-benchmark has it
            fixture: Any,  # noqa: ANN401
            target: Callable[..., Any],
            args: tuple[Any, ...] = (),
            kwargs: Mapping[str, Any] | None = None,
            setup: Callable[..., Any] | None = None,
            teardown: Callable[..., Any] | None = None,
            rounds: int = 1,  # noqa: ARG001  the gate decides how many calls there are
            warmup_rounds: int = 0,
            iterations: int = 1,  # noqa: ARG001
        ) -> Any:  # noqa: ANN401
            segments = Segments(fixture._timer, target, (args, kwargs or {}), (setup, teardown))  # noqa: SLF001
            return plugin.measure(fixture, segments, warmup_rounds)

        fixture_class: Any = BenchmarkFixture
        fixture_class._raw, fixture_class._raw_pedantic = raw, pedantic  # noqa: SLF001  its public methods call them

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Take out plugins that interfere."""
        manager = session.config.pluginmanager
        for plugin in filter(None, map(manager.get_plugin, PLUGINS)):
            manager.unregister(plugin)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember what cannot be imported."""
        if report.failed:
            self._broken[report.nodeid] = _reason(report)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep the benchmarks, in the order asked for; where some have the mark `gate`, only those."""
        benchmarks = [item for item in items if "benchmark" in getattr(item, "fixturenames", ())]
        items[:] = [item for item in benchmarks if item.get_closest_marker("gate")] or benchmarks
        places = {name: place for place, name in enumerate(config.args)}
        items.sort(key=lambda item: places.get(item.nodeid, 0))
        self._channel.tell(collected=[item.nodeid for item in items], broken=self._broken)
        if self._settings["only_collect"]:
            items.clear()

    def measure(self, fixture: Any, segments: Segments, warm: int = 0) -> Any:  # noqa: ANN401
        """Time a benchmark as the gate asks, and return the last call's result.

        The times go into pytest-benchmark's statistics, too, which the test may look at.
        """
        # Warm up; what lives now is no garbage later.
        fixture.disabled = False
        stats = fixture._make_stats(1)  # noqa: SLF001
        warm_up = segments.run(max(1, warm))
        gc.collect()
        gc.freeze()
        self._channel.tell(ready=fixture.fullname, seconds=warm_up["seconds"], elsewhere=self._elsewhere())

        # Do what the gate asks, on the core that is measured on, until it has enough.
        cores_before = self._pin()
        try:
            while "end" not in (request := self._channel.ask()):
                if "add" in request:
                    segments.added = request["add"]
                    self._channel.tell(added=True)
                else:
                    segment = segments.run(request["run"])
                    stats.update(segment["seconds"])
                    self._channel.tell(**segment)
        finally:
            gc.unfreeze()
            if cores_before:
                os.sched_setaffinity(0, cores_before)

        # Where the other arm is not ready nothing was asked, and a test that looks at its statistics needs some.
        if not stats.stats.data:
            stats.update(warm_up["seconds"])
        return segments.result

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
        if report.when == "teardown" or report.outcome != "passed":
            reason = "" if report.outcome == "passed" else _reason(report)
            self._channel.tell(outcome=report.outcome, test=report.nodeid, when=report.when, reason=reason)

    def _elsewhere(self) -> list[str]:
        """Name modules that were loaded from the folder that no module may come from, or from a copy of it."""
        folder, copies = self._settings["elsewhere"], self._installed_copies
        allowed = [self._root, *(os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))]
        files = {str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())}
        wrong = []
        for file in map(os.path.realpath, files - {"", __file__}):
            inside = Path(file).is_relative_to(folder) and "site-packages" not in file
            if file in copies or (inside and not any(map(Path(file).is_relative_to, allowed))):
                wrong.append(file)
        return sorted(wrong)[:MODULES_NAMED]

    @cached_property
    def _installed_copies(self) -> set[str]:
        """Files of packages that were installed, as copies, from the folder that no module may come from."""
        copies = set()
        for package in metadata.distributions():
            origin = json.loads(package.read_text("direct_url.json") or "{}")
            source = Path(unquote(urlsplit(str(origin.get("url", ""))).path))
            editable = origin.get("dir_info", {}).get("editable")
            if source.is_relative_to(self._settings["elsewhere"]) and not editable:
                copies |= {os.path.realpath(str(package.locate_file(file))) for file in package.files or ()}
        return copies


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


def main(pipe: str, settings: str, *arguments: str) -> int:
    """Run pytest as one arm; returns its exit code."""
    channel = Channel(int(pipe))
    code = pytest.main([*arguments], plugins=[GatePlugin(channel, json.loads(settings))])
    channel.tell(over=int(code))
    return int(code)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""`deeptwins gate` from end to end, on a project whose benchmarks read a clock of their own."""

import io
import json
import math
import pathlib
import shutil
import signal
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest import mock

import pytest

import forked
import gate_made as made
from deeptwins.cli import app, console
from deeptwins.gate import runs
from deeptwins.gate.arms import processes
from deeptwins.gate.compare import comparison, disturbances, selftest
from deeptwins.gate.judge.conclusion import conclude
from reading import documented_keys
from repositories import git

pytest.importorskip("pytest_benchmark", reason="needs pytest-benchmark")
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")

QUICK = "-p no:hypothesispytest -p no:xdist -p no:cacheprovider"
"""Plugins that the project does without: to load them takes longer than all else in one of its processes."""
CONFIG = f"""
[tool.pytest.ini_options]
python_files = "bench_*.py"
python_functions = "bench_*"
addopts = "{QUICK}"

[tool.deeptwins.gate]
suite = "bench"
"""
SUITE = '''
import pytest

import thing


class Clock:
    """Advances by what a call costs, and by nothing else."""

    now = 0.0

    def __call__(self):
        return self.now


CLOCK = Clock()


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize("size", [1, 2])
def bench_work(benchmark, size):
    def call():
        CLOCK.now += size * thing.cost(size)

    benchmark(call)


@pytest.mark.benchmark(timer=CLOCK)
def bench_prepared(benchmark):
    def call(cost):
        CLOCK.now += cost

    def setup():
        CLOCK.now += 100.0
        return (1.0,), {}

    benchmark.pedantic(call, setup=setup, rounds=3, warmup_rounds=1)
    assert benchmark.stats.stats.median == 1.0
'''


class Project:
    """A repository with a package, whose costs are chosen, and benchmarks."""

    def __init__(self, root):
        self.root = root

    def make(self):
        """Make the first commit."""
        self.root.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.write("pyproject.toml", CONFIG)
        self.write("bench/bench_thing.py", SUITE)
        self.write("README.md", "A thing.\n")
        self.write(".gitignore", "/results/\n/reports/\n__pycache__/\n")
        self.cost("1.0")
        self.commit()

    def git(self, *arguments):
        """Run git here."""
        return git(self.root, *arguments)

    def write(self, name, text):
        """Write a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def cost(self, expression):
        """Say what a call costs, by its size."""
        self.write("src/thing.py", f"import os, signal\n\n\ndef cost(size):\n    return {expression}\n")

    def commit(self):
        """Commit all there is; returns the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=Change something")
        return self.git("rev-parse", "HEAD")

    def copy(self, folder):
        """Copy it into a folder."""
        return Project(pathlib.Path(shutil.copytree(self.root, folder / "project")))

    def gate(self, *arguments):
        """Run the command here; gives its exit code and what it printed."""
        out, err = io.StringIO(), io.StringIO()
        with (
            chdir(self.root),
            redirect_stdout(out),
            redirect_stderr(err),
            mock.patch.object(console, "PIPED", 10**4),  # a sentence a line
            mock.patch.object(sys, "argv", ["deeptwins", "gate", *map(str, arguments)]),
            pytest.raises(SystemExit) as ended,
        ):
            app.main()
        return ended.value.code or 0, out.getvalue(), err.getvalue()

    def stored(self):
        """All runs that lie in its results."""
        return runs.load(self.root / "results")


@pytest.fixture(scope="module", autouse=True)
def _calm():
    """No load of the machine counts, and two pairs are enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "DESIGN", comparison.DESIGN.model_copy(update={"pairs": 2, "blocks": 2}))
        patch.setattr(disturbances.BlockWatch, "disturbed", lambda _self, _replies: None)
        patch.delenv("PYTEST_ADDOPTS", raising=False)
        yield


@pytest.fixture(scope="module", autouse=True)
def _loaded():
    """Processes have loaded pytest when they start, but for those of a test that says otherwise."""
    with forked.popen() as module, mock.patch.object(processes, "subprocess", module):
        yield


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """The project, which no test changes."""
    project = Project(tmp_path_factory.mktemp("untouched") / "project")
    project.make()
    return project


@pytest.fixture
def project(untouched, tmp_path):
    """A copy of the project, for a test to change."""
    return untouched.copy(tmp_path)


class Ran(NamedTuple):
    """A run of the gate in a project, of which several tests ask."""

    project: Project
    code: int
    out: str

    @property
    def run(self):
        """The newest run that is stored."""
        return self.project.stored()[-1]

    @property
    def verdicts(self):
        """The verdicts by the last part of the name."""
        return {one.id.split("::")[-1]: one.verdict for one in conclude(self.run).judged}

    @property
    def benchmarks(self):
        """What was measured, by the last part of the name."""
        return {one.id.split("::")[-1]: one for one in self.run.benchmarks}


@pytest.fixture(scope="module")
def slower(untouched, tmp_path_factory):
    """A commit that makes one benchmark slower by a twentieth, which A/A runs do, too, and another by a fifth."""
    folder = tmp_path_factory.mktemp("slower")
    project, machine = untouched.copy(folder), comparison.environment().machine
    for i in range(10):
        aa = made.benchmark("bench/bench_thing.py::bench_work[1]", 0.1, noise=1e-6, seed=i)
        results = project.root / ("results" if i % 2 else "results/reference")
        runs.write(results, made.run(aa, kind="aa", machine=machine, started=f"2026-01-0{i}T00:00:00Z"))
    project.cost("{1: 1.05, 2: 1.2}[size]")
    project.git("add", "--force", "results/reference")
    project.commit()
    with mock.patch.object(processes, "subprocess", subprocess):  # in processes as they are
        return Ran(project, *project.gate("--base", "HEAD~1", "--summary", folder / "a" / "summary.md")[:2])


def test_a_slower_commit_is_found(slower):
    """Of three benchmarks one is slower by a fifth: exit code 1, its name and size, a page, and a summary."""
    root, run = slower.project.root, slower.run

    assert slower.code == 1
    assert "Slower: bench/bench_thing.py::bench_work[2] by 20" in slower.out
    commits = slower.project.git("rev-parse", "HEAD~1", "HEAD").splitlines()
    assert (run.kind, run.git.base, run.git.head, run.git.dirty) == ("paired", *commits, False)
    assert slower.verdicts == {"bench_work[1]": "no_worse", "bench_work[2]": "regressed", "bench_prepared": "no_worse"}
    assert all(len(one.pairs) == 2 for one in run.benchmarks)
    assert [len(one.confirmation) for one in sorted(run.benchmarks, key=lambda one: one.id)] == [0, 0, 2]
    assert "bench_work[2]" in (root / "reports/performance/index.html").read_text(encoding="utf-8")
    assert "performance" in (root / "reports/index.html").read_text(encoding="utf-8")
    assert "Slower" in (root.parent / "a" / "summary.md").read_text(encoding="utf-8").splitlines()[0]


def test_margins_come_from_runs_of_a_commit_against_itself(slower):
    """What strayed by a tenth in ten A/A runs on such a machine is tolerated; those that are committed count, too."""
    benchmark = slower.benchmarks["bench_work[1]"]

    assert slower.verdicts["bench_work[1]"] == "no_worse"
    assert benchmark.margin == pytest.approx(math.expm1(0.1), abs=1e-3)
    assert benchmark.controls == 10


def test_what_is_not_committed_is_judged(project):
    """By default head is the checkout as it is, and base is where it left main; nothing of it is touched."""
    project.git("checkout", "--quiet", "-b", "work")
    project.cost("0.5")
    before = project.git("status", "--porcelain")

    code, out, _ = project.gate("--only", "work[1]")

    assert code == 0
    assert "Faster: bench/bench_thing.py::bench_work[1]" in out
    assert project.stored()[0].git.dirty
    assert project.git("status", "--porcelain") == before
    assert len(project.git("worktree", "list").splitlines()) == 1


def test_only_prose_needs_no_measurement(project):
    """A commit that changes words alone is fine, at once."""
    project.write("README.md", "Another thing.\n")
    project.write("docs/why.txt", "Because.\n")
    project.commit()

    code, out, _ = project.gate("--base", "HEAD~1")

    assert (code, project.stored()) == (0, [])
    assert "only documents, reports or results differ" in out


def test_commits_with_the_same_files_need_no_measurement(project, tmp_path):
    """What was changed and changed back is fine, at once, and the summary says why."""
    project.cost("2.0")
    project.commit()
    project.cost("1.0")
    project.commit()

    code, out, _ = project.gate("--base", "HEAD~2", "--summary", tmp_path / "summary.md")

    assert (code, project.stored()) == (0, [])
    assert "have the same files" in out
    assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("**No slowdown.** Nothing to measure")


def test_a_fresh_clone_is_told_at_once_what_to_give(untouched, tmp_path, monkeypatch):
    """Where HEAD is main, that is said before anything is loaded, looked for or written."""
    for module in ("deeptwins.gate.compare.comparison", "deeptwins.gate.runs", "pytest_benchmark"):
        monkeypatch.setitem(sys.modules, module, None)

    code, out, err = untouched.gate("--reports", tmp_path / "reports")

    assert (code, out) == (2, "")
    assert "HEAD is main" in err
    assert "--base" in err
    assert not (tmp_path / "reports").exists()


def test_the_summary_says_why_nothing_was_compared(untouched, tmp_path):
    """A job's summary is never empty: it has the reason, with nothing in it that Markdown would take for its own."""
    code, _, err = untouched.gate("--base", "main", "--summary", tmp_path / "summary.md")

    assert code == 2
    assert "HEAD is main" in err
    assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("**Nothing was compared.** HEAD is main")


MORE = ["bench/bench_import.py::bench_import", "bench/bench_more.py::bench_more"]
NAMES = [f"bench/bench_thing.py::bench_{name}" for name in ("prepared", "work[1]", "work[2]", "work[3]")]


@pytest.fixture(scope="module")
def welcome(untouched, tmp_path_factory):
    """A commit with benchmarks that its base lacks: of what base has, of what it has not, of what it cannot import."""
    project = untouched.copy(tmp_path_factory.mktemp("welcome"))
    project.write("bench/bench_thing.py", SUITE.replace("[1, 2]", "[1, 2, 3]"))
    project.write("bench/bench_more.py", "import thing\n\n\ndef bench_more(benchmark):\n    benchmark(thing.more)\n")
    project.write(
        "bench/bench_import.py", "from thing import more\n\n\ndef bench_import(benchmark):\n    benchmark(more)\n"
    )
    project.write("src/thing.py", (project.root / "src/thing.py").read_text() + "\n\ndef more():\n    pass\n")
    project.commit()
    return Ran(project, *project.gate("--base", "HEAD~1", "--write-list")[:2])


def test_without_a_list_what_is_new_is_welcome(welcome):
    """A benchmark more is no reason to fail: it is compared where base has what it measures, and else new."""
    assert welcome.code == 0, welcome.out
    assert welcome.verdicts["bench_work[3]"] == "no_worse"
    new = {one.id: one.reason for one in welcome.run.benchmarks if one.status == "new"}
    assert [*new] == MORE
    assert "thing" in new[MORE[1]]


def test_what_base_cannot_import_says_why(welcome):
    """Base lacks what a file imports: its benchmark is new, and the error is told, with the file as in a checkout."""
    reason = "ImportError: cannot import name 'more' from 'thing' (src/thing.py)"

    assert f"New, and so not compared: {MORE[0]} (base: {reason})" in welcome.out


def test_the_list_says_what_must_be_measured(welcome, tmp_path):
    """It has all that was measured, or is new; where it is committed a benchmark may change its name, or be new."""
    project = welcome.project.copy(tmp_path)
    assert (project.root / "bench/gate.txt").read_text(encoding="utf-8").splitlines()[1:] == [*MORE, *NAMES]
    suite = (project.root / "bench/bench_thing.py").read_text(encoding="utf-8")
    project.write("bench/bench_thing.py", suite.replace("bench_prepared", "bench_ready"))
    project.write("bench/gate.txt", "\n".join([*MORE, *NAMES]).replace("prepared", "ready"))
    project.commit()

    code, out, _ = project.gate("--base", "HEAD~2")

    assert code == 0, out


COUNTED = """
import itertools

NEXT = {{1: itertools.count(), 2: itertools.count(), 3: itertools.count()}}
LAST = {}


def more(size):
    return 1 / (next(NEXT[size]) < LAST[size])
"""


@pytest.fixture(scope="module")
def broken(untouched, tmp_path_factory):
    """Benchmarks of which some can be imported, or run to the end, in one commit alone, or in none; and a list."""
    project = untouched.copy(tmp_path_factory.mktemp("broken"))
    project.write("src/counted.py", COUNTED.format({1: 1e9, 2: 2, 3: 1e9}))
    project.write(
        "src/later.py", "import os\n\n\ndef cost():\n    return 1.0 / (int(os.environ['PYTHONHASHSEED']) % 1000 < 2)\n"
    )
    project.write("src/gone.py", "def gone():\n    pass\n")
    project.commit()
    project.write("src/counted.py", COUNTED.format({1: 1e9, 2: 1e9, 3: 2}))
    project.write("src/later.py", "def cost():\n    return 2.0\n")
    project.write("src/gone.py", "")
    suite = SUITE.replace("import thing", "import counted\nimport later\nimport thing").replace("[1, 2]", "[1, 2, 3]")
    suite = suite.replace("thing.cost(size)", "thing.cost(size)\n        counted.more(size)")
    suite += """

@pytest.mark.benchmark(timer=CLOCK)
def bench_later(benchmark):
    def call():
        CLOCK.now += later.cost()

    benchmark(call)
"""
    project.write("bench/bench_thing.py", suite)
    project.write("bench/bench_gone.py", "from gone import gone\n\n\ndef bench_gone(benchmark):\n    benchmark(gone)\n")
    project.write("bench/bench_nowhere.py", "import nowhere\n")
    listed = ["bench_gone.py::bench_gone", "bench_nowhere.py", "bench_thing.py::bench_later", "bench_thing.py::old"]
    listed += [f"bench_thing.py::bench_work[{size}]" for size in (1, 2, 3)]
    project.write("bench/gate.txt", "\n".join(f"bench/{name}" for name in listed))
    project.commit()
    return Ran(project, *project.gate("--base", "HEAD~1")[:2])


def not_measured(ran):
    """The sentence that says what was not measured."""
    (sentence,) = (line for line in ran.out.splitlines() if line.startswith("Not measured: "))
    return sentence


def test_a_benchmark_cannot_leave_the_list_nor_be_left_out_of_it(broken):
    """What the list names and nothing measures is exit code 4, and so is what is measured and not in the list."""
    assert broken.code == 4
    assert "bench/bench_thing.py::old (not in head)" in not_measured(broken)
    assert "Not in the suite's list, gate.txt: bench/bench_thing.py::bench_prepared." in broken.out


def test_a_call_that_raises_in_the_midst_is_told(broken):
    """It is not measured, in whichever arm, and not new; the other benchmarks are."""
    assert "bench_work[2] (base: ZeroDivisionError: division by zero)" in not_measured(broken)
    assert "bench_work[3] (head: ZeroDivisionError: division by zero)" in not_measured(broken)
    assert broken.verdicts["bench_work[1]"] == "no_worse"


def test_what_base_can_no_longer_run_is_not_new(broken):
    """Where base fails in its second pair, a slowdown does not pass for something new."""
    assert "bench/bench_thing.py::bench_later (base: ZeroDivisionError" in not_measured(broken)
    assert len(broken.benchmarks["bench_later"].pairs) == 1


def test_what_head_cannot_import_says_why(broken):
    """It is not measured, by its name and not its file's, unless base cannot import the file either."""
    reason = "ImportError: cannot import name 'gone' from 'gone' (src/gone.py)"

    assert f"Not measured: bench/bench_gone.py::bench_gone (head: {reason})" in not_measured(broken)
    assert "bench/bench_nowhere.py (head: ModuleNotFoundError: No module named 'nowhere')" in not_measured(broken)


def test_a_suite_that_cannot_be_read_is_told(project):
    """A conftest that fails in both is exit code 2, with the reason."""
    project.write("bench/conftest.py", "import nowhere\n")
    project.commit()

    code, out, _ = project.gate("--base", "HEAD")

    assert code == 2
    assert "pytest ended with exit code 4: ModuleNotFoundError: No module named 'nowhere'" in out


ODD = """
import os
import pathlib
import subprocess

SLEEPS = subprocess.Popen(["sleep", "99"])
with pathlib.Path({!r}).open("a", encoding="utf-8") as file:
    file.write(f"{{SLEEPS.pid}}\\n")


class Timeout:
    def pytest_runtest_call(self):
        raise TimeoutError


def pytest_configure(config):
    config.pluginmanager.register(Timeout(), "flaky")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda _item: id(object()) ^ os.getpid())
"""


@pytest.fixture(scope="module")
def odd(untouched, tmp_path_factory):
    """A suite with options, plugins and processes of its own, and a benchmark with another name than in base."""
    folder = tmp_path_factory.mktemp("odd")
    project = untouched.copy(folder)
    options = "--benchmark-skip --exitfirst --ff --strict-config -W error -p no:hypothesispytest"
    options += " -k nothing --collect-only --ignore=bench --strict-markers"
    lines = [row for row in CONFIG.replace(QUICK, options).splitlines(keepends=True) if not row.startswith("python_")]
    project.write("pyproject.toml", "".join(lines))
    project.write("bench/conftest.py", ODD.format(str(folder / "pids")))
    project.write("bench/bench_thing.py", SUITE.replace("bench_prepared", "bench_ready"))
    project.write("bench/bench_bad.py", "def bench_bad(benchmark):\n    benchmark(lambda: 1 / 0)\n")
    project.write("bench/bench_all.py", "import pytest\n\n\n@pytest.mark.benchmark\ndef bench_all():\n    1 / 0\n")
    project.commit()
    return Ran(project, *project.gate("--base", "HEAD~1")[:2])


def test_a_renamed_benchmark_cannot_leave_the_gate(odd):
    """What base measures and head does not is exit code 4."""
    assert odd.code == 4
    assert "bench_prepared" in not_measured(odd)


def test_what_a_project_sets_for_its_tests_does_not_keep_the_gate_from_measuring(odd):
    """Options that skip benchmarks, leave all out or end early do not hold, nor do plugins that end a test in time.

    What is called a benchmark is found without a pattern, and so is what has the mark alone.
    """
    assert "bench_all and bench/bench_bad.py::bench_bad (head: ZeroDivisionError" in not_measured(odd)
    assert odd.verdicts == dict.fromkeys(("bench_all", "bench_bad"), "not_measured") | dict.fromkeys(
        ("bench_ready", "bench_work[1]", "bench_work[2]"), "no_worse"
    )


def test_processes_of_a_suite_end_with_it(odd):
    """What a benchmark has started and not ended does not go on."""
    pids = (odd.project.root.parent / "pids").read_text(encoding="utf-8").split()

    assert pids
    for pid in pids:
        state = pathlib.Path("/proc", pid, "stat")
        assert not state.exists() or ") Z " in state.read_text(encoding="utf-8")


def test_a_killed_process_loses_nothing(project):
    """Where head is killed in its second pair, the first is kept, and the exit code is 2."""
    project.cost("1.0 if int(os.environ['PYTHONHASHSEED']) % 1000 < 2 else os.kill(os.getpid(), signal.SIGKILL)")
    project.commit()

    code, out, _ = project.gate("--base", "HEAD~1", "--only", "bench_work")

    assert code == 2
    (run,) = project.stored()
    assert run.failure.startswith("head: killed by SIGKILL")
    assert "killed by SIGKILL" in out
    assert [len(one.pairs) for one in run.benchmarks] == [1, 1]


def test_a_copy_of_the_checkout_that_is_installed_is_refused(project, tmp_path, monkeypatch):
    """Where code lies neither in `src/` nor at the root, both arms would run what was installed from the checkout."""
    project.git("mv", "src", "python")
    project.commit()
    where = tmp_path / "somewhere"
    shutil.copytree(project.root / "python", where)
    record = where / "thing-1.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1\n", encoding="utf-8")
    (record / "RECORD").write_text("thing.py,,\n", encoding="utf-8")
    (record / "direct_url.json").write_text(json.dumps({"url": project.root.as_uri(), "dir_info": {}}))
    monkeypatch.setenv("PYTHONPATH", str(where))

    code, out, _ = project.gate("--base", "HEAD", "--only", "work[1]")

    assert code == 2
    assert "thing.py, not its own version of it" in out


def test_code_of_the_checkout_is_refused(project):
    """Where both arms would import the same code, nothing they differ in is measured: exit code 2."""
    path = project.root / "src"
    project.write("bench/conftest.py", f"import sys\n\nsys.path.insert(0, {str(path)!r})\n")
    project.commit()

    code, out, _ = project.gate("--base", "HEAD", "--only", "work[1]")

    assert code == 2
    assert "not its own version" in out


@pytest.mark.parametrize("option", ["--results", "--reports", "--summary"])
def test_what_cannot_be_written_is_told_before_it_is_measured(project, option):
    """No minutes are lost to a folder that is none."""
    code, _, err = project.gate("--base", "HEAD", option, "README.md/file")

    assert code == 2
    assert "README.md" in err
    assert "collecting" not in err


def test_sigterm_keeps_what_was_measured(project, monkeypatch):
    """As Ctrl-C does; a bisection ends."""
    monkeypatch.setattr(processes, "subprocess", subprocess)  # the gate is their parent
    project.cost(
        "1.0 if int(os.environ['PYTHONHASHSEED']) % 1000 < 2 else os.kill(os.getppid(), signal.SIGTERM) or 1.0"
    )
    project.commit()

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code, out, _ = project.gate("--bisect", "--base", "HEAD~1", "--only", "work[1]")
    signal.signal(signal.SIGTERM, before)

    assert code == 130
    assert "No verdict, the run ended early: interrupted" in out
    assert out.count("ended early") == 1
    assert len(project.stored()[0].benchmarks[0].pairs) >= 1
    assert len(project.git("worktree", "list").splitlines()) == 1


def test_what_strays_is_inconclusive(project, monkeypatch):
    """Pairs that disagree tell nothing: more are measured, and then the exit code is 3."""
    monkeypatch.setattr(comparison, "DESIGN", comparison.DESIGN.model_copy(update={"pairs": 1}))
    project.cost("1.0 + 0.2 * (int(os.environ['PYTHONHASHSEED']) % 2)")
    project.commit()

    code, out, _ = project.gate("--base", "HEAD~1", "--only", "work[1]")

    assert code == 3
    assert "bench_work[1]" in out
    assert len(project.stored()[0].benchmarks[0].pairs) == 2


def test_bisection_passes_over_a_commit_that_cannot_be_judged(project):
    """For git it is neither good nor bad."""
    project.cost("1 / 0")
    project.commit()

    assert project.gate("--bisect", "--base", "HEAD~1", "--only", "work[1]")[0] == 125
    assert project.stored() == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--only", "wrok"], "no benchmark's name holds wrok; there is bench/bench_thing.py::bench_work[1]"),
        (["--suite", "src"], "src: pytest finds no test there"),
    ],
)
def test_where_there_is_nothing_to_measure_it_is_said_why(untouched, tmp_path, arguments, reason):
    """With exit code 4; no run is stored, and no page is replaced."""
    places = "--summary", tmp_path / "summary.md", "--results", tmp_path / "results", "--reports", tmp_path / "reports"

    code, out, _ = untouched.gate("--base", "HEAD", *arguments, *places)

    assert code == 4
    assert f"Nothing was measured: {reason}" in out
    assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("**No verdict.** Nothing was measured: ")
    assert not list(tmp_path.rglob("*.json"))
    assert not list(tmp_path.rglob("*.html"))


@pytest.mark.parametrize("base", [("--base", "nowhere"), ()])
def test_bisection_ends_where_no_commit_can_be_judged(untouched, base):
    """A base that is not there, or was not given, is no property of the commit."""
    assert untouched.gate("--bisect", *base)[0] == 128


def test_bisection_passes_over_its_own_base(untouched):
    """Where HEAD is the good commit, or older, there is nothing to compare it with: it is neither good nor bad."""
    assert untouched.gate("--bisect", "--base", "main")[0] == 125


@pytest.mark.parametrize(("more", "expected"), [((), 2), (("--bisect",), 125)])
def test_what_nobody_foresaw_is_no_slowdown(project, monkeypatch, more, expected):
    """It is told in a line, and its exit code says neither slower nor bad."""
    monkeypatch.setattr(comparison.worktrees, "bring", lambda *_: 1 / 0)

    code, _, err = project.gate("--base", "HEAD", *more)

    assert code == expected
    assert "ZeroDivisionError" in err.splitlines()[-1]


def test_bisection_stops_where_the_command_is_wrong(untouched):
    """That is no property of a commit."""
    assert untouched.gate("--bisect", "--base", "HEAD", "--time-limit", "soon")[0] == 128


def test_bisection_finds_the_commit(project):
    """Git finds the commit that made it slower, with the benchmarks of the last one."""
    project.git("rm", "--quiet", "-r", "bench")
    first = project.commit()
    commits = []
    for number in range(3):
        project.write("src/other.py", f"N = {number}\n")
        project.cost("1.5" if number > 1 else "1.0")
        commits.append(project.commit())
    project.write("bench/bench_thing.py", SUITE)
    last = project.commit()
    said = project.git("bisect", "start", last, first)
    apart = [f"--{name}={project.root.parent / name}" for name in ("results", "reports")]
    codes = []

    while "first bad commit" not in said:  # as `git bisect run` does by exit codes
        codes.append(project.gate("--bisect", "--base", first, "--suite-from", last, "--only", "work[1]", *apart)[0])
        said = project.git("bisect", {0: "good", 1: "bad"}[codes[-1]])

    assert f"{commits[2]} is the first bad commit" in said
    assert {*codes} == {0, 1}


def test_an_anchor_judges_nothing(project):
    """A commit slower than the anchor is a point of the history, no failure; it is told, whatever the page shows."""
    project.git("tag", "v1")
    project.cost("2.0")
    project.commit()
    project.cost("1.0")
    runs.write(project.root / "results", made.run(made.benchmark("other"), started="2026-01-01T00:00:00Z"))

    code, out, _ = project.gate("--anchor", "v1", "--head", "HEAD", "--only", "work[1]")

    assert code == 0
    assert "Slower: bench/bench_thing.py::bench_work[1]" in out
    assert "other" not in out
    assert (project.stored()[-1].kind, project.stored()[-1].git.anchor) == ("anchor", "v1")


def test_the_self_test_goes_on(project, monkeypatch):
    """Trials are ordinary runs, and what is done is not done again."""
    monkeypatch.setattr(selftest, "MUTATIONS", {})
    project.write("bench/gate.txt", "\n".join(NAMES[:2]))
    project.commit()

    code, _, err = project.gate("--self-test", "--trials", "1")

    assert code == 0
    assert [run.kind for run in project.stored()] == ["aa", "slower"]
    assert "0 of 2 trials are done" in err
    assert "2 of 2 trials are done" in project.gate("--self-test", "--trials", "1")[2]


def test_files_of_pytest_benchmark_in_and_out(project, tmp_path):
    """A run is exported for pytest-benchmark, and what that writes is imported and judged."""
    runs.write(project.root / "results", made.run(made.benchmark("bench_work[1]", 0.4)))
    project.gate("export", "--to", "pytest-benchmark", "--output", tmp_path / "out")
    files = []
    for number in range(1, 7):
        for arm in ("base", "head"):
            text = json.loads((tmp_path / "out" / f"{arm}.json").read_text(encoding="utf-8"))
            text["datetime"] = f"2026-01-0{number}T00:00:0{arm == 'head':d}+00:00"
            for entry in text["benchmarks"]:
                entry["stats"]["data"] = [seconds * (1 + number / 1000) for seconds in entry["stats"]["data"]]
            files.append(tmp_path / f"{arm}{number}.json")
            files[-1].write_text(json.dumps(text), encoding="utf-8")

    code, out, _ = project.gate("import", *files, "--results", tmp_path / "results", "--reports", tmp_path / "reports")

    assert "bench_work[1]" in out
    assert code == 1, out
    assert len(runs.load(tmp_path / "results")) == len(project.stored()) == 1
    places = "--results", tmp_path / "others", "--reports", tmp_path / "reports"
    code, out, err = project.gate("import", *files, "--json", *places)
    assert not err
    told = json.loads(out)
    assert sorted(told) == documented_keys("gate")
    assert (told["exit_code"], told["meaning"], told["kind"]) == (1, "a confirmed slowdown", "imported")
    assert out.count(told["verdict"]) == 2  # by itself, and as the first of its lines
    assert [row["benchmark"] for row in told["benchmarks"]]
    assert pathlib.Path(told["run"]).is_file()
    assert pathlib.Path(told["page"]).is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--base", "nowhere"], "nowhere: no such commit"),
        (["--base", "HEAD", "--anchor", "HEAD"], "one at a time"),
        (["--base", "HEAD", "--suite", "nothing"], "nothing: not in commit"),
        (["--trials", "3"], "--self-test"),
        (["--write-list", "--only", "work"], "--write-list"),
        (["--write-list", "--tier", "paired"], "--write-list"),
        (["--time-limit", "soon"], "time-limit"),
        (["import", "one.json"], "pairs"),
        (["import", "one.json", "two.json"], "one.json"),
        (["export", "--to", "csv"], "no run of the gate"),
        (["page"], "no run of the gate"),
        (["--self-test"], "gate.txt"),
    ],
)
def test_bad_input_is_one_line(untouched, arguments, message):
    """What a person can mend is one line and exit code 2."""
    code, _, err = untouched.gate(*arguments)

    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(("more", "expected"), [((), 2), (("--bisect",), 128)])
def test_without_pytest_benchmark_nothing_can_be_timed(untouched, monkeypatch, more, expected):
    """One line says what to install, before any minute is spent."""
    monkeypatch.setitem(sys.modules, "pytest_benchmark", None)

    code, _, err = untouched.gate("--base", "HEAD", *more)

    assert code == expected
    assert "pytest-benchmark is not installed" in err
    assert err.endswith("[gate]'\n")  # after what installs here
    assert untouched.stored() == []


def test_outside_a_repository(tmp_path, monkeypatch):
    """There is nothing to compare."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    code, _, err = Project(tmp_path).gate()

    assert code == 2
    assert "not in a git repository" in err

"""`deeptwins gate` from end to end, on a project whose benchmarks read a clock of their own."""

import json
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

import gate_made as made
from deeptwins import cli
from deeptwins.gate import runs
from deeptwins.gate.compare import comparison, disturbances
from deeptwins.gate.judge.conclusion import conclude

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
        who = {f"GIT_{role}_{key}": "a@b" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(self.root), *arguments],  # noqa: S607
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | who,
        )
        return done.stdout.strip()

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


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The project as it is before a test changes it."""
    made = Project(tmp_path_factory.mktemp("template") / "project")
    made.make()
    return made.root


@pytest.fixture
def project(template, tmp_path, monkeypatch):
    """The project, where one stands in it; no load of the machine counts, and two pairs are enough."""
    monkeypatch.setattr(comparison, "DESIGN", comparison.DESIGN.model_copy(update={"pairs": 2, "blocks": 2}))
    monkeypatch.setattr(disturbances.BlockWatch, "disturbed", lambda _self, _replies: None)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    root = tmp_path / "project"
    shutil.copytree(template, root)
    monkeypatch.chdir(root)
    return Project(root)


@pytest.fixture
def gate(monkeypatch, capfd):
    """Run the command; gives its exit code and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["deeptwins", "gate", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capfd.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


NAMES = [f"bench/bench_thing.py::bench_{name}" for name in ("prepared", "work[1]", "work[2]")]


def stored(project):
    """All runs that lie in the project's results."""
    return runs.load(project.root / "results")


def judged(run):
    """The verdicts of a run, by the last part of the name."""
    return {one.id.split("::")[1]: one.verdict for one in conclude(run).judged}


def test_a_slower_commit_is_found(project, gate, tmp_path):
    """Of three benchmarks one is slower by a fifth: exit code 1, its name and size, a page, and a summary."""
    base = project.git("rev-parse", "HEAD")
    project.cost("1.0 if size == 1 else 1.2")
    head = project.commit()
    summary = tmp_path / "a" / "summary.md"

    code, out, _ = gate("--base", base, "--summary", summary)

    assert code == 1
    assert "Slower: bench/bench_thing.py::bench_work[2] by 20" in out
    (run,) = stored(project)
    assert (run.kind, run.git.base, run.git.head, run.git.dirty) == ("paired", base, head, False)
    assert judged(run) == {"bench_work[1]": "no_worse", "bench_work[2]": "regressed", "bench_prepared": "no_worse"}
    assert all(len(one.pairs) == 2 for one in run.benchmarks)
    assert [len(one.confirmation) for one in sorted(run.benchmarks, key=lambda one: one.id)] == [0, 0, 2]
    assert "bench_work[2]" in (project.root / "reports/performance/index.html").read_text(encoding="utf-8")
    assert "performance" in (project.root / "reports/index.html").read_text(encoding="utf-8")
    assert "Slower" in summary.read_text(encoding="utf-8").splitlines()[0]


def test_what_is_not_committed_is_judged(project, gate):
    """By default head is the checkout as it is, and base is where it left main; nothing of it is touched."""
    project.git("checkout", "--quiet", "-b", "work")
    project.cost("0.5")
    before = project.git("status", "--porcelain")

    code, out, _ = gate("--only", "work[1]")

    assert code == 0
    assert "Faster: bench/bench_thing.py::bench_work[1]" in out
    assert stored(project)[0].git.dirty
    assert project.git("status", "--porcelain") == before
    assert len(project.git("worktree", "list").splitlines()) == 1


def test_margins_come_from_runs_of_a_commit_against_itself(project, gate):
    """What strayed by a tenth in ten A/A runs on such a machine is tolerated; those that are committed count, too."""
    machine = comparison.environment().machine
    for i in range(10):
        aa = made.benchmark("bench/bench_thing.py::bench_work[1]", 0.1, noise=1e-6, seed=i)
        folder = project.root / ("results" if i % 2 else "results/reference")
        runs.write(folder, made.run(aa, kind="aa", machine=machine, started=f"2026-01-0{i}T00:00:00Z"))
    project.cost("1.05")
    project.commit()

    code, _, _ = gate("--base", "HEAD~1", "--only", "work[1]")

    assert code == 0
    benchmark = stored(project)[-1].benchmarks[0]
    assert benchmark.margin == pytest.approx(math.expm1(0.1), abs=1e-3)
    assert benchmark.controls == 10


def test_only_prose_needs_no_measurement(project, gate):
    """A commit that changes words alone is fine, at once."""
    project.write("README.md", "Another thing.\n")
    project.write("docs/why.txt", "Because.\n")
    project.commit()

    code, out, _ = gate("--base", "HEAD~1")

    assert (code, stored(project)) == (0, [])
    assert "Only prose differs" in out


def test_a_renamed_benchmark_cannot_leave_the_gate(project, gate):
    """What base measures and head does not is exit code 4; so is what a list names and nothing measures."""
    project.write("bench/bench_thing.py", SUITE.replace("bench_prepared", "bench_ready"))
    project.commit()

    code, out, _ = gate("--base", "HEAD~1")

    assert code == 4
    assert "bench_prepared" in out


def test_the_list_says_what_must_be_measured(project, gate):
    """With a list committed its names count: an accepted change is fine, and one that it lacks is not."""
    code, out, err = gate("--base", "HEAD", "--write-list")
    assert code == 0, out + err
    assert (project.root / "bench/gate.txt").read_text(encoding="utf-8").splitlines()[1:] == NAMES
    project.write("bench/bench_thing.py", SUITE.replace("bench_prepared", "bench_ready"))
    project.commit()
    assert gate("--base", "HEAD~1")[0] == 4
    project.write("bench/gate.txt", "\n".join(NAMES).replace("prepared", "ready"))
    project.commit()

    assert gate("--base", "HEAD~1")[0] == 0


def test_without_a_list_what_is_new_is_welcome(project, gate):
    """A benchmark more, of what base has, too, is compared, and no reason to fail."""
    project.write("bench/bench_more.py", SUITE.replace("bench_work", "bench_more"))
    project.commit()

    code, out, _ = gate("--base", "HEAD~1")

    assert code == 0, out
    assert len(stored(project)[0].benchmarks) == 6


def test_a_new_benchmark_needs_what_base_has_not(project, gate):
    """A benchmark of something new is in the list and cannot be compared: no reason to fail."""
    project.write("bench/bench_more.py", "import thing\n\n\ndef bench_more(benchmark):\n    benchmark(thing.more)\n")
    project.write("src/thing.py", (project.root / "src/thing.py").read_text() + "\n\ndef more():\n    pass\n")
    project.write("bench/gate.txt", "\n".join([*NAMES, "bench/bench_more.py::bench_more"]))
    project.commit()

    code, out, _ = gate("--base", "HEAD~1")

    assert code == 0, out
    more = {one.id: one for one in stored(project)[-1].benchmarks}["bench/bench_more.py::bench_more"]
    assert more.status == "new"
    assert "thing" in more.reason


def test_a_killed_process_loses_nothing(project, gate):
    """Where head is killed in its second pair, the first is kept, and the exit code is 2."""
    project.cost("1.0 if int(os.environ['PYTHONHASHSEED']) % 1000 < 2 else os.kill(os.getpid(), signal.SIGKILL)")
    project.commit()

    code, out, _ = gate("--base", "HEAD~1", "--only", "bench_work")

    assert code == 2
    (run,) = stored(project)
    assert run.failure.startswith("head: killed by SIGKILL")
    assert "killed by SIGKILL" in out
    assert [len(one.pairs) for one in run.benchmarks] == [1, 1]


def test_a_call_that_raises_in_the_midst_is_told(project, gate):
    """It is not measured, in whichever arm, and not new; the other benchmarks are."""
    counted = "import itertools\n\nNEXT = {{1: itertools.count(), 2: itertools.count(), 3: itertools.count()}}\n"
    counted += "LAST = {}\n\n\ndef more(size):\n    return 1 / (next(NEXT[size]) < LAST[size])\n"
    suite = SUITE.replace("thing.cost(size)", "thing.cost(size)\n        other.more(size)").replace(
        "[1, 2]", "[1, 2, 3]"
    )
    project.write("bench/bench_thing.py", suite.replace("import thing", "import other\nimport thing"))
    project.write("src/other.py", counted.format({1: 1e9, 2: 2, 3: 1e9}))
    project.commit()
    project.write("src/other.py", counted.format({1: 1e9, 2: 1e9, 3: 2}))
    project.commit()

    code, out, _ = gate("--base", "HEAD~1", "--only", "bench_work")

    assert code == 4
    assert "bench_work[2] (base: ZeroDivisionError: division by zero)" in out
    assert "bench_work[3] (head: ZeroDivisionError: division by zero)" in out
    assert judged(stored(project)[0])["bench_work[1]"] == "no_worse"


def test_what_base_can_no_longer_run_is_not_new(project, gate):
    """Where base fails in its second pair, a slowdown does not pass for something new."""
    project.cost("1.0 if int(os.environ['PYTHONHASHSEED']) % 1000 < 2 else 1 / 0")
    project.commit()
    project.cost("2.0")
    project.commit()

    code, out, _ = gate("--base", "HEAD~1", "--only", "work[1]")

    assert code == 4
    assert "Not measured: bench/bench_thing.py::bench_work[1] (base: ZeroDivisionError" in out


def test_what_one_commit_cannot_import_says_why(project, gate):
    """Base lacks the module: the benchmark is new. Head does: it is not measured, by its name and not its file's."""
    project.write("bench/bench_more.py", "from thing import more\n" + SUITE.replace("bench_work", "bench_more"))
    project.write("src/thing.py", (project.root / "src/thing.py").read_text() + "\n\ndef more():\n    pass\n")
    project.commit()
    reason = "ImportError: cannot import name 'more' from 'thing' (src/thing.py)"

    _, forth, _ = gate("--base", "HEAD~1", "--only", "bench_more[1]")
    code, back, _ = gate("--anchor", "HEAD", "--head", "HEAD~1", "--suite-from", "HEAD", "--only", "bench_more[1]")

    name = "bench/bench_more.py::bench_more[1]"
    assert f"New, with nothing to compare: {name} (base: {reason})" in forth
    assert code == 4
    assert f"Not measured: {name} (head: {reason})." in back


def test_a_suite_that_cannot_be_read_is_told(project, gate):
    """A conftest that fails in both is exit code 2, and a file of benchmarks that does is 4; each with the reason."""
    project.write("bench/bench_more.py", "import nowhere\n")
    project.commit()
    project.cost("1.0 + 0")
    project.commit()
    code, out, _ = gate("--base", "HEAD~1")
    assert code == 4
    assert "Not measured: bench/bench_more.py (head: ModuleNotFoundError: No module named 'nowhere')" in out
    project.write("bench/conftest.py", "import nowhere\n")
    project.commit()

    code, out, _ = gate("--base", "HEAD")

    assert code == 2
    assert "pytest ended with exit code 4: ModuleNotFoundError: No module named 'nowhere'" in out


def test_options_of_the_project_do_not_keep_the_gate_from_measuring(project, gate):
    """What a project sets for its tests, to skip benchmarks or end early, does not hold for the gate."""
    options = "--benchmark-skip --exitfirst --ff --strict-config -W error -p no:hypothesispytest"
    project.write("pyproject.toml", CONFIG.replace(QUICK, options))
    project.write("bench/bench_more.py", "def bench_bad(benchmark):\n    benchmark(lambda: 1 / 0)\n")
    project.commit()

    _, out, _ = gate("--base", "HEAD")

    assert "bench_bad (head: ZeroDivisionError" in out
    verdicts = judged(stored(project)[0])
    assert verdicts.pop("bench_bad") == "not_measured"
    assert {*verdicts.values()} == {"no_worse"}


def test_plugins_that_interfere_are_left_out(project, gate):
    """One that ends a test after a time, or shuffles, has no say."""
    plugin = (
        "class Timeout:\n"
        "    def pytest_runtest_call(self):\n        raise TimeoutError\n\n\n"
        "def pytest_configure(config):\n    config.pluginmanager.register(Timeout(), 'flaky')\n\n\n"
        "def pytest_collection_modifyitems(items):\n    items.sort(key=lambda _item: id(object()) ^ os.getpid())\n"
    )
    project.write("bench/conftest.py", f"import os\n\n\n{plugin}")
    project.commit()

    code, out, _ = gate("--base", "HEAD")

    assert code == 0, out


def test_processes_of_a_suite_end_with_it(project, gate, tmp_path):
    """What a benchmark has started and not ended does not go on."""
    note = tmp_path / "pid"
    start = "AT.write_text(str(subprocess.Popen(['sleep', '99']).pid))"
    project.write("bench/conftest.py", f"import pathlib, subprocess\nAT = pathlib.Path({str(note)!r})\n{start}\n")
    project.commit()

    gate("--base", "HEAD", "--only", "work[1]")

    state = pathlib.Path("/proc", note.read_text(encoding="utf-8"), "stat")
    assert not state.exists() or ") Z " in state.read_text(encoding="utf-8")


def test_a_copy_of_the_checkout_that_is_installed_is_refused(project, gate, tmp_path, monkeypatch):
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

    code, out, _ = gate("--base", "HEAD", "--only", "work[1]")

    assert code == 2
    assert "thing.py, not its own version of it" in out


def test_what_cannot_be_written_is_told_before_it_is_measured(project, gate):
    """No minutes are lost to a folder that is none."""
    for option in ("--results", "--reports"):
        code, _, err = gate("--base", "HEAD", option, "README.md")

        assert code == 2
        assert "README.md" in err
        assert "collecting" not in err


def test_sigterm_keeps_what_was_measured(project, gate):
    """As Ctrl-C does; a bisection ends."""
    project.cost(
        "1.0 if int(os.environ['PYTHONHASHSEED']) % 1000 < 2 else os.kill(os.getppid(), signal.SIGTERM) or 1.0"
    )
    project.commit()

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code, out, _ = gate("--bisect", "--base", "HEAD~1", "--only", "work[1]")
    signal.signal(signal.SIGTERM, before)

    assert code == 130
    assert "Ended early: interrupted" in out
    assert len(stored(project)[0].benchmarks[0].pairs) >= 1
    assert len(project.git("worktree", "list").splitlines()) == 1


def test_what_strays_is_inconclusive(project, gate):
    """Pairs that disagree tell nothing: more are measured, and then the exit code is 3."""
    project.cost("1.0 + 0.2 * (int(os.environ['PYTHONHASHSEED']) % 2)")
    project.commit()

    code, out, _ = gate("--base", "HEAD~1", "--only", "work[1]")

    assert code == 3
    assert "bench_work[1]" in out
    assert len(stored(project)[0].benchmarks[0].pairs) == 4


def test_bisection_passes_over_a_commit_that_cannot_be_judged(project, gate):
    """For git it is neither good nor bad."""
    project.cost("1 / 0")
    project.commit()

    assert gate("--bisect", "--base", "HEAD~1", "--only", "work[1]")[0] == 125


def test_bisection_ends_where_no_commit_can_be_judged(project, gate):
    """A base that is not there is no property of the commit."""
    assert gate("--bisect", "--base", "nowhere")[0] == 128


CALM = """
from deeptwins import cli
from deeptwins.gate.compare import comparison, disturbances
comparison.DESIGN = comparison.DESIGN.model_copy(update={"pairs": 2, "blocks": 2})
disturbances.BlockWatch.disturbed = lambda _self, _replies: None
cli.main()
"""
"""The command in a process of its own, which the fixture `project` does not reach: no load of the machine counts."""


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
    project.git("bisect", "start", last, first)
    command = [sys.executable, "-c", CALM, "gate", "--bisect", "--base", first, "--suite-from", last]
    command += ["--only", "work[1]", "--results", str(project.root.parent / "results")]

    out = project.git("bisect", "run", *command, "--reports", str(project.root.parent / "reports"))

    assert f"{commits[2]} is the first bad commit" in out


def test_code_of_the_checkout_is_refused(project, gate):
    """Where both arms would import the same code, nothing they differ in is measured: exit code 2."""
    path = project.root / "src"
    project.write("bench/conftest.py", f"import sys\n\nsys.path.insert(0, {str(path)!r})\n")
    project.commit()

    code, out, _ = gate("--base", "HEAD", "--only", "work[1]")

    assert code == 2
    assert "not its own version" in out


def test_an_anchor_judges_nothing(project, gate):
    """A commit slower than the anchor is a point of the history, no failure; it is told, whatever the page shows."""
    project.git("tag", "v1")
    project.cost("2.0")
    project.commit()

    runs.write(project.root / "results", made.run(made.benchmark("other"), started="2026-01-01T00:00:00Z"))

    code, out, _ = gate("--anchor", "v1", "--only", "work[1]")

    assert code == 0
    assert "Slower: bench/bench_thing.py::bench_work[1]" in out
    assert "other" not in out
    assert (stored(project)[-1].kind, stored(project)[-1].git.anchor) == ("anchor", "v1")


def test_the_self_test_goes_on(project, gate, monkeypatch):
    """Trials are ordinary runs, and what is done is not done again."""
    monkeypatch.setattr("deeptwins.gate.compare.selftest.MUTATIONS", {})
    project.write("bench/gate.txt", "bench/bench_thing.py::bench_prepared\n")
    project.commit()

    code, _, err = gate("--self-test", "--trials", "1")

    assert code == 0
    assert [run.kind for run in stored(project)] == ["aa", "slower", "slower"]
    assert "0 of 3 trials are done" in err
    assert "3 of 3 trials are done" in gate("--self-test", "--trials", "1")[2]


def test_files_of_pytest_benchmark_in_and_out(project, gate, tmp_path):
    """A run is exported for pytest-benchmark, and what that writes is imported and judged."""
    runs.write(project.root / "results", made.run(made.benchmark("bench_work[1]", 0.4)))
    gate("export", "--to", "pytest-benchmark", "--output", tmp_path / "out")
    files = []
    for number in (1, 2, 3):
        for arm in ("base", "head"):
            text = json.loads((tmp_path / "out" / f"{arm}.json").read_text(encoding="utf-8"))
            text["datetime"] = f"2026-01-0{number}T00:00:0{arm == 'head':d}+00:00"
            files.append(tmp_path / f"{arm}{number}.json")
            files[-1].write_text(json.dumps(text), encoding="utf-8")

    code, out, _ = gate("import", *files, "--results", tmp_path / "results", "--reports", tmp_path / "reports")

    assert "bench_work[1]" in out
    assert code == 3, out
    assert len(runs.load(tmp_path / "results")) == len(stored(project)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--base", "nowhere"], "nowhere: no such commit"),
        (["--base", "HEAD", "--anchor", "HEAD"], "one at a time"),
        (["--suite", "nothing"], "nothing"),
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
def test_bad_input_is_one_line(project, gate, arguments, message):
    """What a person can mend is one line and exit code 2."""
    code, _, err = gate(*arguments)

    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(("more", "expected"), [((), 2), (("--bisect",), 128)])
def test_without_pytest_benchmark_nothing_can_be_timed(project, gate, monkeypatch, more, expected):
    """One line says what to install, before any minute is spent."""
    monkeypatch.setitem(sys.modules, "pytest_benchmark", None)

    code, _, err = gate("--base", "HEAD", *more)

    assert code == expected
    assert 'pip install "deeptwins[gate]"' in err
    assert stored(project) == []


def test_outside_a_repository(tmp_path, gate, monkeypatch):
    """There is nothing to compare."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    code, _, err = gate()

    assert code == 2
    assert "not in a git repository" in err

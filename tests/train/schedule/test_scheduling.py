"""Scheduling: real workers on tiny runs. Whatever dies, the records are those of an undisturbed session."""

import contextlib
import errno
import fcntl
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import active_children
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import SimpleNamespace

import pytest

import cramped
import hesitant
import made
import parts_made
from deeptwins import data, records, study
from deeptwins.errors import InputError
from deeptwins.records import RunFiles, host
from deeptwins.records.locks import claimed
from deeptwins.system import disk, signals
from deeptwins.system.origins import origin
from deeptwins.train.schedule import forking, scheduling, session, workers
from deeptwins.train.schedule.jobs import Jobs
from deeptwins.train.schedule.scheduling import Outcome, train_all

pytestmark = pytest.mark.slow
TINY = """
question = "Is anything lost?"

[twins]
plain = { shortcut = "none" }
residual = { shortcut = "zero-pad" }

[[vary]]
family = "cifar"
depth = [8, 14]
seed = 0

[recipe]
dataset = "synthetic"
width = 4
iterations = 24
batch_size = 64
learning_rate = 0.1
warmup = 8
momentum = 0.9
shift = 1
flip = true
"""
# Images of one pixel in the last stage: batch normalization cannot train on a batch of one.
BROKEN = TINY.replace('family = "cifar"\ndepth = [8, 14]', 'family = "imagenet"\ndepth = 18').replace(
    "batch_size = 64", "batch_size = 1"
)


class Watch:
    """A display that remembers what it is told, and does something when the session stands somewhere."""

    def __init__(self, act: Callable = lambda _state: None) -> None:
        self.lines, self.states, self.act = [], [], act

    def __enter__(self):
        """Begin."""
        return self

    def __exit__(self, *_error):
        """End."""

    def say(self, line):
        """Remember a line."""
        self.lines.append(line)

    def settle(self):
        """Stop drawing."""

    def update(self, state):
        """Remember a state, and act."""
        self.states.append(state)
        self.act(state)

    @property
    def text(self):
        """All lines."""
        return "\n".join(self.lines)


def load(folder, text=TINY, name="tiny"):
    """Write a study into a repository's root, and read it."""
    path = folder / "ablations" / f"{name}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return study.load(path)


def train(folder, runs, display=None, **options):
    """Train on the CPU into the folder's results."""
    options = {"device": "cpu", "results": folder / "results", "workers": 1} | options
    return train_all(runs, display=display or Watch(), **options)


def numbers(folder, runs):
    """The records of runs without their timings."""
    recorded = [records.read(RunFiles.of(folder / "results", run).records) for run in runs]
    return [
        [{k: v for k, v in record.items() if k not in ("seconds", "started")} for record in run] for run in recorded
    ]


def left(folder):
    """What is in the results folder of the study, hidden files apart."""
    return sorted(path.name for path in (folder / "results" / "tiny").iterdir() if path.name[0] != ".")


def started(folder, *arguments, path=()):
    """Start `deeptwins run tiny` in a process group of its own, as a terminal does."""
    command = [sys.executable, "-m", "deeptwins", "run", "tiny", "--device", "cpu", *arguments]
    return subprocess.Popen(  # noqa: S603  our own command
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, (*path, *sys.path)))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def output_of(process, folder):
    """What a session prints; its patient workers go on as soon as it says that it stops."""
    lines = []
    with process:
        for line in process.stdout:
            lines.append(line)
            if line.startswith("stopping"):
                (folder / "go").touch()
    return "".join(lines)


def wait_for_training(process, folder):
    """Wait until both twins of a run have been evaluated for the first time, long before its end."""
    while not any(path.read_text().count('"epoch"') >= 2 for path in (folder / "results").rglob("*.jsonl")):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)


def descendants(pid):
    """The living processes that a process has started, and those that these have started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
    children = [child for child, parent in parents.items() if parent == pid and alive(child)]
    return children + [grandchild for child in children for grandchild in descendants(child)]


def alive(pid):
    """Whether a process runs; one that has ended may stay in the table until somebody asks how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture(autouse=True)
def _watched_closely(monkeypatch):
    """Tell displays of everything that happens, so that tests can act on it."""
    monkeypatch.setattr(session, "TICK_S", 0.01)


@pytest.fixture
def patient(tmp_path):
    """A folder for the path of Python: workers that have evaluated a run wait for the file `go`, on their disk.

    After that every write takes them longer than they train without listening, so that they hear what is said to them.
    """
    folder = tmp_path / "patient"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        "sync = os.fsync\n"
        "def evaluated():\n"
        "    return any(path.read_text().count('\"epoch\"') >= 2 for path in Path('results').rglob('*.jsonl'))\n"
        "def fsync(file):\n"
        "    if evaluated():\n"
        "        while not Path('go').exists(): time.sleep(0.02)\n"
        f"        time.sleep({2 * workers.REPORT_S})\n"
        "    sync(file)\n"
        "os.fsync = fsync\n"
    )
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The records that one worker leaves when nothing happens; and what the session said."""
    folder = tmp_path_factory.mktemp("undisturbed")
    runs, watch = load(folder).runs, Watch()
    assert train(folder, runs, watch) == Outcome(total=2, done=2, diverged=0, failed=0)
    return folder, watch


@pytest.fixture
def same(tmp_path, undisturbed):
    """Assert that the runs' records are those of the undisturbed session, and that nothing else lies about."""

    def check():
        runs = load(tmp_path).runs
        assert numbers(tmp_path, runs) == numbers(undisturbed[0], runs)
        assert left(tmp_path) == sorted(f"{run.id}.jsonl" for run in runs)

    return check


def test_the_longest_run_comes_first(undisturbed):
    """The deepest nets are trained first; each run's line has its twins' training errors and its time."""
    _, watch = undisturbed

    assert watch.lines[0] == "training 2 runs on cpu, 1 at a time"
    assert [re.sub(r"\d+\.\d %|\(.*(s|min)\)$", "#", line) for line in watch.lines[1:]] == [
        f"cifar-{depth}-seed0  plain #  residual #  #" for depth in (14, 8)
    ]
    fractions = [state.fraction for state in watch.states]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_finished_runs_are_skipped(undisturbed):
    """A second session has nothing to do and changes nothing, but that it sweeps up a checkpoint that a kill left."""
    folder, _ = undisturbed
    runs, watch, before = load(folder).runs, Watch(), numbers(folder, load(folder).runs)
    leftover = RunFiles.of(folder / "results", runs[0]).checkpoint
    leftover.touch()

    assert train(folder, runs, watch) == Outcome(total=2, done=2, diverged=0, failed=0)

    assert watch.lines == ["2 of 2 runs were finished before"]
    assert numbers(folder, runs) == before
    assert not leftover.exists()


@pytest.mark.parametrize(
    ("checksum", "seeds", "status", "told"),
    [
        ("sha256:00", [0], "done", True),
        ("sha256:00", [7], "diverged", True),  # the page shows other seeds, too
        ("sha256:00", [0], None, False),  # it starts over
        (None, [0, 7], "done", False),
    ],
)
def test_other_images_than_those_of_earlier_runs_are_told(tmp_path, checksum, seeds, status, told):
    """Before runs begin it is said that finished runs of the study saw other images."""
    shallow, deep = load(tmp_path).runs
    dataset = data.load("synthetic")
    for seed in seeds:
        first, *lines, end = made.records(shallow.model_copy(update={"seed": seed}))
        first["dataset"] |= {"checksum": checksum or dataset.checksum}
        run = shallow.model_copy(update={"seed": seed})
        made.write(tmp_path / "results", run, [first, *lines, *([end | {"status": status}] if status else [])])
    datasets = {workers.dataset_key(deep): dataset}

    sentences = scheduling._changed([shallow, deep], [deep], tmp_path / "results", datasets)

    assert bool(sentences) == told
    for sentence in sentences:
        assert sentence.startswith("tiny: Not all runs were trained on the same data")
        assert "synthetic has 2 checksums" in sentence


def test_finished_runs_are_finished_where_nothing_can_be_written(undisturbed, monkeypatch):
    """On a read-only file system, whose every change is refused, finished runs are counted and nothing is tried."""

    def read_only(*_arguments, **_options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for change in ("mkdir", "unlink", "rename", "replace"):
        monkeypatch.setattr(os, change, read_only)
    monkeypatch.setattr(disk, "shortcomings", read_only)
    folder, _ = undisturbed
    watch = Watch()

    assert train(folder, load(folder).runs, watch) == Outcome(total=2, done=2, diverged=0, failed=0)

    assert watch.lines == ["2 of 2 runs were finished before"]
    with pytest.raises(InputError, match="results/tiny: Read-only file system; choose"):
        train(folder, load(folder).runs, fresh=True)


def test_a_killed_worker_is_replaced(tmp_path, same):
    """A killed worker is reported and its run given to another; the records do not tell, nor of how many workers."""
    killed = []

    def kill(state):
        if not killed and any(iteration for _, iteration, *_ in state.running):
            killed.append(active_children()[0])
            os.kill(killed[0].pid, signal.SIGKILL)

    watch = Watch(kill)

    assert train(tmp_path, load(tmp_path).runs, watch, workers=2) == Outcome(total=2, done=2, diverged=0, failed=0)

    assert watch.text.count("its worker died (killed by SIGKILL); the run goes on from its checkpoint") == 1
    same()


def deadly(state):
    """Kill all workers once the deeper run has begun: as if it were what they die of."""
    if any(label == "cifar-14-seed0" and iteration for label, iteration, *_ in state.running):
        for process in active_children():
            os.kill(process.pid, signal.SIGKILL)


def test_a_run_that_kills_its_workers_fails(tmp_path, monkeypatch):
    """After so many deaths on one run it is recorded as failed and the others go on; another session tries it again."""
    monkeypatch.setattr(session, "DEATHS", 2)

    runs = load(tmp_path).runs
    watch = Watch(deadly)
    assert train(tmp_path, runs, watch) == Outcome(total=2, done=1, diverged=0, failed=1)

    end = records.read(RunFiles.of(tmp_path / "results", runs[1]).records)[-1]
    assert end["status"] == "failed"
    assert end["reason"] == "2 workers died of it, the last one killed by SIGKILL; too little memory?"
    assert f"cifar-14-seed0  failed: {end['reason']}" in watch.lines
    assert train(tmp_path, runs[1:]).done == 1


def test_runs_trained_together_leave_the_records_of_runs_alone(tmp_path, same, monkeypatch):
    """A worker with two runs in hand trains them by turns, on shared batches, and no number shows it."""
    watch = Watch()

    assert train(tmp_path, load(tmp_path).runs, watch, together=2) == Outcome(total=2, done=2, diverged=0, failed=0)

    assert watch.lines[0] == "training 2 runs on cpu, 2 at a time"
    assert max(len(state.running) for state in watch.states) == 2
    same()


def test_company_is_not_taken_along(tmp_path, monkeypatch):
    """A death takes all runs in hand; then each is trained alone, so that only the one that kills its workers fails."""
    monkeypatch.setattr(session, "DEATHS", 2)

    runs, watch = load(tmp_path).runs, Watch(deadly)

    assert train(tmp_path, runs, watch, together=2) == Outcome(total=2, done=1, diverged=0, failed=1)
    assert records.read(RunFiles.of(tmp_path / "results", runs[1]).records)[-1]["status"] == "failed"
    assert records.read(RunFiles.of(tmp_path / "results", runs[0]).records)[-1]["status"] == "done"


def test_what_needs_all_of_the_memory_is_trained_alone(tmp_path, same, monkeypatch):
    """A run that runs out of memory beside another does not fail: it is trained when it has the device to itself."""
    monkeypatch.setattr(workers, "serve", cramped.serve)
    watch = Watch()

    assert train(tmp_path, load(tmp_path).runs, watch, together=2) == Outcome(total=2, done=2, diverged=0, failed=0)

    (line,) = [line for line in watch.lines if "out of memory" in line]
    assert line.endswith("out of memory beside other runs; it goes on from its checkpoint, alone")
    same()


def test_locks_of_one_process_do_not_drop_each_other(tmp_path):
    """A run that is over leaves the lock of another one of its study, in the same process, in place."""
    folder = tmp_path / "study"
    folder.mkdir()
    ask = (
        "import sys; from pathlib import Path\n"
        "from deeptwins.records import RunFiles; from deeptwins.records.locks import claimed\n"
        "with claimed(RunFiles(Path(sys.argv[1]), 'study', sys.argv[2])) as free: print(free)"
    )

    def free(run_id):
        command = [sys.executable, "-c", ask, tmp_path, run_id]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603

    with claimed(RunFiles(tmp_path, "study", "run-0000000a")) as first:
        with claimed(RunFiles(tmp_path, "study", "run-0000000b")) as second:
            assert first
            assert second
            assert free("run-0000000b") == "False"
        assert free("run-0000000a") == "False"
        assert free("run-0000000b") == "True"
    assert free("run-0000000a") == "True"


def test_a_time_limit_saves_what_is_unfinished(tmp_path, same, monkeypatch):
    """When the time is nearly over, runs in hand are saved, and nothing is trained twice."""
    runs, results, limit = load(tmp_path).runs, tmp_path / "results", time.monotonic() + 3600.0
    watch = Watch()

    def say(line):
        watch.lines.append(line)
        if line.startswith("stopping"):
            (results / "go").touch()

    def late():
        # Once a run has been evaluated the end is near, and time stands still: the machine's speed must not decide.
        return limit - 16.0 if hesitant.evaluated(results) else time.monotonic()

    with monkeypatch.context() as patch:
        patch.setattr(watch, "say", say)
        patch.setattr(workers, "serve", hesitant.serve)
        patch.setattr(session, "time", SimpleNamespace(monotonic=late))
        outcome = train(tmp_path, runs, watch, together=2, deadline=limit)

    assert outcome == Outcome(total=2, done=0, diverged=0, failed=0, out_of_time=True)
    assert watch.lines == ["training 2 runs on cpu, 2 at a time", "stopping: the runs on the workers are saved first"]
    assert [name.rsplit(".", 1)[1] for name in left(tmp_path)] == ["checkpoint", "jsonl"] * 2
    assert train(tmp_path, runs) == Outcome(total=2, done=2, diverged=0, failed=0)
    same()


def test_whoever_is_not_saved_in_time_is_killed(tmp_path, same):
    """At the deadline the session ends, whatever its workers are doing; what they had not saved is trained again."""
    runs, begun = load(tmp_path).runs, time.monotonic()

    outcome = train(tmp_path, runs, deadline=begun + session.PARTING_S)  # over before a worker has started

    assert outcome.out_of_time
    assert outcome.interrupted
    assert not active_children()
    assert train(tmp_path, runs) == Outcome(total=2, done=2, diverged=0, failed=0)
    same()


def test_an_error_fails_its_run_alone(tmp_path, monkeypatch):
    """An exception ends its run with a record and a traceback beside it, and the next run is trained."""
    monkeypatch.setattr(scheduling.checks, "check_sizes", lambda *_: None)  # which would refuse it
    broken = load(tmp_path, BROKEN).runs
    runs = load(tmp_path).runs
    watch = Watch()

    assert train(tmp_path, [*broken, *runs[:1]], watch) == Outcome(total=2, done=1, diverged=0, failed=1)

    end = numbers(tmp_path, broken)[0][-1]
    assert end["status"] == "failed"
    said = r"twin \w+, ValueError: Expected more than 1 value per channel.* \(deeptwins/.*\.py:\d+\)"
    assert re.fullmatch(said, end["reason"])
    log = tmp_path / "results" / "tiny" / f"{broken[0].id}.log"
    assert "Traceback" in log.read_text()
    assert f"failed: {end['reason']} ({log})" in watch.text


OWN = """
import os
import torch
from mypkg.parts import Signum

class Talking(Signum):
    def step(self, closure=None):
        super().step()
        print("stepped\\x1b[2J")

class Leaving(Signum):
    def step(self, closure=None):
        os._exit(3)

class Lost(Signum):
    def step(self, closure=None):
        raise FileNotFoundError("lost")
"""


@pytest.fixture
def folder_of_parts(tmp_path, monkeypatch):
    """The current folder, with parts of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    parts_made.write(tmp_path)
    parts_made.write(tmp_path, OWN, "own")
    with parts_made.forgotten():
        yield tmp_path


def test_parts_of_ones_own_are_trained_by_workers(folder_of_parts):
    """Every example of the documents is trained by a worker; what one prints is a line; an error ends its run alone."""
    parts = "".join(f'{field} = "{name}"\n' for field, name in parts_made.NAMED.items() if field != "optimizer")
    text = (
        parts_made.STUDY.split("[recipe]")[0]
        .replace("20", "8")
        .replace("[0, 1, 2]", "0")
        .replace("seed = ", 'optimizer = ["own:Talking", "own:Leaving", "own:Lost"]\nseed = ')
    )
    text = text.replace("identity = ", 'plain = { shortcut = "none" }\n#').replace("weighted = {", "ours = {")
    fields = parts.replace('shortcut = "mypkg.parts:Weighted"\n', "")
    recipe = "[recipe]\niterations = 2\nbatch_size = 64\nlearning_rate = 0.01\nmomentum = 0.9\nwidth = 4\n"
    runs, watch = load(folder_of_parts, f"{text}{recipe}{fields}").runs, Watch()

    assert train(folder_of_parts, runs, watch) == Outcome(total=3, done=1, diverged=0, failed=2)

    header, *_ = numbers(folder_of_parts, runs)[0]
    assert {*header["parts"]} == {"own:Talking", *parts_made.NAMED.values()} - {parts_made.NAMED["optimizer"]}
    assert (header["dataset"]["classes"], header["dataset"]["image"]) == (3, [1, 8, 6])
    assert watch.lines.count("stepped\\x1b[2J") == 4
    for run, told in zip(runs[1:], ("SystemExit: 3", "FileNotFoundError: lost"), strict=True):
        *_, end = numbers(folder_of_parts, [run])[0]
        assert re.fullmatch(rf"twin plain, {told} \({folder_of_parts}/own.py:\d+\)", end["reason"])
        assert "Traceback" in RunFiles.of(folder_of_parts / "results", run).log.read_text()


def test_runs_that_other_code_made_are_kept_and_told(folder_of_parts):
    """A finished run that other code of one's own made is told, and kept; one that the same code made is not."""
    text = TINY.replace("momentum = 0.9", 'schedule = "own:rate"')
    parts_made.write(folder_of_parts, "def rate(recipe, iteration): return 0.1", "own")
    runs, watch = load(folder_of_parts, text).runs, Watch()
    for run, digest in zip(runs, ("1" * 64, origin("own:rate")["sha256"]), strict=True):
        first, *lines = made.records(run)
        code = {"package": "own", "version": None, "sha256": digest, "commit": None}
        made.write(folder_of_parts / "results", run, [first | {"parts": {"own:rate": code}}, *lines])
    before = numbers(folder_of_parts, runs)

    assert train(folder_of_parts, runs, watch) == Outcome(total=2, done=2, diverged=0, failed=0)

    now = origin("own:rate")["sha256"][:7]
    assert watch.lines == [
        f"tiny: 1 finished run was made by another own (1111111 -> {now}): kept; --fresh trains it anew",
        "2 of 2 runs were finished before",
    ]
    assert numbers(folder_of_parts, runs) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BROKEN, "tiny: recipe.batch_size = 1: the last stage of plain leaves one pixel of an image, and batch"),
        (
            BROKEN.replace("batch_size = 1", "batch_size = 64").replace('"zero-pad"', '"zero-pad", norm_batch = 1'),
            "tiny: twins.residual.norm_batch = 1: the last stage of residual leaves one pixel",
        ),
        (
            TINY.replace("shift = 1", "shift = 8"),
            "tiny: recipe.shift = 8: must be less than the images are high and wide; those of synthetic are 8x8",
        ),
    ],
)
def test_what_does_not_go_with_the_images_is_refused_before_anything_runs(tmp_path, text, message):
    """A batch of one value a channel, or a shift out of sight, is one line, and no record is left."""
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        train(tmp_path, load(tmp_path, text).runs)

    assert "\n" not in str(refused.value)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("old", "new"), [("shift = 1", "shift = 7"), ("batch_size = 64", "batch_size = 1")])
def test_what_goes_with_the_images_is_trained(tmp_path, old, new):
    """One image a batch will do where the last stage has more than one pixel, and a shift that leaves one in sight."""
    runs = load(tmp_path, TINY.replace(old, new).replace("[8, 14]", "8")).runs

    assert train(tmp_path, runs).done == 1


def test_what_is_noted_of_a_dataset_is_said(tmp_path, monkeypatch):
    """What a user must know of a dataset is said once, before it is trained on, though two of its sizes are loaded."""
    noted = replace(scheduling.data.load("synthetic"), notes=("left out: 1 hidden",))
    monkeypatch.setattr(scheduling.data, "load", lambda *_: noted)
    monkeypatch.setattr(scheduling, "Session", lambda *_: SimpleNamespace(work=lambda: None, out_of_time=False))
    sizes = TINY.replace('"cifar"\n', '"cifar"\nimage_size = [8, 16]\n')
    watch = Watch()

    train(tmp_path, load(tmp_path, sizes).runs, watch)

    assert watch.lines == ["synthetic: left out: 1 hidden", "training 4 runs on cpu, 1 at a time"]


@pytest.mark.parametrize("native", [True, False, None])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_precision_that_is_imitated_is_told_once(tmp_path, monkeypatch, native, precision):
    """A processor that is known to lack bf16 trains in it, slowly: one line says so, and none in any other case."""
    monkeypatch.setattr(host, "native_bf16", lambda: native)
    monkeypatch.setattr(scheduling, "Session", lambda *_: SimpleNamespace(work=lambda: None, out_of_time=False))
    watch = Watch()

    train(tmp_path, load(tmp_path, TINY.replace('"cifar"\n', f'"cifar"\nprecision = "{precision}"\n')).runs, watch)

    told = ["precision bf16: this processor has no instructions for it and imitates it, many times as slowly as fp32"]
    assert watch.lines[1:] == (told if (native, precision) == (False, "bf16") else [])


def test_ctrl_c_leaves_a_state_that_resumes(tmp_path, patient, same):
    """Ctrl-C saves the runs on the workers, says how to go on, and exits with 130; going on changes no number."""
    load(tmp_path)
    first = started(tmp_path, "--workers", "1", path=[patient])
    wait_for_training(first, tmp_path)
    for number in (signal.SIGINT, *signals.STOPPING[2:]):  # warnings after it are no impatience, and end no worker
        os.killpg(first.pid, number)
    output = output_of(first, tmp_path)

    assert first.returncode == 130
    assert output.endswith(
        "0 of 2 runs are finished, and nothing is lost. To go on:\n"
        f"  {sys.executable} -m deeptwins run tiny --device cpu --workers 1\n"
    )
    assert not re.search(r"[\x00-\x09\x0b-\x1f]|Traceback", output)
    assert [name.rsplit(".", 1)[1] for name in left(tmp_path)] == ["checkpoint", "jsonl"]
    assert train(tmp_path, load(tmp_path).runs) == Outcome(total=2, done=2, diverged=0, failed=0)
    same()


@pytest.mark.parametrize("asked", signals.ASKED)
def test_only_who_asks_twice_is_obeyed_at_once(asked):
    """Warnings of terminals and schedulers may come as often as they like: the runs in hand are saved."""
    told = session.Session(Jobs([], Counter()), None, Watch())
    with signals.handled(told._note):
        for number in (*signals.STOPPING[2:], *signals.STOPPING[2:]):
            os.kill(os.getpid(), number)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(asked)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc, to find a session's workers")
def test_a_killed_session_leaves_nothing_but_work_to_do(tmp_path, same):
    """When a session is killed its workers end with it; a new one goes on and leaves the same records."""
    runs = load(tmp_path).runs
    first = started(tmp_path, "--workers", "1")
    wait_for_training(first, tmp_path)
    workers = descendants(first.pid)
    first.kill()
    first.communicate()
    outcome = train(tmp_path, runs)

    assert workers
    assert not any(map(alive, workers))
    assert outcome == Outcome(total=2, done=2, diverged=0, failed=0)
    same()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends a process with the one that started it")
def test_a_command_leaves_no_process_that_holds_its_output(tmp_path):
    """Where a command ends while the process that workers are forked from still imports, that ends with it."""
    load(tmp_path, TINY.replace('"synthetic"', '"folder:nowhere"'))
    endless = tmp_path / "endless"
    endless.mkdir()
    (endless / "sitecustomize.py").write_text(
        "import sys, time\n"
        "class Endless:\n"
        "    def find_spec(self, name, *_):\n"
        "        while name == 'torch': time.sleep(1)\n"
        "if 'forkserver' in sys.orig_argv[-1]: sys.meta_path.insert(0, Endless())\n"
    )

    process = started(tmp_path, path=[endless])
    output = process.communicate()[0]  # all of it: until nobody can write any more

    assert process.returncode == 2
    assert "nowhere" in output


def test_runs_that_another_session_has_are_looked_at_later(tmp_path, undisturbed, same, monkeypatch):
    """Claimed runs are put off; later, one that was finished counts as done, and one that was not is taken over."""
    monkeypatch.setattr(session, "AGAIN_S", 0.1)
    shallow, deep = load(tmp_path).runs
    results = tmp_path / "results"
    results.joinpath("tiny").mkdir(parents=True)
    with contextlib.ExitStack() as lock:

        def release(state):
            if state.elsewhere == 2:
                path = RunFiles.of(undisturbed[0] / "results", deep).records
                RunFiles.of(results, deep).records.write_bytes(path.read_bytes())
                lock.close()

        assert lock.enter_context(claimed(*(RunFiles.of(results, run) for run in (shallow, deep))))
        watch = Watch(release)
        assert train(tmp_path, [shallow, deep], watch) == Outcome(total=2, done=2, diverged=0, failed=0)

    assert sorted(watch.lines[1:3]) == [
        f"cifar-{depth}-seed0: another deeptwins trains it; this one looks again later" for depth in (14, 8)
    ]
    assert {label for state in watch.states for label, iteration, *_ in state.running if iteration} == {"cifar-8-seed0"}
    same()


def test_fresh_starts_the_chosen_runs_over(tmp_path, undisturbed):
    """`fresh` deletes what the chosen runs have left behind, and nothing of the others."""
    runs = load(tmp_path).runs
    folder = tmp_path / "results" / "tiny"
    folder.mkdir(parents=True)
    for run in runs:
        path = RunFiles.of(tmp_path / "results", run).records
        header, *rest = records.read(RunFiles.of(undisturbed[0] / "results", run).records)
        records.append(path, header | {"old": 1}, *rest)
    for suffix in ("checkpoint", "checkpoint.part", "corrupt", "jsonl.part", "log"):
        (folder / f"{runs[0].id}.{suffix}").write_bytes(b"old")

    assert train(tmp_path, runs[:1], fresh=True).done == 1

    assert [records[0].get("old") for records in numbers(tmp_path, runs)] == [None, 1]
    assert left(tmp_path) == sorted(f"{run.id}.jsonl" for run in runs)


def test_fresh_never_leaves_a_checkpoint_without_its_records(tmp_path, monkeypatch):
    """Killed between any two deletions, `fresh` has not left a checkpoint from which new records would be resumed."""
    runs = load(tmp_path).runs[:1]
    folder, unlink = tmp_path / "results" / "tiny", Path.unlink
    folder.mkdir(parents=True)
    checkpoint = RunFiles.of(tmp_path / "results", runs[0]).checkpoint
    record = RunFiles.of(tmp_path / "results", runs[0]).records
    for path in (checkpoint, record):
        path.write_bytes(b"old")
    seen = []

    def noted(path, *, missing_ok=False):
        unlink(path, missing_ok=missing_ok)
        seen.append((checkpoint.exists(), record.exists()))

    monkeypatch.setattr(Path, "unlink", noted)
    scheduling._start_over(runs, tmp_path / "results")

    assert seen[-1] == (False, False)
    assert (True, False) not in seen


def test_fresh_touches_nothing_that_is_being_trained(tmp_path, monkeypatch):
    """With `fresh` and a run that another session trains, nothing is deleted, of no run."""

    @contextlib.contextmanager
    def busy(*files):
        yield runs[1].id not in {of_run.id for of_run in files}

    runs = load(tmp_path).runs
    (tmp_path / "results" / "tiny").mkdir(parents=True)
    for run in runs:
        RunFiles.of(tmp_path / "results", run).checkpoint.write_bytes(b"old")
    monkeypatch.setattr(scheduling, "claimed", busy)

    with pytest.raises(InputError, match="--fresh: another deeptwins trains runs of study tiny"):
        train(tmp_path, runs, fresh=True)

    assert left(tmp_path) == sorted(f"{run.id}.checkpoint" for run in runs)


def test_a_newer_record_stops_everything(tmp_path):
    """Records of a newer deeptwins are left alone, even with `fresh`, and no run is trained."""
    runs = load(tmp_path).runs
    path = RunFiles.of(tmp_path / "results", runs[0]).records
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"kind": "run", "schema": records.SCHEMA + 1}) + "\n")

    with pytest.raises(InputError, match="schema 2"):
        train(tmp_path, runs, fresh=True)

    assert left(tmp_path) == [path.name]


def test_results_that_cannot_be_written_are_noticed_first(tmp_path):
    """A results folder that cannot be made stops the session before anything is trained, in a line that names it."""
    (tmp_path / "file").touch()

    with pytest.raises(InputError, match=r"file/results/tiny.*: Not a directory"):
        train(tmp_path, load(tmp_path).runs, results=tmp_path / "file" / "results")


@pytest.mark.parametrize("fresh", [False, True])
def test_what_a_file_system_lacks_is_told_once(tmp_path, monkeypatch, fresh):
    """Without locks and syncs, studies are trained, after a line for each that says what is lost; also with `fresh`."""

    def refused(*_arguments):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "fsync", refused)
    monkeypatch.setattr(fcntl, "lockf", refused)
    monkeypatch.setattr(scheduling.Session, "work", lambda _: None)
    watch = Watch()

    train(tmp_path, [run for name in ("tiny", "other") for run in load(tmp_path, name=name).runs], watch, fresh=fresh)

    assert [line.split(":")[:2] for line in watch.lines[:-1]] == [
        [str(tmp_path / "results"), " this file system cannot sync"],
        [str(tmp_path / "results"), " this file system has no locks"],
    ]
    assert watch.lines[-1] == "training 4 runs on cpu, 1 at a time"


def test_a_folder_without_a_working_lock_is_noticed_first(tmp_path, monkeypatch):
    """An error of a lock that is no lack of locks stops the session before anything is trained, in one line."""

    def broken(*_arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "lockf", broken)

    with pytest.raises(InputError, match=r"results/tiny: Input/output error; choose .* with --results DIR"):
        train(tmp_path, load(tmp_path).runs, fresh=True)


def test_a_full_disk_is_noticed_first(tmp_path, monkeypatch):
    """A results folder in which nothing fits stops the session before anything is trained, and no probe stays."""

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(InputError, match="results/tiny: No space left on device"):
        train(tmp_path, load(tmp_path).runs)

    assert left(tmp_path) == []


def test_a_disk_that_fills_up_stops_the_session(tmp_path):
    """When records can no longer be written the session stops, and says so in one line."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    forking.start()
    forkers = descendants(os.getpid())  # from whom workers inherit it

    def limit(size):
        for pid in forkers:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, most))

    limit(3000)
    try:
        with pytest.raises(InputError, match=r"File too large; 0 of 2 runs are finished and stay; mend this"):
            train(tmp_path, load(tmp_path).runs)
    finally:
        limit(most)

    assert not active_children()


def test_a_worker_that_cannot_be_started_is_one_line(tmp_path, monkeypatch):
    """Where the system starts no process the session ends in one line, and nothing is lost."""

    def refused(_process):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(ForkServerProcess, "start", refused)

    with pytest.raises(InputError, match=r"^no worker can be started: .*temporarily unavailable$"):
        train(tmp_path, load(tmp_path).runs)


def test_the_display_is_not_redrawn_at_every_message(tmp_path, monkeypatch):
    """However many messages come in, what is shown is redrawn at its own pace, and once more at the end."""
    monkeypatch.setattr(session, "TICK_S", 1000.0)
    watch = Watch()

    train(tmp_path, load(tmp_path).runs, watch, workers=2)

    assert [state.done for state in watch.states] == [0, 2]


def test_runs_are_named_as_shortly_as_tells_them_apart(tmp_path):
    """Runs of the same nets and seed keep their hash; with several studies, the study comes first."""
    alike = load(tmp_path, TINY.replace("seed = 0", "seed = 0\nwidth = [4, 8]").replace("\nwidth = 4", "")).runs
    other = load(tmp_path, name="other").runs

    assert scheduling._labels(other) == ["cifar-8-seed0", "cifar-14-seed0"]
    assert scheduling._labels(alike) == [run.id for run in alike]
    assert scheduling._labels([*alike[:1], *other[1:]]) == ["tiny/cifar-8-seed0", "other/cifar-14-seed0"]

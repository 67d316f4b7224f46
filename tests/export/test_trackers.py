"""Trackers: the real clients, where they are installed (`tox -e export` installs them), and without them."""

import json
import struct
import subprocess
import sys
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

import made
from deeptwins.export import mlflow_runs, targets, trackers, wandb_runs
from deeptwins.system.invocation import installing
from refusals import refused

pytestmark = pytest.mark.filterwarnings("ignore")  # of clients, and of what they bring


def of_tensorboard(out, study):
    """What TensorBoard reads: metrics, settings and status of each run, by its folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415  if it is installed
    from tensorboard.plugins.hparams import metadata  # noqa: PLC0415

    kept = {}
    for file in out.rglob("events*"):
        events = EventAccumulator(str(file.parent), size_guidance={"scalars": 0}).Reload()
        metrics = {tag: [(at.step, at.value) for at in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        hparams = events.PluginTagToContent("hparams")
        start = metadata.parse_session_start_info_plugin_data(hparams[metadata.SESSION_START_INFO_TAG]).hparams
        values = {key: value.string_value or value.number_value for key, value in start.items()}
        status = {True: "done", False: "unfinished"}[metadata.SESSION_END_INFO_TAG in hparams]
        kept["/".join(file.parent.relative_to(out).parts)] = (metrics, values, status)
    return kept


def of_mlflow(out, study):
    """What MLflow's client finds."""
    import mlflow  # noqa: PLC0415

    client = mlflow.MlflowClient(f"sqlite:///{out}/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name(f"deeptwins-{study.name}").experiment_id])
    return {
        run.data.tags["deeptwins.unit"]: (
            {
                key: [(at.step, at.value) for at in client.get_metric_history(run.info.run_id, key)]
                for key in run.data.metrics
            },
            run.data.params,
            {"FINISHED": "done", "RUNNING": "unfinished"}[run.info.status],
        )
        for run in found
    }


def of_trackio(out, study):
    """What trackio's interface finds."""
    import trackio  # noqa: PLC0415
    from trackio.sqlite_storage import SQLiteStorage  # noqa: PLC0415

    kept = {}
    for run in trackio.Api().runs(f"deeptwins-{study.name}"):
        metrics = defaultdict(list)
        for row in SQLiteStorage.get_logs(run.project, run.name, run_id=run.id):
            for key in row.keys() - {"step", "timestamp"}:
                metrics[key].append((row["step"], row[key]))
        metrics = {key: sorted(values) for key, values in metrics.items()}
        kept[f"{study.name}/{run.name.replace(' ', '/')}"] = (metrics, run.config, run.config["status"])
    return kept


def records_of(file):
    """Yield the records of a file of W&B, which has LevelDB's log format behind seven bytes of its own."""
    content, at, whole = file.read_bytes(), 7, b""
    while at < len(content):
        if (left := 2**15 - at % 2**15) < 7:
            at += left  # a block's end is filled up
        size, kind = struct.unpack_from("<HB", content, at + 4)
        whole += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in {1, 4}:  # whole, or its last part
            yield whole
            whole = b""


def of_wandb(out, study):
    """What lies in the files that `wandb sync` uploads."""
    from wandb.proto import wandb_internal_pb2  # noqa: PLC0415

    kept = {}
    for file in out.glob("wandb/offline-run-*/*.wandb"):
        metrics, about, status = defaultdict(list), {}, "unfinished"
        for data in records_of(file):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.HasField("run"):
                about = {item.key: json.loads(item.value_json) for item in record.run.config.update}
            elif record.HasField("history"):
                row = {
                    "/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item
                }
                for key in row.keys() - {"_step", "_timestamp", "_runtime"}:
                    metrics[key].append((row["_step"], row[key]))
            elif record.HasField("summary"):
                told = {item.key: json.loads(item.value_json) for item in record.summary.update}
                status = told.get("status", status)
        kept[f"{study.name}/{about['run']}/{about['twin']}"] = (dict(metrics), about, status)
    return kept


CLIENTS = {"tensorboard": of_tensorboard, "mlflow": of_mlflow, "trackio": of_trackio, "wandb": of_wandb}
RUN = '[[vary]]\nfamily = "cifar"\ndepth = 8\nseed = [0, 1]\n'


@pytest.fixture(params=CLIENTS)
def client(request, tmp_path, monkeypatch):
    """The name of a client that is installed, whose files lie in a folder of their own."""
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed; `tox -e export` installs it")
    monkeypatch.chdir(tmp_path)
    if request.param == "trackio":  # which looks where it is told when it is imported
        for name in [name for name in sys.modules if name.split(".")[0] == "trackio"]:
            monkeypatch.delitem(sys.modules, name)
    return request.param


def test_a_tracker_has_what_the_records_have(client, tmp_path):
    """Every net is a run with its metrics by iteration, settings and status; twice exported, each is there once.

    Then a run that was unfinished goes on to its end, and one that was trained anew takes the place of the old one.
    """
    study, results, out = made.small(tmp_path, grid=RUN), tmp_path / "results", tmp_path / "out"

    def export():
        place = targets.place(client, str(out), results, study)
        told = place.target.take(study, results, sorted(results.rglob("*.jsonl")))
        place.target.close()
        return [*told.values()]

    def kept():
        found = CLIENTS[client](out, study)
        assert sorted(found) == sorted(f"small/{run.id}/{twin}" for run in study.runs for twin in run.twins)
        return {(name.split("/")[1], name.split("/")[2]): value for name, value in found.items()}

    def check(run, lines):
        for twin in run.twins:
            metrics, about, status = kept()[run.id, twin]
            its = [line for line in lines if line.get("twin") == twin and line["kind"] == "epoch"]
            for key in ("train_error_pct", "test_loss"):
                assert dict(metrics[key]) == pytest.approx({line["iteration"]: line[key] for line in its})
                assert len(metrics[key]) == len(its)
            over = lines[-1]["kind"] == "end"
            assert ("final/test_error_pct" in metrics) == over
            if over:
                assert dict(metrics["final/test_error_pct"]) == pytest.approx({240: its[-1]["test_error_pct"]})
            assert status == ("done" if over else "unfinished")
            assert (float(about["seed"]), about["shortcut"]) == (run.seed, run.twins[twin].shortcut)
            assert about["commit"] == lines[0]["commit"]

    done, going = study.runs
    made.write(results, done, made.records(done))
    half = [line for line in made.records(going, status=None) if line.get("iteration", 0) <= 60]
    made.write(results, going, half)
    assert export() == ["new"] * 4
    check(done, made.records(done))
    check(going, half)
    before = kept()
    assert export() == ["the same"] * 4
    assert kept() == before

    made.write(results, going, made.records(going))
    anew = made.records(done, lambda *_: 50.0)
    anew[0] |= {"started": "2026-12-01T00:00:00Z", "commit": "def5678"}
    made.write(results, done, anew)
    assert {*export()} <= {"changed", "replaced"}
    check(going, made.records(going))
    check(done, anew)
    assert export() == ["the same"] * 4
    assert sorted(path.name for path in results.rglob("*") if path.is_file()) == sorted(
        f"{run.id}.jsonl" for run in study.runs
    )
    assert {path.name for path in tmp_path.iterdir()} == {"small.toml", "results", "out"}


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_that_is_not_installed_is_named(tmp_path, monkeypatch, name):
    """Where a client is missing, the error names it and the extra that brings it; nothing is written."""
    monkeypatch.chdir(tmp_path)
    for loaded in [loaded for loaded in sys.modules if loaded.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, name, None)
    study = made.small(tmp_path)

    assert refused(targets.place, name, None, tmp_path / "results", study) == (
        f"{name} is not installed; it comes with the extra deeptwins[{name}]: {installing(name)}"
    )
    assert {path.name for path in tmp_path.iterdir()} == {"small.toml"}


@pytest.mark.parametrize(
    ("name", "out"),
    [
        ("csv", "results"),
        ("tensorboard", "results/small/x"),
        ("wandb", "x/../results"),
        ("mlflow", "results/m"),
        ("mlflow", "sqlite:///results/m.db"),
        ("mlflow", "file://{here}/results/m"),
    ],
)
def test_no_export_lies_among_results(tmp_path, monkeypatch, name, out):
    """A folder or file in the folder of results is refused, whatever it is called."""
    monkeypatch.chdir(tmp_path)
    out = out.format(here=tmp_path)

    assert refused(targets.place, name, out, tmp_path / "results", made.small(tmp_path)) == (
        f"--out {out}: in {tmp_path}/results, where records alone may lie; choose another folder"
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionError("no\nserver"), "store: ConnectionError: no server; nothing is lost"),
        (RuntimeError(), "store: RuntimeError; nothing is lost"),
    ],
)
def test_what_a_client_objects_to_is_one_line(error, said):
    """An error of a client is told in a line that names it; one of a file names that, as everywhere."""

    class Fails:
        def left(self, _unit):
            raise error

    tracked = trackers.Tracked("store", Fails)

    def hand():
        with trackers.calling("store"):
            tracked._hand(object())

    assert refused(hand) == said
    error = FileNotFoundError(2, "No such file or directory", "x")
    with pytest.raises(FileNotFoundError):
        hand()


@pytest.mark.parametrize(
    ("given", "where", "shown_by"),
    [
        ((None, None), "sqlite:///exports/mlflow/mlflow.db", "sqlite:///exports/mlflow/mlflow.db"),
        ((None, "databricks"), "databricks", ""),
        ((None, "http://127.0.0.1:9"), "http://127.0.0.1:9", ""),
        ((None, "my runs"), "my runs", "'my runs'"),
        (("a b", "databricks"), "sqlite:///a b/mlflow.db", "'sqlite:///a b/mlflow.db'"),
        (("databricks", None), "databricks", ""),
    ],
)
def test_the_store_of_mlflow_is_the_one_that_is_named(tmp_path, monkeypatch, given, where, shown_by):
    """Without --out it is what MLflow's variable says, as MLflow reads it; what shows it can be typed as it is."""
    out, variable = given
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if variable:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
    opened = []
    monkeypatch.setattr(targets, "MlflowRuns", opened.append)

    place = targets.place("mlflow", out, tmp_path / "results", made.small(tmp_path))

    assert (place.where, place.shown_by) == (where, shown_by and f"mlflow server --backend-store-uri {shown_by}")
    assert opened == [where.replace("sqlite:///", f"sqlite:///{tmp_path}/")]


LOCKS = "import fcntl, sys; file = open(sys.argv[1], 'ab'); fcntl.lockf(file, fcntl.LOCK_EX, 1, 0); print(); input()"


@pytest.mark.parametrize(
    ("name", "lock"), [("EventFiles", "out/.small.lock"), ("MlflowRuns", "out/mlflow.db.small.lock")]
)
def test_two_exports_of_a_study_to_one_place_do_not_write_at_once(tmp_path, monkeypatch, name, lock):
    """While another process has it, an export is refused in a line; when that has ended, it goes."""
    study, path = made.small(tmp_path), tmp_path / lock
    monkeypatch.setattr(targets, name, lambda _: None)
    form = {"EventFiles": "tensorboard", "MlflowRuns": "mlflow"}[name]
    path.parent.mkdir()
    said = f"{path}: another export of this study to there is under way; it has the same numbers"

    with subprocess.Popen([sys.executable, "-c", LOCKS, path], stdin=-1, stdout=-1) as other:  # noqa: S603
        other.stdout.readline()
        assert refused(targets.place, form, str(tmp_path / "out"), tmp_path / "results", study) == said
        other.communicate(b"\n")
    targets.place(form, str(tmp_path / "out"), tmp_path / "results", study)


def test_an_offline_run_that_a_kill_has_left_goes_when_its_run_was_begun_anew(tmp_path, monkeypatch):
    """Else `wandb sync` would upload both, the torn one and the whole one."""
    study, results = made.small(tmp_path, grid=made.ONE_DEPTH), tmp_path / "results"

    def init(id, dir, **_):  # noqa: A002  the client's names
        Path(dir, "wandb", f"offline-run-1-{id}").mkdir()
        return SimpleNamespace(log=lambda *_, **__: None, summary={}, finish=lambda: None)

    wandb = SimpleNamespace(Settings=lambda **_: None, init=init)
    monkeypatch.setattr(wandb_runs, "client", lambda *_: wandb)
    for commit, kill in (("abc", True), ("def", False)):
        lines = made.records(study.runs[0], status=None if kill else "done")
        path = made.write(results, study.runs[0], [lines[0] | {"commit": commit}, *lines[1:]])
        place = targets.place("wandb", str(tmp_path), results, study)
        place.target.take(study, results, [path])
        if not kill:
            place.target.close()

    assert len([*tmp_path.glob("wandb/offline-run-*")]) == len(study.runs[0].twins)


def test_a_store_that_mlflow_does_not_finish_is_not_left_behind(tmp_path, monkeypatch):
    """A full disk or a kill, while MLflow makes its tables, leaves no file that it could never open again."""

    class Full:
        def __init__(self, tracking_uri):
            Path(tracking_uri.removeprefix("sqlite:///")).write_bytes(b"half")

        def search_experiments(self, max_results):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(mlflow_runs, "client", lambda *_: SimpleNamespace(MlflowClient=Full))
    said = refused(targets.place, "mlflow", str(tmp_path / "out"), tmp_path / "results", made.small(tmp_path))

    assert said == "mlflow: OSError: [Errno 28] No space left on device; nothing is lost"
    assert not [*tmp_path.joinpath("out").iterdir()]

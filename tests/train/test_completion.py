"""From wherever a run stands to its end: records, exact resume, divergence as a result."""

import hashlib
import json
import math
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import parts_made
import tiny
from deeptwins import records
from deeptwins.records import RunFiles
from deeptwins.train import checkpoints, completion, device, training
from tiny import complete

RUN = tiny.run_of(residual="zero-pad")  # of one net, where another would make no difference


@pytest.fixture
def results(tmp_path):
    """A results folder with the study's folder in it."""
    tmp_path.joinpath("tiny").mkdir()
    return tmp_path


@pytest.fixture(scope="module")
def undisturbed(dataset, tmp_path_factory):
    """Where the results of a run lie that nothing disturbs: each is trained once."""
    folders = {}

    def folder_of(run):
        if run.id not in folders:
            folders[run.id] = tmp_path_factory.mktemp("undisturbed")
            folders[run.id].joinpath("tiny").mkdir()
            assert complete(run, dataset, tiny.CPU, folders[run.id]) == "done"
        return folders[run.id]

    return folder_of


@pytest.fixture(scope="module")
def begun(dataset, tmp_path_factory):
    """A function that leaves, in a results folder, a run that was stopped after an iteration: each is trained once."""
    folders = {}

    def begin(results, run, iteration):
        if (run.id, iteration) not in folders:
            folders[run.id, iteration] = folder = tmp_path_factory.mktemp("begun")
            folder.joinpath("tiny").mkdir()
            assert complete(run, dataset, tiny.CPU, folder, lambda t: t < iteration) == "stopped"
        shutil.copytree(folders[run.id, iteration], results, dirs_exist_ok=True)

    return begin


def numbers(results, run):
    """The records of a run without their timings."""
    rows = records.read(RunFiles.of(results, run).records)
    return [{key: value for key, value in row.items() if key not in ("seconds", "started")} for row in rows]


def test_leaves_the_records_of_every_twin(dataset, undisturbed):
    """A finished run holds its header, epochs and gradients a twin and evaluation, what is inside, and the end."""
    run = tiny.run_of()
    rows = numbers(undisturbed(run), run)

    header, end = rows[0], rows[-1]
    assert header["spec"] == json.loads(run.model_dump_json())
    assert header["dataset"]["checksum"] == dataset.checksum
    assert [header["dataset"][key] for key in ("classes", "commonest")] == [10, 52]
    assert header["twins"]["plain"] == header["twins"]["residual"]
    assert end == {"kind": "end", "status": "done", "reason": None}
    evaluated = [(record["iteration"], record["twin"]) for record in rows if record["kind"] == "epoch"]
    assert evaluated == [(t, twin) for t in (8, 16, 20) for twin in ("plain", "residual")]  # 512 images, batch 64
    gradients = [record for record in rows if record["kind"] == "gradient"]
    assert [(record["iteration"], record["twin"]) for record in gradients] == evaluated
    assert all(len(record["norms"]) == 8 and min(record["norms"]) > 0 for record in gradients)
    assert [record["layer"] for record in rows if record["kind"] == "layer"] == [*range(1, 8)] * 2
    assert [record["block"] for record in rows if record["kind"] == "block"] == [1, 2, 3] * 2
    assert [record["twin"] for record in rows if record["kind"] == "precise"] == ["plain", "residual"]
    assert not RunFiles.of(undisturbed(run), run).checkpoint.exists()


def test_what_is_noted_of_the_dataset_is_recorded(dataset, results):
    """The header has what a user must know of how the dataset's files were read."""
    noted = replace(dataset, notes=("left out: 1 hidden",))

    assert complete(RUN, noted, tiny.CPU, results, go_on=lambda _: False) == "stopped"

    assert records.read(RunFiles.of(results, RUN).records)[0]["dataset"]["notes"] == ["left out: 1 hidden"]


def test_company_changes_nothing(undisturbed):
    """A twin trained alone leaves the numbers that it leaves beside another."""
    both, alone = tiny.run_of(), tiny.run_of(plain="none")

    kinds = ("epoch", "gradient", "layer", "block", "precise")
    ours = [r for r in numbers(undisturbed(both), both) if r["kind"] in kinds and r["twin"] == "plain"]
    assert ours == [r for r in numbers(undisturbed(alone), alone) if r["kind"] in kinds]


DRAWS = {"shortcut": "dropout", "survival": 0.5}
KINDS = {
    "sgd": tiny.run_of(),
    "adam": tiny.run_of(tiny.RECIPE.model_copy(update={"optimizer": "adam", "momentum": 0.0, "learning_rate": 0.01})),
    "draws": tiny.run_with(one=DRAWS, other={"shortcut": "shortcut-gate", "survival": 0.5}),
    "growth": tiny.run_with(
        tiny.RECIPE.model_copy(update={"grow_at": 10}),
        plain={"depth": 14, "grown_from": 8},
        residual={"depth": 14, "grown_from": 8, "shortcut": "zero-pad", "initialization": "rezero"},
        deep={"depth": 14},
    ),
    "growth with adam": tiny.run_with(
        tiny.RECIPE.model_copy(update={"grow_at": 10, "optimizer": "adam", "momentum": 0.0}),
        plain={"depth": 14, "grown_from": 8},
    ),
    "parts": tiny.run_with(one={"shortcut": "projections", "norm_batch": 16}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_is_undisturbed(dataset, results, undisturbed, kind):
    """Stopped after any iteration a run resumes bit for bit, whatever it carries: moments, draws, nets that grow."""
    run, asked = KINDS[kind], []

    for stop in (1, 8, 9, 10, 11, 19, 20):  # at, before and after an evaluation, growth and the end
        torch.manual_seed(stop)  # as in another process, whose generator stands elsewhere
        go_on = lambda t, stop=stop: asked.append(t) or t < stop  # noqa: E731
        assert complete(run, dataset, tiny.CPU, results, go_on) == "stopped"
    torch.rand(5)
    assert complete(run, dataset, tiny.CPU, results, lambda t: asked.append(t) or True) == "done"

    assert asked == list(range(1, 21))  # nothing is trained twice
    assert numbers(results, run) == numbers(undisturbed(run), run)
    growths = [record["iteration"] for record in numbers(results, run) if record["kind"] == "growth"]
    assert growths == [10] * sum(net.grown_from is not None for net in run.twins.values())


def test_every_twin_is_evaluated_before_any_grows(undisturbed):
    """The errors of all twins are recorded at the iteration of growth, though no epoch ends there, and before it."""
    run = KINDS["growth"]
    rows = numbers(undisturbed(run), run)

    kinds = [record["kind"] for record in rows if record.get("iteration") == run.recipe.grow_at]

    assert kinds[: len(run.twins)] == ["epoch"] * len(run.twins)
    assert "growth" in kinds[len(run.twins) :]


def go_on_recording(path, whole):
    """Write a run's records on, up to some of those of an undisturbed one, and a torn line."""
    records.append(path, *whole[len(records.read(path)) :])
    path.write_bytes(path.read_bytes() + b'{"kind":"epoch","iter')


@pytest.mark.parametrize("more", [0, 1, 2])
def test_killed_while_it_grows_is_undisturbed(dataset, results, undisturbed, begun, more):
    """Killed before, between or after the records of growth, without its checkpoint, a run leaves the same records."""
    run = KINDS["growth"]
    whole = records.read(RunFiles.of(undisturbed(run), run).records)
    first = next(i for i, record in enumerate(whole) if record["kind"] == "growth")
    begun(results, run, 7)
    go_on_recording(RunFiles.of(results, run).records, whole[: first + more])

    complete(run, dataset, tiny.CPU, results)

    assert numbers(results, run) == numbers(undisturbed(run), run)


class Killed(BaseException):
    """A kill, as seen from inside."""


def killed_at(iteration):
    """Make a go_on that ends the process, as it were, after an iteration."""

    def go_on(t):
        if t == iteration:
            raise Killed
        return True

    return go_on


def test_killed_after_a_checkpoint_goes_on_from_it(dataset, results, undisturbed, monkeypatch):
    """Checkpoints are taken while a run goes on, and a killed run goes on from the last of them."""
    asked = []
    monkeypatch.setattr(completion, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(completion, "CHECKPOINT_SHARE", math.inf)

    with pytest.raises(Killed):
        complete(RUN, dataset, tiny.CPU, results, killed_at(10))
    complete(RUN, dataset, tiny.CPU, results, lambda t: asked.append(t) or True)

    assert asked[0] == 10
    assert numbers(results, RUN) == numbers(undisturbed(RUN), RUN)


@pytest.mark.parametrize(
    ("every", "share", "waits", "writes", "expected"),
    [(2.0, 0.15, 0.0, 0.75, [2, 7, 12, 17]), (5.0, completion.CHECKPOINT_SHARE, 3.0, 0.0, [5, 10, 15, 20])],
    ids=["writing takes long", "the device is waited for"],
)
def test_writing_checkpoints_takes_no_more_than_its_share(  # noqa: PLR0913, PLR0917  numbers of the table
    dataset, results, monkeypatch, every, share, waits, writes, expected
):
    """Those that take long to write come less often; waiting for what the device has still to do is no writing."""
    clock, saved, state = SimpleNamespace(now=0.0), [], training.Training.state

    def passing(seconds, given=None):
        clock.now += seconds
        return given

    monkeypatch.setattr(completion, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(completion, "CHECKPOINT_SECONDS", every)
    monkeypatch.setattr(completion, "CHECKPOINT_SHARE", share)
    monkeypatch.setattr(training.Training, "state", lambda self: passing(waits, state(self)))
    monkeypatch.setattr(checkpoints, "save", lambda _files, state: passing(writes, saved.append(state["iteration"])))

    complete(RUN, dataset, tiny.CPU, results, lambda _iteration: passing(1.0, given=True))

    assert saved == expected


def test_too_little_memory_takes_no_checkpoint_along(dataset, results, monkeypatch, undisturbed, begun):
    """A device too full to go on is no fault of the checkpoint: the next attempt goes on from it."""
    asked = []
    begun(results, RUN, 9)

    def restore(_self, _state):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(training.Training, "restore", restore)
        with pytest.raises(torch.OutOfMemoryError):
            complete(RUN, dataset, tiny.CPU, results)
    complete(RUN, dataset, tiny.CPU, results, lambda t: asked.append(t) or True)

    assert asked[0] == 10
    assert numbers(results, RUN) == numbers(undisturbed(RUN), RUN)


def test_a_checkpoint_without_its_records_is_never_resumed(dataset, results, undisturbed, begun):
    """Where the records are gone the run starts over, and a kill soon after does not bring the old checkpoint back."""
    begun(results, RUN, 9)
    RunFiles.of(results, RUN).records.unlink()

    with pytest.raises(Killed):
        complete(RUN, dataset, tiny.CPU, results, killed_at(2))
    complete(RUN, dataset, tiny.CPU, results)

    assert numbers(results, RUN) == numbers(undisturbed(RUN), RUN)


OWN = """
import torch
class Counting(torch.optim.Optimizer):
    def __init__(self, net, recipe):
        super().__init__(net.parameters(), {"lr": 0.0})
    @torch.no_grad()
    def step(self, closure=None):
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            state["steps"] = state.get("steps", 0) + 1
            state["sums"] = state.get("sums", torch.zeros(2)) + 1
            parameter.sub_(self.param_groups[0]["lr"] / state["steps"] * parameter.grad)
"""


def test_an_optimizer_of_ones_own_goes_on_exactly(dataset, results, undisturbed, monkeypatch):
    """Whatever numbers and tensors an optimizer keeps, an interrupted run leaves the records of an undisturbed one."""
    monkeypatch.syspath_prepend(parts_made.write(results, OWN, "own").parent)
    run = tiny.run_of(tiny.RECIPE.model_copy(update={"optimizer": "own:Counting"}), residual="zero-pad")
    with parts_made.forgotten():
        complete(run, dataset, tiny.CPU, results, lambda t: t < 9)
        asked = []
        complete(run, dataset, tiny.CPU, results, lambda t: asked.append(t) or True)

        assert asked[0] == 10
        assert numbers(results, run) == numbers(undisturbed(run), run)


def test_other_code_of_ones_own_starts_over(dataset, results, monkeypatch):
    """A run is continued with the code of one's own that it was begun with; with other code it starts over, once."""
    code = dict.fromkeys(("version", "commit"), None) | {"package": "mypkg", "sha256": "1" * 64}
    said, asked = [], []
    for digit, stop in (("1", 9), ("1", 14), ("2", 4), ("2", 20)):
        origin = {"mypkg.parts:part": code | {"sha256": digit * 64}}
        monkeypatch.setattr(completion, "parts", lambda _run, origin=origin: origin)
        asked.append([])
        complete(RUN, dataset, tiny.CPU, results, lambda t, s=stop: asked[-1].append(t) or t < s, said.append)

    assert [times[0] for times in asked] == [1, 10, 1, 5]
    assert [line.partition(": ")[2] for line in said] == [
        "begun with another mypkg (1111111 -> 2222222); the run starts over"
    ]
    assert numbers(results, RUN)[0]["parts"] == origin


@pytest.mark.parametrize(("table", "key"), [("machine", "device"), ("dataset", "checksum")])
def test_other_images_or_another_device_start_over(dataset, results, begun, table, key):
    """A run begun on another device, or on other images, is not continued: it starts over, and that is said."""
    lines, asked = [], []
    begun(results, RUN, 9)
    path = RunFiles.of(results, RUN).records
    header, *rest = records.read(path)
    header[table][key] = "another"
    path.unlink()
    for record in (header, *rest):
        records.append(path, record)

    complete(RUN, dataset, tiny.CPU, results, lambda t: asked.append(t) or True, lines.append)

    assert asked[0] == 1
    assert len(lines) == 1
    assert "starts over" in lines[0]
    assert numbers(results, RUN)[0][table][key] != "another"


def test_a_move_is_recorded(dataset, results, monkeypatch, undisturbed):
    """Going on on another machine, or at another commit, leaves a record of it, once; and the same numbers."""
    here = device.describe("cpu")

    complete(RUN, dataset, tiny.CPU, results, lambda t: t < 5)
    monkeypatch.setattr(device, "describe", lambda _device: here | {"cpu": "Another"})
    complete(RUN, dataset, tiny.CPU, results, lambda t: t < 9)
    complete(RUN, dataset, tiny.CPU, results, lambda t: t < 12)
    monkeypatch.setattr(device, "commit", lambda: "d5d5")
    with pytest.raises(Killed):
        complete(RUN, dataset, tiny.CPU, results, killed_at(14))
    monkeypatch.setattr(device, "commit", lambda: "e6e6")
    complete(RUN, dataset, tiny.CPU, results)

    rows = numbers(results, RUN)
    moves = [record for record in rows if record["kind"] == "move"]
    assert [(move["iteration"], move["machine"]["cpu"], move["commit"]) for move in moves] == [
        (5, "Another", rows[0]["commit"]),
        (12, "Another", "e6e6"),  # from where that of d5d5 left nothing
    ]
    assert [record for record in rows if record["kind"] != "move"] == numbers(undisturbed(RUN), RUN)


@pytest.mark.parametrize("lines", [1, 2, 3, 5])
def test_killed_after_any_record_is_undisturbed(dataset, results, lines, undisturbed, begun):
    """Records written after the last checkpoint, whole or torn, are written again, the same."""
    run = tiny.run_of()
    whole = records.read(RunFiles.of(undisturbed(run), run).records)
    begun(results, run, 3)
    go_on_recording(RunFiles.of(results, run).records, whole[:lines])

    complete(run, dataset, tiny.CPU, results)

    assert numbers(results, run) == numbers(undisturbed(run), run)


def cut_off(files, _foreign):
    """Leave out the last byte of a checkpoint."""
    files.checkpoint.write_bytes(files.checkpoint.read_bytes()[:-1])


def only_a_digest(files, _foreign):
    """Leave the digest of nothing."""
    files.checkpoint.write_bytes(hashlib.sha256().digest())


def changed(change):
    """Return what makes an intact checkpoint whose state is changed."""

    def spoil(files, _foreign):
        state = checkpoints.load(files)
        change(state)
        checkpoints.save(files, state)

    return spoil


def of_another_run(files, foreign):
    """Put another run's checkpoint in the place."""
    files.checkpoint.write_bytes(foreign.checkpoint.read_bytes())


def of_other_records(files, _foreign):
    """Begin the records again, as another attempt would have."""
    header, *rest = records.read(files.records)
    files.records.unlink()
    records.append(files.records, header | {"started": "2020-01-01T00:00:00Z"}, *rest)


def momentum(state):
    """Return the momentum of a weight."""
    return state["twins"]["residual"]["optimizer"]["state"][0]


DAMAGED, FOREIGN = "damaged checkpoint", "checkpoint of another run, or of other records"


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (cut_off, DAMAGED),
        (only_a_digest, DAMAGED),
        (changed(lambda state: state["twins"]["residual"]["net"].update({"linear.bias": torch.zeros(3)})), DAMAGED),
        (changed(lambda state: momentum(state).update(momentum_buffer=torch.zeros(7))), DAMAGED),
        (changed(lambda state: momentum(state).update(momentum_buffer="zeros")), DAMAGED),
        (changed(lambda state: state["twins"]["residual"].update(seen=torch.zeros(2))), DAMAGED),
        (changed(lambda state: state.update(iteration=True)), DAMAGED),
        (changed(lambda state: state.update(iteration=RUN.recipe.iterations + 1)), DAMAGED),
        (changed(lambda state: state.update(seconds=-7)), DAMAGED),
        (changed(lambda state: state["twins"]["residual"].update(diverged_at={})), DAMAGED),
        (changed(lambda state: state["twins"]["residual"].update(grown=[])), DAMAGED),
        (changed(lambda state: state["twins"]["residual"].update(optimizer=torch.zeros(3))), DAMAGED),
        (changed(lambda state: state["twins"]["residual"]["optimizer"].update(param_groups=[torch.zeros(3)])), DAMAGED),
        (changed(lambda state: state["twins"]["residual"]["optimizer"]["state"].update({0: torch.zeros(3)})), DAMAGED),
        (changed(lambda state: state.pop("twins")), DAMAGED),
        (changed(lambda state: state.pop("of")), FOREIGN),
        (of_another_run, FOREIGN),
        (of_other_records, FOREIGN),
    ],
    ids=[
        "cut off",
        "only a digest",
        "a weight of another shape",
        "momentum of another shape",
        "momentum that is text",
        "sums of another shape",
        "an iteration that is none",
        "an iteration beyond the recipe",
        "less than no seconds",
        "diverged at nothing",
        "grown by nothing",
        "a tensor for an optimizer",
        "a tensor for a group",
        "a tensor for a parameter's state",
        "no twins",
        "nobody's",
        "another run's",
        "other records",
    ],
)
def test_a_spoiled_checkpoint_is_said_and_the_run_starts_over(  # noqa: PLR0913, PLR0917  fixtures and the table
    dataset, results, undisturbed, begun, spoil, why
):
    """A checkpoint that is damaged, or not of this run, costs time, never numbers, and the user is told."""
    lines, other = [], tiny.run_of(seed=1, residual="zero-pad")
    files = RunFiles.of(results, RUN)
    for run in (RUN, other):
        begun(results, run, 9)
    spoil(files, RunFiles.of(results, other))

    complete(RUN, dataset, tiny.CPU, results, say=lines.append)

    assert numbers(results, RUN) == numbers(undisturbed(RUN), RUN)
    assert lines == [f"{files.checkpoint}: {why}, set aside as {files.corrupt.name}; the run starts over"]


def test_divergence_is_a_result(dataset, results, monkeypatch):
    """A twin whose loss is no longer finite ends there with 100 % error; the other is trained to the end."""
    run = tiny.run_of(tiny.RECIPE.model_copy(update={"iterations": 16, "milestones": ()}))
    advance = training.Training.advance

    def poisoned(self):
        if self.iteration == 5:
            with torch.no_grad():
                self.twins["plain"].net.linear.bias.fill_(math.inf)
        advance(self)

    monkeypatch.setattr(training.Training, "advance", poisoned)

    assert complete(run, dataset, tiny.CPU, results) == "diverged"

    rows = numbers(results, run)
    plain = [record for record in rows if record["kind"] == "epoch" and record["twin"] == "plain"]
    residual = [record for record in rows if record["kind"] == "epoch" and record["twin"] == "residual"]
    assert [(r["iteration"], r["train_error_pct"], r["train_loss"]) for r in plain] == [(8, 100.0, None)]
    assert plain[0]["running_error_pct"] == plain[0]["test_error_pct"] == 100.0
    assert [r["iteration"] for r in residual] == [8, 16]
    assert {r["twin"] for r in rows if r["kind"] == "layer"} == {"residual"}
    assert rows[-1]["reason"] == "plain: loss not finite at iteration 8"


def test_evaluate_every_thins_the_evaluations(dataset, results):
    """With `evaluate_every = 2` the twins are measured after every second epoch and at the end."""
    run = tiny.run_of(tiny.RECIPE.model_copy(update={"iterations": 35, "evaluate_every": 2}), plain="none")
    complete(run, dataset, tiny.CPU, results)

    assert [record["iteration"] for record in numbers(results, run) if record["kind"] == "epoch"] == [16, 32, 35]


@pytest.mark.gpu
def test_gpu_resumes_exactly_and_agrees_with_the_cpu(dataset, results, tmp_path):
    """On a GPU a stopped run resumes bit for bit, and its first errors are near the CPU's."""
    run, cuda = tiny.run_of(), torch.device("cuda")
    for folder in ("other", "cpu"):
        tmp_path.joinpath(folder, "tiny").mkdir(parents=True)
    complete(run, dataset, cuda, tmp_path / "other")
    complete(run, dataset, cuda, results, lambda t: t < 9)
    complete(run, dataset, cuda, results)
    complete(run, dataset, tiny.CPU, tmp_path / "cpu")

    assert numbers(results, run) == numbers(tmp_path / "other", run)
    ours, theirs = numbers(results, run)[1], numbers(tmp_path / "cpu", run)[1]
    assert ours["running_loss"] == pytest.approx(theirs["running_loss"], rel=0.02)

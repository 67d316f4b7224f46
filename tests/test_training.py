"""Training: lock-step twins, exact resume, divergence as a result."""

import json
import math

import pytest
import torch
import torch.nn.functional as F

from deeptwins import checkpoints, data, nets, records, training
from deeptwins.errors import InputError
from deeptwins.study import Net, Recipe, RunSpec

CPU = torch.device("cpu")
RECIPE = Recipe(
    dataset="synthetic", iterations=20, batch_size=64, learning_rate=0.1, momentum=0.9, weight_decay=1e-4,
    warmup=4, milestones=(15,), shift=1, flip=True,
)  # fmt: skip


def run_of(recipe=RECIPE, seed=0, **shortcuts):
    """Make a run of tiny nets; the twins are given as name=shortcut."""
    twins = shortcuts or {"plain": "none", "residual": "zero-pad"}
    nets = {name: Net(family="cifar", depth=8, width=4, shortcut=shortcut) for name, shortcut in twins.items()}
    return RunSpec(study="tiny", seed=seed, twins=nets, recipe=recipe)


@pytest.fixture(scope="module")
def dataset():
    """The synthetic images."""
    return data.load("synthetic", None)


@pytest.fixture
def results(tmp_path):
    """A results folder with the study's folder in it."""
    tmp_path.joinpath("tiny").mkdir()
    return tmp_path


def numbers(results, run):
    """The records of a run without their timings."""
    found = records.read(records.path_of(results, run.study, run.id))
    return [{key: value for key, value in record.items() if key != "seconds"} for record in found]


def test_leaves_the_records_of_every_twin(dataset, results):
    """A finished run holds its header, one epoch record a twin and evaluation, the layers, and the end."""
    run = run_of()

    assert training.complete(run, dataset, CPU, results) == "done"

    found = numbers(results, run)
    header, end = found[0], found[-1]
    assert header["spec"] == json.loads(run.model_dump_json())
    assert header["dataset"]["checksum"] == dataset.checksum
    assert header["twins"]["plain"] == header["twins"]["residual"]
    assert end == {"kind": "end", "status": "done", "reason": None}
    evaluated = [(record["iteration"], record["twin"]) for record in found if record["kind"] == "epoch"]
    assert evaluated == [(t, twin) for t in (8, 16, 20) for twin in ("plain", "residual")]  # 512 images, batch 64
    assert [record["layer"] for record in found if record["kind"] == "layer"] == [*range(1, 8)] * 2
    assert not checkpoints.path_of(results, run.study, run.id).exists()


def test_learns(dataset, results):
    """Training error falls well below chance on images that have something to learn."""
    run = run_of(RECIPE.model_copy(update={"iterations": 60, "milestones": (40,)}))
    training.complete(run, dataset, CPU, results)

    errors = {
        record["twin"]: record["train_error_pct"] for record in numbers(results, run) if record["kind"] == "epoch"
    }
    assert all(error < 45 for error in errors.values())  # chance is 90


def test_errors_are_those_of_the_definition(dataset, results):
    """The clean error is of the whole split, unaugmented, in evaluation mode; the running one averages the batches."""
    recipe = RECIPE.model_copy(update={"iterations": 8})
    run = run_of(recipe, plain="none")
    trained = training.Training(run, dataset, CPU)
    running = []
    for t in range(8):
        before = {name: tensor.clone() for name, tensor in trained.twins["plain"].net.state_dict().items()}
        x, y = trained.stream.batch(t)
        net = nets.build(run.twins["plain"], 3, 10, 0)
        net.load_state_dict(before)
        running.append((net(x).argmax(1) != y).double().mean().item())
        trained.step()
    (record,) = trained.evaluate()
    net = trained.twins["plain"].net.eval()
    x, y = next(iter(trained.stream.clean("train", 512)))
    with torch.no_grad():
        logits = net(x)

    assert len(y) == 512
    assert record["train_error_pct"] == pytest.approx(100 * (logits.argmax(1) != y).double().mean().item())
    assert record["train_loss"] == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-4)
    assert record["running_error_pct"] == pytest.approx(100 * sum(running) / 8)


def test_company_changes_nothing(dataset, results):
    """A twin trained alone leaves the numbers that it leaves beside another."""
    both, alone = run_of(), run_of(plain="none")
    training.complete(both, dataset, CPU, results)
    training.complete(alone, dataset, CPU, results)

    kinds = ("epoch", "layer")
    ours = [r for r in numbers(results, both) if r["kind"] in kinds and r["twin"] == "plain"]
    assert ours == [r for r in numbers(results, alone) if r["kind"] in kinds]


@pytest.mark.parametrize("stops", [(1,), (8,), (9, 10, 17), (20,)])
def test_stopped_and_resumed_is_undisturbed(dataset, results, stops, tmp_path):
    """A run stopped after any iteration and called again leaves the records of an undisturbed run, bit for bit."""
    run = run_of()
    tmp_path.joinpath("other", "tiny").mkdir(parents=True)
    training.complete(run, dataset, CPU, tmp_path / "other")

    for stop in stops:
        assert training.complete(run, dataset, CPU, results, lambda t, stop=stop: t < stop) == "stopped"
    assert training.complete(run, dataset, CPU, results) == "done"

    assert numbers(results, run) == numbers(tmp_path / "other", run)


@pytest.mark.parametrize("lines", [1, 2, 3, 5])
def test_killed_after_any_record_is_undisturbed(dataset, results, lines, tmp_path):
    """Records written after the last checkpoint, whole or torn, are written again, the same."""
    run = run_of()
    tmp_path.joinpath("other", "tiny").mkdir(parents=True)
    training.complete(run, dataset, CPU, tmp_path / "other")
    whole = records.path_of(tmp_path / "other", run.study, run.id).read_bytes().splitlines(keepends=True)
    training.complete(run, dataset, CPU, results, lambda t: t < 3)
    path = records.path_of(results, run.study, run.id)
    path.write_bytes(b"".join(whole[:lines]) + whole[lines][:20])

    training.complete(run, dataset, CPU, results)

    assert numbers(results, run) == numbers(tmp_path / "other", run)


def test_corrupt_checkpoint_is_said_and_the_run_starts_over(dataset, results, tmp_path):
    """A damaged checkpoint costs time, never numbers, and the user is told."""
    run, said = run_of(), []
    tmp_path.joinpath("other", "tiny").mkdir(parents=True)
    training.complete(run, dataset, CPU, tmp_path / "other")
    training.complete(run, dataset, CPU, results, lambda t: t < 9)
    path = checkpoints.path_of(results, run.study, run.id)
    path.write_bytes(path.read_bytes()[:-1])

    training.complete(run, dataset, CPU, results, say=said.append)

    assert numbers(results, run) == numbers(tmp_path / "other", run)
    assert len(said) == 1
    assert path.name in said[0]


def test_divergence_is_a_result(dataset, results, monkeypatch):
    """A twin whose loss is no longer finite ends there with 100 % error; the other is trained to the end."""
    run = run_of(RECIPE.model_copy(update={"iterations": 16, "milestones": ()}))
    step = training.Training.step

    def poisoned(self):
        if self.iteration == 5:
            with torch.no_grad():
                self.twins["plain"].net.linear.bias.fill_(math.inf)
        step(self)

    monkeypatch.setattr(training.Training, "step", poisoned)

    assert training.complete(run, dataset, CPU, results) == "diverged"

    found = numbers(results, run)
    plain = [record for record in found if record["kind"] == "epoch" and record["twin"] == "plain"]
    residual = [record for record in found if record["kind"] == "epoch" and record["twin"] == "residual"]
    assert [(r["iteration"], r["train_error_pct"], r["train_loss"]) for r in plain] == [(8, 100.0, None)]
    assert [r["iteration"] for r in residual] == [8, 16]
    assert {r["twin"] for r in found if r["kind"] == "layer"} == {"residual"}
    assert found[-1]["reason"] == "plain: loss not finite at iteration 8"


def test_evaluate_every_thins_the_evaluations(dataset, results):
    """With `evaluate_every = 2` the twins are measured after every second epoch and at the end."""
    run = run_of(RECIPE.model_copy(update={"iterations": 35, "evaluate_every": 2}), plain="none")
    training.complete(run, dataset, CPU, results)

    assert [record["iteration"] for record in numbers(results, run) if record["kind"] == "epoch"] == [16, 32, 35]


def test_learning_rate_follows_the_recipe():
    """The rate rises linearly through the warm-up and falls at each milestone."""
    recipe = RECIPE.model_copy(update={"iterations": 40, "milestones": (20, 30), "warmup": 4})

    rates = [training.learning_rate(recipe, t) for t in (0, 1, 3, 4, 19, 20, 29, 30)]
    assert rates == pytest.approx([0.025, 0.05, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001])


def test_step_is_the_textbook_s(dataset):
    """One step is forward, cross entropy, backward, and SGD with momentum and weight decay, written out by hand."""
    run = run_of(plain="none")
    ours = training.Training(run, dataset, CPU)
    net = nets.build(run.twins["plain"], 3, 10, 0).train()
    velocity = [torch.zeros_like(p) for p in net.parameters()]
    for t in range(3):
        x, y = ours.stream.batch(t)
        grads = torch.autograd.grad(F.cross_entropy(net(x), y), list(net.parameters()))
        with torch.no_grad():
            for p, v, g in zip(net.parameters(), velocity, grads, strict=True):
                v.mul_(0.9).add_(g + 1e-4 * p)
                p.sub_(training.learning_rate(RECIPE, t) * v)
        ours.step()

    for mine, theirs in zip(ours.twins["plain"].net.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_bf16_trains_and_is_not_fp32(dataset, results):
    """The recipe's precision reaches the arithmetic."""
    losses = []
    for precision in ("fp32", "bf16"):
        run = run_of(RECIPE.model_copy(update={"precision": precision}), plain="none")
        assert training.complete(run, dataset, CPU, results) == "done"
        losses.append(numbers(results, run)[-9]["train_loss"])

    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.2)


def test_cost_grows_with_work(dataset):
    """The estimate is proportional to the iterations, and twins cost what each costs."""
    one, two = run_of(plain="none"), run_of()

    assert training.cost(two, dataset) == 2 * training.cost(one, dataset)
    longer = run_of(RECIPE.model_copy(update={"iterations": 40}))
    assert training.cost(longer, dataset) == pytest.approx(2 * training.cost(two, dataset))


def test_unknown_devices_are_refused(monkeypatch):
    """A device that does not exist, or cuda where there is none, is one clear line."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert training.device("auto") == CPU
    with pytest.raises(InputError, match="finds no CUDA device"):
        training.device("cuda")
    with pytest.raises(InputError, match="choose from auto, cpu, cuda"):
        training.device("tpu")


@pytest.mark.gpu
def test_gpu_resumes_exactly_and_agrees_with_the_cpu(dataset, results, tmp_path):
    """On a GPU a stopped run resumes bit for bit, and its first errors are near the CPU's."""
    run, cuda = run_of(), torch.device("cuda")
    for folder in ("other", "cpu"):
        tmp_path.joinpath(folder, "tiny").mkdir(parents=True)
    training.complete(run, dataset, cuda, tmp_path / "other")
    training.complete(run, dataset, cuda, results, lambda t: t < 9)
    training.complete(run, dataset, cuda, results)
    training.complete(run, dataset, CPU, tmp_path / "cpu")

    assert numbers(results, run) == numbers(tmp_path / "other", run)
    ours, theirs = numbers(results, run)[1], numbers(tmp_path / "cpu", run)[1]
    assert ours["running_loss"] == pytest.approx(theirs["running_loss"], rel=0.02)

"""Training: steps, evaluations and their errors, devices."""

import pytest
import torch
import torch.nn.functional as F

import tiny
from deeptwins import nets, training
from deeptwins.errors import InputError


def last_records(run, dataset):
    """Train a run to its end and evaluate its twins."""
    trained = training.Training(run, dataset, tiny.CPU)
    while not trained.finished:
        trained.step()
    return {record["twin"]: record for record in trained.evaluate()}


def test_learns(dataset):
    """Training error falls well below chance on images that have something to learn."""
    run = tiny.run_of(tiny.RECIPE.model_copy(update={"iterations": 60, "milestones": (40,)}))

    found = last_records(run, dataset)

    assert found.keys() == {"plain", "residual"}
    assert all(record["train_error_pct"] < 45 for record in found.values())  # chance is 90


def test_errors_are_those_of_the_definition(dataset):
    """The clean error is of the whole split, unaugmented, in evaluation mode; the running one averages the batches."""
    recipe = tiny.RECIPE.model_copy(update={"iterations": 8})
    run = tiny.run_of(recipe, plain="none")
    trained = training.Training(run, dataset, tiny.CPU)
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


def test_learning_rate_follows_the_recipe():
    """The rate rises linearly through the warm-up and falls at each milestone."""
    recipe = tiny.RECIPE.model_copy(update={"iterations": 40, "milestones": (20, 30), "warmup": 4})

    rates = [training.learning_rate(recipe, t) for t in (0, 1, 3, 4, 19, 20, 29, 30)]
    assert rates == pytest.approx([0.025, 0.05, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001])


def test_step_is_the_textbook_s(dataset):
    """One step is forward, cross entropy, backward, and SGD with momentum and weight decay, written out by hand."""
    run = tiny.run_of(plain="none")
    ours = training.Training(run, dataset, tiny.CPU)
    net = nets.build(run.twins["plain"], 3, 10, 0).train()
    velocity = [torch.zeros_like(p) for p in net.parameters()]
    for t in range(3):
        x, y = ours.stream.batch(t)
        grads = torch.autograd.grad(F.cross_entropy(net(x), y), list(net.parameters()))
        with torch.no_grad():
            for p, v, g in zip(net.parameters(), velocity, grads, strict=True):
                v.mul_(0.9).add_(g + 1e-4 * p)
                p.sub_(training.learning_rate(tiny.RECIPE, t) * v)
        ours.step()

    for mine, theirs in zip(ours.twins["plain"].net.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_bf16_trains_and_is_not_fp32(dataset):
    """The recipe's precision reaches the arithmetic."""
    runs = [tiny.run_of(tiny.RECIPE.model_copy(update={"precision": p}), plain="none") for p in ("fp32", "bf16")]

    single, half = (last_records(run, dataset)["plain"]["train_loss"] for run in runs)

    assert single != half
    assert single == pytest.approx(half, rel=0.2)


def test_cost_grows_with_work(dataset):
    """The estimate is proportional to the iterations, and twins cost what each costs."""
    one, two = tiny.run_of(plain="none"), tiny.run_of()

    assert training.cost(two, dataset) == 2 * training.cost(one, dataset)
    longer = tiny.run_of(tiny.RECIPE.model_copy(update={"iterations": 40}))
    assert training.cost(longer, dataset) == pytest.approx(2 * training.cost(two, dataset))


def test_unknown_devices_are_refused(monkeypatch):
    """A device that does not exist, or cuda where there is none, is one clear line."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert training.device("auto") == tiny.CPU
    with pytest.raises(InputError, match="finds no CUDA device"):
        training.device("cuda")
    with pytest.raises(InputError, match="choose from auto, cpu, cuda"):
        training.device("tpu")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_gpu_steps_never_wait(dataset, precision):
    """Inside an epoch no step makes the host wait for the device."""
    run = tiny.run_of(tiny.RECIPE.model_copy(update={"precision": precision}))
    trained = training.Training(run, dataset, torch.device("cuda"))
    trained.step()  # the first makes the epoch's table and warms up
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            trained.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")

    assert trained.iteration == 6

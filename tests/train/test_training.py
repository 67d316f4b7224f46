"""Training: steps, evaluations and their errors, devices."""

import pytest
import torch
import torch.nn.functional as F

import tiny
from deeptwins import data, nets
from deeptwins.errors import InputError
from deeptwins.train import checks, device, growth, measuring, training
from deeptwins.train.optimization import learning_rate


def trained(run, dataset, iterations):
    """Train a run for some iterations, growing it where it grows."""
    training_ = training.Training(run, dataset, tiny.CPU)
    while training_.iteration < iterations:
        training_.step()
        if growth.due(training_):
            list(growth.grow(training_))
    return training_


def last_records(run, dataset):
    """Train a run to its end and evaluate its twins."""
    return {record["twin"]: record for record in measuring.evaluate(trained(run, dataset, run.recipe.iterations))}


def test_learns(dataset):
    """Training error falls well below chance on images that have something to learn."""
    run = tiny.run_of(tiny.RECIPE.model_copy(update={"iterations": 60, "milestones": (40,)}))

    last = last_records(run, dataset)

    assert last.keys() == {"plain", "residual"}
    assert all(record["train_error_pct"] < 45 for record in last.values())  # chance is 90


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
    (record,) = measuring.evaluate(trained)
    net = trained.twins["plain"].net.eval()
    x, y = next(iter(trained.stream.clean("train", 512)))
    with torch.no_grad():
        logits = net(x)

    assert len(y) == 512
    assert record["train_error_pct"] == pytest.approx(100 * (logits.argmax(1) != y).double().mean().item())
    assert record["train_loss"] == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-4)
    assert record["running_error_pct"] == pytest.approx(100 * sum(running) / 8)


def momentum(p, grad, rate, t, state):
    """Take a step of SGD with momentum and weight decay."""
    velocity = state.setdefault("velocity", torch.zeros_like(p))
    p.sub_(rate * velocity.mul_(0.9).add_(grad + 1e-4 * p))


def adam(p, grad, rate, t, state):
    """Take a step of Kingma and Ba's algorithm 1, with weight decay as a part of the gradient."""
    first, second = (state.setdefault(name, torch.zeros_like(p)) for name in ("first", "second"))
    g = grad + 1e-4 * p
    first.mul_(0.9).add_(0.1 * g)
    second.mul_(0.999).add_(0.001 * g * g)
    p.sub_(rate * first / (1 - 0.9 ** (t + 1)) / ((second / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8))


@pytest.mark.parametrize(
    ("step", "changes", "rtol"),
    [(momentum, {}, 1e-6), (adam, {"optimizer": "adam", "momentum": 0.0, "learning_rate": 0.01}, 1e-4)],
)
def test_step_is_the_textbook_s(dataset, step, changes, rtol):
    """One step is forward, cross entropy, backward, and the optimizer's rule, written out by hand."""
    recipe = tiny.RECIPE.model_copy(update=changes)
    run = tiny.run_of(recipe, plain="none")
    ours = training.Training(run, dataset, tiny.CPU)
    net = nets.build(run.twins["plain"], 3, 10, 0).train()
    states = [{} for _ in net.parameters()]
    for t in range(3):
        x, y = ours.stream.batch(t)
        grads = torch.autograd.grad(F.cross_entropy(net(x), y), list(net.parameters()))
        with torch.no_grad():
            for p, grad, state in zip(net.parameters(), grads, states, strict=True):
                step(p, grad, learning_rate(recipe, t), t, state)
        ours.step()

    for mine, theirs in zip(ours.twins["plain"].net.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=rtol, atol=1e-5)


def test_bf16_trains_and_is_not_fp32(dataset):
    """The recipe's precision reaches the arithmetic."""
    runs = [tiny.run_of(tiny.RECIPE.model_copy(update={"precision": p}), plain="none") for p in ("fp32", "bf16")]

    single, half = (last_records(run, dataset)["plain"]["train_loss"] for run in runs)

    assert single != half
    assert single == pytest.approx(half, rel=0.2)


def test_gradients_are_those_of_the_last_step(dataset):
    """The norms that are recorded are of the gradient by which the last step moved the weights, without decay."""
    run = tiny.run_of(plain="none")
    trained = training.Training(run, dataset, tiny.CPU)
    trained.step()
    net = nets.build(run.twins["plain"], 3, 10, 0)
    net.load_state_dict(trained.twins["plain"].net.state_dict())
    x, y = trained.stream.batch(1)
    F.cross_entropy(net.train()(x), y).backward()
    trained.step()
    list(measuring.evaluate(trained))

    (record,) = measuring.gradients(trained)

    assert (record["kind"], record["iteration"], record["twin"]) == ("gradient", 2, "plain")
    expected = [m.weight.grad.norm().item() for m in net.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert record["norms"] == pytest.approx(expected, rel=1e-3)


def test_precise_statistics_are_of_the_last_batches(dataset, monkeypatch):
    """They are measured over the batches that were trained on last: as many as a run of this length can afford."""
    asked = []
    monkeypatch.setattr(measuring, "PRECISE_EVERY", 4)
    trained = training.Training(tiny.run_of(plain="none"), dataset, tiny.CPU)
    for _ in range(10):
        trained.step()
    batch = trained.stream.batch
    monkeypatch.setattr(trained.stream, "batch", lambda t: asked.append(t) or batch(t))

    rows = list(measuring.diagnose(trained))

    assert asked == [7, 8, 9]
    assert [record["kind"] for record in rows] == ["layer"] * 7 + ["block"] * 3 + ["precise"]
    assert all((record["iteration"], record["twin"]) == (10, "plain") for record in rows)


def test_cost_grows_with_work(dataset):
    """The estimate is proportional to the iterations, and twins cost what each costs."""
    one, two = tiny.run_of(plain="none"), tiny.run_of()

    assert checks.cost(two, dataset) == 2 * checks.cost(one, dataset)
    longer = tiny.run_of(tiny.RECIPE.model_copy(update={"iterations": 40}))
    assert checks.cost(longer, dataset) == pytest.approx(2 * checks.cost(two, dataset))


def test_unknown_devices_are_refused(monkeypatch):
    """A device that does not exist, or cuda where there is none, is one clear line."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert device.device("auto") == tiny.CPU
    with pytest.raises(InputError, match="finds no CUDA device"):
        device.device("cuda")
    with pytest.raises(InputError, match="choose from auto, cpu, cuda"):
        device.device("tpu")


def weights(training_, twin):
    """All parameters and buffers of a twin, copied."""
    return {name: tensor.clone() for name, tensor in training_.twins[twin].net.state_dict().items()}


def same(one, other):
    """Whether two nets' weights are equal, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_adam_s_moments_are_its_own():
    """Momentum beside Adam, or an optimizer that is not in the table, is refused in one line."""
    for change, message in (
        ({"optimizer": "adam"}, "momentum = 0.9: adam has moments of its own"),
        ({"optimizer": "lion"}, "optimizer = 'lion': choose from sgd, adam"),
    ):
        with pytest.raises(ValueError, match=message):
            checks.check(tiny.run_of(tiny.RECIPE.model_copy(update=change)), tiny.CPU)


def test_what_nets_draw_is_a_function_of_seed_and_iteration(dataset):
    """Dropped blocks and values are the same whatever was drawn before or beside, and others with another seed."""
    fields = {"shortcut": "dropout", "survival": 0.5}
    run = tiny.run_with(one=fields, other=fields)
    undisturbed = trained(run, dataset, 6)
    disturbed = training.Training(run, dataset, tiny.CPU)
    for _ in range(6):
        torch.rand(7)
        torch.manual_seed(3)
        disturbed.step()
    alone = trained(tiny.run_with(one=fields), dataset, 6)

    assert same(weights(undisturbed, "one"), weights(undisturbed, "other"))
    assert same(weights(undisturbed, "one"), weights(disturbed, "one"))
    assert same(weights(undisturbed, "one"), weights(alone, "one"))


def test_draws_differ_between_iterations_and_seeds(dataset):
    """Which blocks are dropped changes from step to step and from seed to seed; the largest seed is one, too."""
    drawn = {}
    for seed in (0, 1, 2**63 - 1):
        begun = training.Training(
            tiny.run_with(seed=seed, one={"shortcut": "zero-pad", "survival": 0.5}), dataset, tiny.CPU
        )
        drawn[seed] = []
        for _ in range(12):
            begun.step()
            drawn[seed].append(torch.initial_seed())

    assert len({draw for draws in drawn.values() for draw in draws}) == 36


def test_blocks_that_are_dropped_at_first_train_with_momentum(dataset):
    """Where blocks are dropped from the first step on, the optimizer goes on as if their gradient were 0."""
    run = tiny.run_with(residual={"shortcut": "zero-pad", "survival": 0.2, "depth": 20})
    begun = training.Training(run, dataset, tiny.CPU)
    before = weights(begun, "residual")
    begun.step()
    dropped = [
        name for name, p in begun.twins["residual"].net.named_parameters() if p.grad is not None and not p.grad.any()
    ]
    assert dropped
    after, rate = weights(begun, "residual"), learning_rate(run.recipe, 0)
    for name in dropped:  # weight decay goes on
        torch.testing.assert_close(after[name], before[name] * (1 - rate * run.recipe.weight_decay))
    for _ in range(10):
        begun.step()

    assert all(tensor.isfinite().all() for tensor in weights(begun, "residual").values())


GROWING = tiny.RECIPE.model_copy(update={"grow_at": 8})


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("shortcut", ["none", "zero-pad"])
def test_growth_keeps_outputs_and_the_optimizer_s_state(dataset, shortcut, optimizer):
    """A net grows without changing its errors; what it had keeps its momentum, and what is new begins without any."""
    recipe = GROWING.model_copy(update={"optimizer": optimizer, "momentum": 0.9 if optimizer == "sgd" else 0.0})
    run = tiny.run_with(recipe, grown={"depth": 20, "grown_from": 8, "shortcut": shortcut})
    begun = training.Training(run, dataset, tiny.CPU)
    while begun.iteration < 8:
        begun.step()
    shallow = begun.twins["grown"]
    state = {
        name: {key: value.clone() for key, value in shallow.optimizer.state[p].items()}
        for name, p in shallow.net.named_parameters()
    }
    net, x = shallow.net, begun.stream.batch(0)[0]
    expected = net.eval()(x)
    assert growth.due(begun)
    (record,) = growth.grow(begun)
    twin = begun.twins["grown"]

    torch.testing.assert_close(twin.net.eval()(x), expected, rtol=1e-3, atol=1e-3)
    assert (record["depth_before"], record["depth"], record["iteration"]) == (8, 20, 8)
    assert record["train_error_before_pct"] == record["train_error_after_pct"]
    assert record["largest_difference"] < 1e-3
    for name, p in twin.net.named_parameters():
        for key, value in twin.optimizer.state[p].items():
            assert torch.equal(value, state[name][key] if name in state else torch.zeros_like(value))
    assert {name for name, _ in twin.net.named_parameters()} > state.keys()
    before = weights(begun, "grown")
    begun.step()
    assert not any(torch.equal(p, before[name]) for name, p in twin.net.named_parameters() if "conv1" in name)


def test_growth_that_changes_outputs_is_an_error(dataset, monkeypatch):
    """A net whose outputs growth has changed is not trained on as if it had not."""
    grow = growth.growing.grow

    def wrong(shallow, deep, batches):
        grow(shallow, deep, batches)
        deep.linear.bias.data += 1

    monkeypatch.setattr(growth.growing, "grow", wrong)
    run = tiny.run_with(GROWING, grown={"depth": 14, "grown_from": 8})
    with pytest.raises(RuntimeError, match=r"grown: its logits differ by .* after growth"):
        trained(run, dataset, 8)


def test_twins_that_do_not_grow_know_nothing_of_it(dataset):
    """A twin beside one that is grown trains as it does alone."""
    grown = {"depth": 14, "grown_from": 8}
    both = trained(tiny.run_with(GROWING, grown=grown, deep={"depth": 14}), dataset, 12)
    alone = trained(tiny.run_with(deep={"depth": 14}), dataset, 12)

    assert same(weights(both, "deep"), weights(alone, "deep"))


def test_validation_images_are_held_out():
    """A share of the training images is held out, always the same, none is trained on, and the errors are recorded."""
    whole, parts = data.load("synthetic"), data.load("synthetic", validation=0.25)
    again = data.load("synthetic", validation=0.25)
    batches = [split.images.at(torch.arange(len(split))) for split in (whole.train, parts.train, parts.validation)]
    everything, trained_on, held = ([image.numpy().tobytes() for image in batch] for batch in batches)

    assert (len(trained_on), len(held)) == (384, 128)
    assert sorted(trained_on + held) == sorted(everything)
    assert not set(trained_on) & set(held)
    assert torch.equal(again.validation.images.at(torch.arange(128)), batches[2])
    assert len(set(map(int, parts.validation.labels))) == 10  # no part of the classes is held out as a whole

    recipe = tiny.RECIPE.model_copy(update={"validation": 0.25, "iterations": 6})
    begun = trained(tiny.run_of(recipe, plain="none"), parts, 6)
    (record,) = measuring.evaluate(begun)
    net = begun.twins["plain"].net.eval()
    with torch.no_grad():
        (x, y), *more = begun.stream.clean("validation", 128)
        wrong = (net(x).argmax(1) != y).double().mean().item()
    assert not more
    assert record["validation_error_pct"] == pytest.approx(100 * wrong)
    assert "validation_error_pct" not in next(measuring.evaluate(trained(tiny.run_of(plain="none"), whole, 1)))


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_gpu_steps_never_wait(dataset, precision):
    """No step makes the host wait for the device, once it is captured, whatever epoch it lies in."""
    run = tiny.run_of(tiny.RECIPE.model_copy(update={"precision": precision}))
    trained = training.Training(run, dataset, torch.device("cuda"))
    while trained.iteration < 5:  # the first ones warm up, and are captured
        trained.step()
    try:
        torch.cuda.set_sync_debug_mode("error")
        while trained.iteration < 12:  # an epoch has eight
            trained.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")

    assert trained.iteration == 12


def test_how_far_a_run_is(dataset):
    """Its errors are those of the last evaluation, before the first those of the batches seen; none is made up."""
    begun = training.Training(tiny.run_of(), dataset, tiny.CPU)
    assert begun.standing == (0, {})
    seen = dict.fromkeys(begun.twins, 0.0)

    begun.step()
    for name, twin in begun.twins.items():
        seen[name] = 100 * float(twin.seen[1] / twin.seen[0])
    assert begun.standing == (1, pytest.approx(seen))

    evaluated = {record["twin"]: record["train_error_pct"] for record in measuring.evaluate(begun)}
    begun.step()
    assert begun.standing == (2, evaluated)

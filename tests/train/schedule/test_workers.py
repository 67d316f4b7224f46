"""Workers: runs in hand, by turns."""

import gc
import itertools
import weakref
from multiprocessing import Pipe
from types import SimpleNamespace

import tiny
from deeptwins.train import completion
from deeptwins.train.schedule import workers
from deeptwins.train.schedule.attempts import Assignment, Reply
from deeptwins.train.schedule.workers import Company, Equipment, dataset_key
from deeptwins.train.training import Training


def test_a_run_that_is_over_holds_no_memory(dataset, tmp_path, monkeypatch):
    """The nets of a run are gone when it is told to be over, whenever Python would have found them."""
    trainings = []

    class Watched(Training):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            trainings.append(weakref.ref(self))

    monkeypatch.setattr(completion, "Training", Watched)
    tmp_path.joinpath("tiny").mkdir()
    run, (ours, its) = tiny.run_of(), Pipe()
    company = Company(its, Equipment(tmp_path, tiny.CPU, {dataset_key(run): dataset}))
    ours.send(Assignment(run))
    news = None
    gc.disable()
    try:
        while not isinstance(news, Reply):
            company.listen()
            company.train()
            _, news = ours.recv()
        left = [reference() for reference in trainings]
    finally:
        gc.enable()

    assert news == Reply("done")
    assert left == [None]


def test_a_worker_tells_how_far_its_runs_are(dataset, tmp_path, monkeypatch):
    """After its turns it sends, of every run in hand, the iterations and the training error of each twin."""
    clock = SimpleNamespace(monotonic=itertools.count().__next__)
    monkeypatch.setattr(workers, "time", clock)
    monkeypatch.setattr(workers, "REPORT_S", 1.5)  # by this clock one turn
    tmp_path.joinpath("tiny").mkdir()
    run, (ours, its) = tiny.run_of(), Pipe()
    company = Company(its, Equipment(tmp_path, tiny.CPU, {dataset_key(run): dataset}))
    ours.send(Assignment(run))
    company.listen()
    company.train()

    key, standing = ours.recv()

    assert key == (run.study, run.id)
    assert standing.iteration == 1
    assert standing.errors.keys() == run.twins.keys()
    assert all(0 <= error <= 100 for error in standing.errors.values())

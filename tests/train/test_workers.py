"""Workers: runs in hand, by turns."""

import gc
import weakref
from multiprocessing import Pipe

import tiny
from deeptwins.train import completion
from deeptwins.train.attempts import Order, Reply
from deeptwins.train.training import Training
from deeptwins.train.workers import Company, source


def test_a_run_that_is_over_holds_no_memory(dataset, tmp_path, monkeypatch):
    """The nets of a run are gone when it is told to be over, whenever Python would have found them."""
    made = []

    class Watched(Training):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(weakref.ref(self))

    monkeypatch.setattr(completion, "Training", Watched)
    tmp_path.joinpath("tiny").mkdir()
    run, (ours, its) = tiny.run_of(), Pipe()
    company, told = Company(its, tmp_path, tiny.CPU, {source(run): dataset}), None
    ours.send(Order(run))
    gc.disable()
    try:
        while not isinstance(told, Reply):
            company.listen()
            company.train()
            _, told = ours.recv()
        left = [each() for each in made]
    finally:
        gc.enable()

    assert told == Reply("done")
    assert left == [None]

"""A worker on a device that has memory for one run at a time."""

import torch

from deeptwins.train import completion
from deeptwins.train.schedule import workers


def serve(*arguments):
    """Be a worker: of two runs in hand, the one that begins later finds no memory."""
    begun, advance = [], completion.advance

    def short_of_memory(run, *rest):
        if begun:
            raise torch.OutOfMemoryError("CUDA out of memory")
        begun.append(run)
        try:
            return (yield from advance(run, *rest))
        finally:
            begun.remove(run)

    completion.advance = short_of_memory
    workers.serve(*arguments)

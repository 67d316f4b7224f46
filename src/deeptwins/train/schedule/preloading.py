"""What workers are forked with. An error in them, as in a block of one's own, is told by the command itself."""

from contextlib import suppress

with suppress(BaseException):
    import torch._dynamo  # noqa: F401  PyTorch does so when the first optimizer is made, and that takes seconds

    import deeptwins.train.schedule.workers  # noqa: F401

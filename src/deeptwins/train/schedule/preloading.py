"""What workers are forked with. An error in it, of a block of one's own say, the command finds and tells itself."""

from contextlib import suppress

with suppress(BaseException):
    import torch._dynamo  # noqa: F401  PyTorch does so when the first optimizer is made, and that takes seconds

    import deeptwins.train.schedule.workers  # noqa: F401

"""The signals that ask a command to stop: from people, closed terminals, and the schedulers of clusters."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED = 130  # exit code, whichever signal it was
ASKED = (signal.SIGINT, signal.SIGTERM)
# Schedulers warn by some of these that the time is nearly over.
STOPPING = (*ASKED, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)

_end = os._exit  # which commands replace where somebody's code may call it: see `importing.exits_raised`

Handler = Callable[[int, FrameType | None], Any]


def leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """End the process at once: there is nothing to save, or clean up, that a kill would spoil."""
    # No exception: while Python imports, a library may take it for an error of its own, or print it.
    try:
        os.write(2, b"deeptwins: interrupted\n")
    finally:
        _end(INTERRUPTED)


def handle(handler: Handler) -> dict[signal.Signals, Any]:
    """Set the handler of all of `STOPPING`; returns those before. What `nohup` has ignored stays ignored."""
    numbers = [number for number in STOPPING if number in ASKED or signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in numbers}


@contextmanager
def handled(handler: Handler) -> Iterator[None]:
    """Handle all of `STOPPING` for a while."""
    before = handle(handler)
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, one)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at each of `STOPPING`, so that what is begun is cleaned up."""
    came = False

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    with handled(interrupt):
        try:
            yield
        except Exception as error:
            if came:  # a library made an error of its own of it
                raise KeyboardInterrupt from error
            raise
        finally:
            if came:
                exec("")  # noqa: S102  else Python, interrupted in such a text, as dataclasses are, ends by SIGINT

"""Ends the process that imports it when the one that started it ends, whatever it is doing.

The process that workers are forked from imports this first. It would notice the end of the command only after it had
imported PyTorch, seconds later, and who reads the command's output would wait for that. Linux alone offers this; what
is forked from the process does not inherit it.
"""

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

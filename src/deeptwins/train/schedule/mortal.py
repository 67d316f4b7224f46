"""Ends the process that imports it when the one that started it ends, whatever it is doing.

The process that workers are forked from imports this first. Otherwise it would notice the end of the command only when
PyTorch is imported, seconds later, and a reader of the command's output would wait for that long. Linux alone offers
this; what is forked from the process does not inherit it.
"""

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

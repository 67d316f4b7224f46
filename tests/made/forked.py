"""Processes as `subprocess.Popen` starts them for the gate, forked from one that has loaded pytest already."""

import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace


class Process:
    """What the gate asks of a process: its id, its end, and that of what it has started."""

    def __init__(self, forker, command, **options) -> None:
        """Start a Python script, in a process group of its own."""
        (number,) = options["pass_fds"]
        request = {"argv": command[command.index("-P") + 1 :], "cwd": str(options["cwd"]), "env": options["env"]}
        text = json.dumps(request | {"number": number}).encode()
        self._runner, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(forker, [text], [theirs.fileno(), options["stdout"].fileno(), number])
        self.pid = int.from_bytes(self._runner.recv(4))
        self.returncode = None

    def wait(self, timeout=None):
        """Wait for its exit code; that of a killed process is the signal's number below zero."""
        if self.returncode is None:
            if not select.select([self._runner], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked process", timeout)
            with self._runner:
                self.returncode = int.from_bytes(self._runner.recv(4), signed=True)
        return self.returncode

    def kill(self):
        """Kill it, unless it is known to have ended."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


@contextmanager
def popen():
    """Give what stands in for the module `subprocess`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-P", __file__, str(theirs.fileno())]
    with ours, subprocess.Popen(command, pass_fds=[theirs.fileno()]):  # noqa: S603  our own
        theirs.close()
        yield SimpleNamespace(
            Popen=lambda command, **options: Process(ours, command, **options),
            DEVNULL=subprocess.DEVNULL,
            STDOUT=subprocess.STDOUT,
            TimeoutExpired=subprocess.TimeoutExpired,
        )
        ours.shutdown(socket.SHUT_RDWR)


def serve(requests):
    """Fork a runner for each request; it tells the id of the process, and how that ended."""
    runners = 0
    while (received := socket.recv_fds(requests, 1 << 18, 3))[0]:
        text, (told, *files), *_ = received
        runners += 1
        if not os.fork():
            requests.close()
            run(json.loads(text), socket.socket(fileno=told), *files)
        for file in (told, *files):
            os.close(file)
    for _ in range(runners):  # so that the time that they took is known
        os.wait()


def run(request, told, log, pipe):
    """Run a script in a child, and tell how that ended."""
    if not (pid := os.fork()):
        told.close()
        become(request, log, pipe)
    os.close(pipe)
    told.send(pid.to_bytes(4))
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    told.send(code.to_bytes(4, signed=True))
    told.recv(1)  # until it was waited for: no other process has its id before
    os.waitpid(pid, 0)
    os._exit(0)


def become(request, log, pipe):
    """Be the process asked for: its group, files, folder, variables and arguments; then run the script."""
    os.setpgid(0, 0)
    for file in (1, 2):
        os.dup2(log, file)
    os.dup2(pipe, request["number"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[:0] = request["env"]["PYTHONPATH"].split(os.pathsep)
    sys.argv = request["argv"]
    code = 1
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    import pytest  # noqa: F401  what its scripts load
    from pytest_benchmark.fixture import BenchmarkFixture  # noqa: F401

    with Path(os.devnull).open(encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 0)
    serve(socket.socket(fileno=int(sys.argv[1])))

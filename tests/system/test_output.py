"""Where commands print."""

import contextlib
import errno
import io
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deeptwins.system import signals
from deeptwins.system.output import StandardStream


def printed(output, *texts):
    """Print as a command does, every line at once."""
    stream = io.TextIOWrapper(io.BufferedWriter(output), write_through=True)
    for text in texts:
        print(text, file=stream, flush=True)
    return stream


def test_nobody_need_read_what_is_written():
    """After the reader of a pipe has gone, what is written goes nowhere, by whatever way, and that is no error."""
    reading, writing = os.pipe()
    stream = printed(StandardStream(writing, "w"), "read")
    assert os.read(reading, 100) == b"read\n"
    os.close(reading)

    print("x" * 100_000, "unread", file=stream, flush=True)
    os.write(writing, b"by another way")
    stream.close()


def test_a_terminal_may_be_closed():
    """What is written to a terminal that is gone goes nowhere: from then on the stream is the null device."""
    near, far = pty.openpty()
    output = StandardStream(far, "w")
    os.close(near)

    stream = printed(output, "one", "two")

    assert os.path.samestat(os.fstat(far), Path(os.devnull).stat())
    stream.close()


def test_a_full_disk_is_an_error():
    """What cannot be written for another reason is not lost without a word."""
    with pytest.raises(OSError, match="No space left") as error, Path("/dev/full").open("wb") as full:
        StandardStream(full.fileno(), "w", closefd=False).write(b"lost")

    assert error.value.errno == errno.ENOSPC


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("number", signals.STOPPING)
def test_every_signal_to_stop_interrupts(number):
    """What is begun is cleaned up, also where a library takes the interrupt for an error of its own."""
    before = signal.getsignal(number)

    def interrupted(made):
        with signals.interruptible():
            try:
                os.kill(os.getpid(), number)
            except KeyboardInterrupt:
                raise made from None

    for made in (KeyboardInterrupt, ImportError):
        with pytest.raises(KeyboardInterrupt):
            interrupted(made)
        assert signal.getsignal(number) == before


def test_an_error_without_a_signal_is_itself():
    """An error is no interrupt where no signal came."""
    with pytest.raises(ImportError), signals.interruptible():
        raise ImportError


def test_nohup_keeps_hangups_away():
    """A hangup that was ignored before the command began stays ignored; other signals are heard."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with contextlib.suppress(KeyboardInterrupt), signals.interruptible():
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGUSR1)
        pytest.fail("SIGUSR1 was not heard")
    assert signal.signal(signal.SIGHUP, before) == signal.SIG_IGN


def test_the_exit_code_is_130_wherever_the_signal_came(tmp_path):
    """Also where Python runs code that a library has made from text: it would end by a signal of its own."""
    (tmp_path / "command.py").write_text(
        "import sys\n"
        "from deeptwins.system import signals\n"
        "try:\n"
        "    with signals.interruptible(): exec('import os; os.kill(os.getpid(), 15); [0 for _ in range(9)]')\n"
        "except KeyboardInterrupt: sys.exit(signals.INTERRUPTED)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}

    command = subprocess.run([sys.executable, "-m", "command"], cwd=tmp_path, env=environment, check=False)

    assert command.returncode == 130

"""Copies of this process that do some work, which may be killed; what was imported is there at once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable


def forked(work: Callable[[], object]) -> int:
    """Process id of a copy of this process that does the work; importing is done."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException as error:  # the copy must end here whatever happens
        print(repr(error), flush=True)
        os._exit(1)
    os._exit(0)


def wait(child: int) -> None:
    """Wait for a process.

    Raises:
        RuntimeError: it failed.
    """
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"a child process ended with {os.waitstatus_to_exitcode(status)}")


def timed(work: Callable[[], object]) -> float:
    """Seconds that a copy of this process takes for the work."""
    start = time.monotonic()
    wait(forked(work))
    return time.monotonic() - start


def killed(work: Callable[[], object], seconds: float) -> bool:
    """Begin the work in a copy of this process, kill it at a random moment; whether it had not ended yet.

    Args:
        work: what to do.
        seconds: what it takes when nobody kills it; the moment lies within 1.1 times that.

    Raises:
        RuntimeError: it had ended by itself, and failed.
    """
    child = forked(work)
    time.sleep(random.uniform(0, 1.1 * seconds))
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a child process ended with {code}")
    return code == -signal.SIGKILL

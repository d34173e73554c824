"""One worker process as its parent sees it: started, given work, listened to, and buried."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection

from foundry_edge_runtime.child import ROOT, kill
from foundry_edge_runtime.ending import ending
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.streams.items import Item, Outcome
from foundry_edge_runtime.streams.worker import STOP, Message, Setup

START_SECONDS = 120.0  # to load the engine
_TAIL = 4096


@dataclass(eq=False)
class Job:
    """Inputs given to a worker, and what became of them so far.

    Attributes:
        items: the inputs.
        batch: scans that are computed at once.
        outcomes: as they came, not yet passed on.
        ended: how many of the inputs are at their end.
        last: number of the last scan that the input under way gave; None when it gave none.
        begun: number of the last scan of each input, by its place, that was begun.
        finished: whether nothing more comes.
    """

    items: tuple[Item, ...]
    batch: int = 1
    outcomes: list[Outcome] = field(default_factory=list)
    ended: int = 0
    last: int | None = None
    begun: dict[int, int | None] = field(default_factory=dict)
    finished: bool = False

    def add(self, place: int, outcome: Outcome) -> None:
        """Take an outcome of the input at this place; one without a number is its only one."""
        self.outcomes.append(outcome)
        if outcome.result is None or outcome.scan is None:
            self.ended, self.last = place + 1, None
        else:
            self.last = outcome.scan

    @property
    def left(self) -> tuple[Item, ...]:
        """The inputs that are not at their end; of the first, the scans behind those it gave."""
        first, rest = self.items[self.ended : self.ended + 1], self.items[self.ended + 1 :]
        return (*(replace(one, skip=self.last or one.skip) for one in first), *rest)

    @property
    def reached(self) -> int | None:
        """The last scan that was begun of the first input left; None before one was, and of a single one."""
        return self.begun.get(self.ended)


class Worker:
    """A worker process.

    Args:
        setup: what it is told.

    Attributes:
        job: what it works on; None when it is free or starting.
        ready: whether its engine is loaded.
        connection: to wait on.

    Raises:
        BackendError: no process can be started.
    """

    def __init__(self, setup: Setup) -> None:
        self.job: Job | None = None
        self.ready = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - read after its death
        mine, its = socket.socketpair()
        try:
            with its:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-m", "foundry_edge_runtime.streams.worker", str(its.fileno())],
                    pass_fds=[its.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=self._errors,
                    stderr=self._errors,
                    cwd=ROOT,
                )
        except OSError as error:
            mine.close()
            self._errors.close()
            raise BackendError(f"no worker process can be started: {error.strerror}") from error
        self.connection = Connection(mine.detach())
        self.heard = time.monotonic()
        self.send(setup)

    def give(self, job: Job) -> None:
        """Let it work on this."""
        self.job = job
        self.heard = time.monotonic()
        self.send((job.left, job.batch))

    def stop(self) -> None:
        """Ask it to end after the scan it computes."""
        self.send(STOP)

    def send(self, message: object) -> None:
        """Tell it something; a dead one is found out when it is listened to."""
        try:
            self.connection.send(message)
        except (BrokenPipeError, ConnectionResetError):
            return

    def receive(self) -> Message | None:
        """What it says; None when it is dead."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            return None
        self.heard = time.monotonic()
        return message

    def silent_for(self) -> float:
        """Seconds since it was last heard of."""
        return time.monotonic() - self.heard

    def bury(self) -> str:
        """End it, and say what it died of."""
        self.connection.close()
        try:
            code = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            kill(self._process)
            code = 0
        output = self._output()
        return f"it {ending(code, output)}" if code else "it hung and was killed"

    def close(self) -> None:
        """End it at once."""
        self.connection.close()
        kill(self._process)
        self._errors.close()

    def _output(self) -> str:
        """The end of what it wrote."""
        with self._errors as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL))
            return stream.read().decode(errors="replace")

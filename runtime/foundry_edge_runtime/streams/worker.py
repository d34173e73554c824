"""What a worker process does: one session, inputs in, outcomes out, over a socket."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import load_bundle
from foundry_edge_runtime.bundle.locate import Source
from foundry_edge_runtime.errors import FoundryEdgeError
from foundry_edge_runtime.grouping import accelerate
from foundry_edge_runtime.profile.model import Profile
from foundry_edge_runtime.readers.raw import Options
from foundry_edge_runtime.relay import relayed
from foundry_edge_runtime.selection import Notify, silent
from foundry_edge_runtime.session import Session
from foundry_edge_runtime.streams import here
from foundry_edge_runtime.streams.items import Item, Stop

READY, NOTICE, BEGIN, OUTCOME, FREE, ERROR = "ready", "notice", "begin", "outcome", "free", "error"
STOP = "stop"
Message = tuple[Any, ...]


@dataclass(frozen=True)
class Setup:
    """What a worker is told at its start.

    Attributes:
        here: the working folder, for relative paths.
        folder, source: of the bundle.
        budget, strict, adaptive: of the session.
        profile: what was measured; the worker measures nothing.
        options: how to read.
        batch: scans at once; None lets the worker find out.
        parts, category: of the session.
        cpus: the CPUs it is to use; empty for all.
    """

    here: Path
    folder: Path
    source: Source
    budget: Budget
    strict: bool
    adaptive: bool
    profile: Profile
    options: Options
    batch: int | None = 1
    parts: bool = False
    category: str | None = None
    cpus: tuple[int, ...] = ()


def serve(connection: Connection) -> None:
    """Answer to the end of the connection: ready or error, then outcomes of what is asked.

    It is asked for inputs and how many scans of them to compute at once.
    """
    setup: Setup = connection.recv()
    os.chdir(setup.here)
    if setup.cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, setup.cpus)

    def tell(text: str) -> None:
        connection.send((NOTICE, text))

    try:
        with relayed(tell), open_session(setup, tell) as session:
            connection.send((READY, session.choice, setup.batch or session.best_batch()))
            while True:
                work = connection.recv()
                if work != STOP:
                    items, batch = work
                    _work(session, items, batch, setup.options, connection)
    except FoundryEdgeError as error:
        connection.send((ERROR, error))


def open_session(setup: Setup, notify: Notify = silent) -> Session:
    """The session that a worker is told to open; errors as those of `Session`."""
    if setup.budget.max_memory_mb is None:
        accelerate(compile_now=False)
    return Session(
        replace(load_bundle(setup.folder), source=setup.source),
        setup.budget,
        profile=setup.profile,
        strict=setup.strict,
        adaptive=setup.adaptive,
        parts=setup.parts,
        category=setup.category,
        notify=notify,
    )


def _work(
    session: Session, items: tuple[Item, ...], batch: int, options: Options, connection: Connection
) -> None:
    """Compute inputs, and say which scan comes; between two scans it hears when it is to stop."""

    def place(item: Item) -> int:
        return next(i for i, one in enumerate(items) if one is item)

    def begins(item: Item, scan: int | None) -> None:
        connection.send((BEGIN, place(item), scan))

    stop = Stop()
    for outcome in here.outcomes(session, iter(items), options, stop, batch, begins):
        if outcome is not None:
            connection.send((OUTCOME, place(outcome.item), outcome.result, outcome.scan))
        if connection.poll() and connection.recv() == STOP:
            stop()
    connection.send((FREE,))


def main() -> int:
    """Run as a module, with the number of the socket; signals are the parent's business."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        serve(Connection(int(sys.argv[1])))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return 0  # the parent is gone, or wants no more
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

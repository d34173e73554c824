"""Computing a stream in this process, one scan at a time or in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from foundry_edge_runtime.errors import BackendError, FoundryEdgeError
from foundry_edge_runtime.inspection import Failure
from foundry_edge_runtime.pointcloud import PointCloud
from foundry_edge_runtime.readers.raw import Options
from foundry_edge_runtime.readers.reading import read_each
from foundry_edge_runtime.session import Prepared, Session
from foundry_edge_runtime.streams.items import Item, Items, Outcome, Stop

Read = tuple[int | None, Prepared | FoundryEdgeError | None]
"""The number of a scan, and the scan ready for the engine, why it is not, or None at the input's end."""
Begins = Callable[[Item, int | None], None]
"""Told of each scan of a file before it is read; see `read_each`."""
_Waiting = tuple[Item, int | None, Prepared | FoundryEdgeError | None]


def _tell_nobody(_: Item, __: int | None) -> None:
    """Say nothing."""


def outcomes(
    session: Session,
    items: Items,
    options: Options,
    stop: Stop,
    batch: int = 1,
    begins: Begins = _tell_nobody,
) -> Iterator[Outcome | None]:
    """Compute the scans of inputs in their order.

    Args:
        session: computes them.
        items: the inputs.
        options: how to read.
        stop: ends the stream between two scans.
        batch: how many scans to put through the engine at once; a source that has nothing ends a batch early.
        begins: see `Begins`.

    Yields:
        What became of each scan, the end of each input, and None when the source has nothing.

    Raises:
        BackendError: no engine is left.
    """
    waiting: list[_Waiting] = []
    for item in _until(items, stop):
        if item is None:
            yield from _computed(session, waiting)
            yield None
            continue
        for scan, one in prepared(session, item, options, stop, begins):
            waiting.append((item, scan, one))
            if batch == 1 or sum(one is not None for _, _, one in waiting) == batch:
                yield from _computed(session, waiting)
    yield from _computed(session, waiting)


def prepared(
    session: Session, item: Item, options: Options, stop: Stop, begins: Begins = _tell_nobody
) -> Iterator[Read]:
    """The scans of one input, read and grouped; an unreadable one as its error; then (None, None)."""
    number: int | None = None
    scans = _clouds(item, options, begins)
    while not stop.asked:
        started = time.perf_counter()
        try:
            number, cloud = next(scans, (number, None))
            if cloud is None:
                yield None, None
                return
            yield number, _grouped(session, cloud, started)
        except FoundryEdgeError as error:  # raised by the reader: nothing more comes of this input
            yield None if number is None else number + 1, error
            yield None, None
            return


def _clouds(
    item: Item, options: Options, begins: Begins
) -> Iterator[tuple[int | None, PointCloud | FoundryEdgeError]]:
    if item.load is None:
        yield from read_each(item.name, options, item.skip, partial(begins, item))
    else:
        yield None, item.load()


def _grouped(
    session: Session, cloud: PointCloud | FoundryEdgeError, started: float
) -> Prepared | FoundryEdgeError:
    if isinstance(cloud, FoundryEdgeError):
        return cloud
    try:
        return session.prepare(cloud, read_ms=(time.perf_counter() - started) * 1e3)
    except FoundryEdgeError as error:
        return error


def _computed(session: Session, waiting: list[_Waiting]) -> Iterator[Outcome]:
    """Put what is ready through the engine, and give everything in its order; nothing waits afterwards."""
    ready = [one for _, _, one in waiting if isinstance(one, Prepared)]
    results = iter(session.compute(ready) if ready else [])
    batch, waiting[:] = waiting[:], []
    for item, scan, one in batch:
        if one is None:
            yield Outcome(item, None)
        elif isinstance(one, Prepared):
            yield Outcome(item, next(results), scan)
        elif isinstance(one, BackendError):
            raise one  # no engine is left: that is not this scan's failure
        else:
            yield Outcome(item, Failure(item.name, one, scan), scan)


def _until(items: Items, stop: Stop) -> Items:
    while not stop.asked:
        try:
            item = next(items)
        except StopIteration:
            return
        yield item

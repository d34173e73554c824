"""The queue behind a live source: bounded, and the oldest scan gives way to the newest."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.streams.items import TICK_SECONDS, Item

DEPTH = 1  # the newest; what is older than a scan that came meanwhile is of no use


class LiveQueue:
    """Takes scans from another thread; counts each one that comes and each one that gives way.

    Args:
        depth: scans that may wait.

    Attributes:
        received: scans put in.
        dropped: scans that were taken out again without being computed.

    Raises:
        InputError: ``depth`` is below 1.
    """

    def __init__(self, depth: int = DEPTH) -> None:
        if depth < 1:
            raise InputError(f"the depth of a queue must be at least 1, found {depth}")
        self.received = 0
        self.dropped = 0
        self._depth = depth
        self._waiting: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item) -> None:
        """Add the newest scan; a full queue drops its oldest, a closed one drops this."""
        with self._changed:
            self.received += 1
            if self._closed:
                self.dropped += 1
                return
            if len(self._waiting) == self._depth:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(item)
            self._changed.notify()

    def finish(self) -> None:
        """Take no more; what waits is still computed."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def close(self) -> None:
        """Take no more, and drop what waits."""
        with self._changed:
            self._closed = True
            self.dropped += len(self._waiting)
            self._waiting.clear()
            self._changed.notify()

    @property
    def closed(self) -> bool:
        """Whether it takes no more."""
        return self._closed

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Item | None]:
        """The scans as they come, None when none came for a while; ends when the queue is closed."""
        while True:
            with self._changed:
                if not self._waiting and not self._closed:
                    self._changed.wait(TICK_SECONDS)
                item = self._waiting.popleft() if self._waiting else None
                ended = item is None and self._closed
            if ended:
                return
            yield item

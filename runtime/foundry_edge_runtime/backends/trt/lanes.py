"""Lanes of an engine: a thread borrows one, so that no two threads share a stream or an execution context."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from foundry_edge_runtime.backends.cuda import Device, refusal
from foundry_edge_runtime.backends.trt.lane import Lane, Way
from foundry_edge_runtime.errors import BackendError

KEPT = 4
"""Idle lanes that keep their memory: a few batch sizes, or a few threads."""
_log = logging.getLogger(__name__)


class Lanes:
    """Lanes that are made when wanted, kept for the next, and closed with the engine.

    Args:
        device: made current around all that a lane does.
        make: a lane for a way.
        finish: called once, when all is closed and the last borrowed lane is back.
        name: of the backend, for messages.
    """

    def __init__(
        self, device: Device, make: Callable[[Way], Lane], finish: Callable[[], None], name: str
    ) -> None:
        self._device, self._make, self._finish, self._name = device, make, finish, name
        self._idle: list[Lane] = []
        self._busy = 0
        self._closed = False
        self._lock = threading.Lock()
        self._making = threading.Lock()  # the library promises nothing about two contexts made at once

    @contextmanager
    def borrow(self, way: Way) -> Iterator[Lane]:
        """A lane for this way; one that failed is closed and not used again.

        Raises:
            BackendError: the engine was closed, or no lane can be made.
        """
        lane = self._take(way)
        sound = False
        try:
            with self._device.current():
                if lane is None:
                    with self._making:
                        lane = self._make(way)
                yield lane
            sound = True
        finally:
            self._put_back(lane, sound)

    def _take(self, way: Way) -> Lane | None:
        with self._lock:
            if self._closed:
                raise BackendError("the engine was closed", where=self._name)
            self._busy += 1
            lane = next((one for one in self._idle if one.way == way), None)
            if lane is not None:
                self._idle.remove(lane)
        return lane

    def _put_back(self, lane: Lane | None, sound: bool) -> None:
        with self._lock:
            self._busy -= 1
            if lane is not None and sound and not self._closed:
                self._idle.append(lane)
                lane = self._idle.pop(0) if len(self._idle) > KEPT else None
            last = self._closed and not self._busy
        if lane is not None:
            self._close_lane(lane)
        if last:
            self._finish()

    def close(self) -> None:
        """Lend no more; what is borrowed is closed when it comes back."""
        with self._lock:
            closed, self._closed = self._closed, True
            idle, self._idle = self._idle, []
            last = not closed and not self._busy
        for lane in idle:
            self._close_lane(lane)
        if last:
            self._finish()

    def _close_lane(self, lane: Lane) -> None:
        def close() -> None:
            with self._device.current():
                lane.close()

        reason = refusal(close)
        if reason:
            _log.warning("%s: not all memory of an engine was freed: %s", self._name, reason)

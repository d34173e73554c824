"""A GPU made of bytes: what the CUDA driver promises, and a list of every promise that a caller broke.

Work given to a stream is not done before someone waits for it, so whoever reads too early, or writes to a
buffer that is still being copied, gets wrong numbers. Any call can be told to fail.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.runtime.emulated import emulator

Bytes = npt.NDArray[np.uint8]
COPY_MS, KERNEL_MS = 1.0, 5.0
NO_MEMORY, BROKEN, BAD_VALUE = (
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUDA_ERROR_ILLEGAL_ADDRESS",
    "CUDA_ERROR_INVALID_VALUE",
)
NO_CAPTURE, NO_CONTEXT = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "CUDA_ERROR_INVALID_CONTEXT"


class Refused(Exception):
    """A call that fails; its argument is the name of the status."""


@dataclass
class Stream:
    """Work that waits, and what is noted while a graph is captured."""

    waiting: list[Callable[[], None]] = field(default_factory=list)
    noted: list[Callable[[], None]] | None = None
    spoilt: bool = False


@dataclass
class FakeGpu:
    """One GPU.

    Attributes:
        integrated, can_map: attributes of the device.
        fail_at: number of the call that fails, from 1; 0 for none.
        fail_with: its status.
        captures: whether graphs can be captured.
        calls: every call, in order.
        broken: promises that were broken.
        retained: how often the primary context is retained.
        freed_badly: resources whose own release was the call that failed.
        objects: kind -> how many of TensorRT's objects there are.
    """

    integrated: bool = False
    can_map: bool = True
    fail_at: int = 0
    fail_with: str = BROKEN
    captures: bool = True
    calls: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    retained: int = 0
    freed_badly: int = 0
    objects: dict[str, int] = field(default_factory=dict)
    clock_ms: float = 0.0

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self._stacks = threading.local()
        self._live: dict[int, tuple[str, Any]] = {}
        self._next = 1000

    @property
    def stack(self) -> list[int]:
        """Contexts of this thread."""
        if not hasattr(self._stacks, "all"):
            self._stacks.all = []
        found: list[int] = self._stacks.all
        return found

    @property
    def live(self) -> list[str]:
        """Kinds of what was handed out and not freed."""
        return sorted(kind for kind, _ in self._live.values())

    def call(self, name: str, *, context: bool = True) -> None:
        """Begin a call: it may be the one to fail."""
        self.calls.append(name)
        if len(self.calls) == self.fail_at:
            raise Refused(self.fail_with)
        if context and not self.stack:
            self.broken.append(f"{name} without a context")
            raise Refused(NO_CONTEXT)

    def retain(self) -> None:
        self.call("retain", context=False)
        self.retained += 1

    def release(self) -> None:
        self.call("release", context=False)
        self.retained -= 1
        if self.retained < 0:
            self.broken.append("context released once too often")

    def push(self) -> None:
        self.call("push", context=False)
        if not self.retained:
            self.broken.append("push of a context that is not retained")
        self.stack.append(1)

    def pop(self) -> None:
        self.call("pop", context=False)
        if not self.stack:
            self.broken.append("pop of nothing")
            raise Refused(NO_CONTEXT)
        self.stack.pop()

    def make(self, kind: str, value: Any) -> int:
        """Hand something out."""
        self.call(f"make {kind}")
        is_memory = isinstance(value, np.ndarray)
        self._next += 1
        handle = int(value.ctypes.data) if is_memory else self._next
        self._live[handle] = (kind, value)
        return handle

    def drop(self, kind: str, handle: int) -> None:
        """Take it back."""
        try:
            self.call(f"drop {kind}")
        except Refused:
            self.freed_badly += 1
            raise
        found = self._live.pop(handle, None)
        if found is None or found[0] != kind:
            self.broken.append(f"{kind} {handle} freed twice, or never handed out")
            raise Refused(BAD_VALUE)
        if kind == "stream":
            self._do(found[1])
        if isinstance(found[1], np.ndarray):
            found[1][:] = 0xDD

    def get(self, kind: str, handle: int) -> Any:
        """Something that is still alive."""
        found = self._live.get(handle)
        if found is None or found[0] != kind:
            self.broken.append(f"{kind} {handle} used after it was freed")
            raise Refused(BAD_VALUE)
        return found[1]

    def memory(self, size: int, *, host: bool = False) -> int:
        """Bytes, filled with rubbish."""
        return self.make("host" if host else "memory", np.full(size, 0xCD, np.uint8))

    def region(self, address: int, size: int) -> Bytes:
        """Bytes at an address that the device sees."""
        for start, (kind, value) in self._live.items():
            if kind in {"host", "memory"} and start <= address and address + size <= start + value.nbytes:
                found: Bytes = value[address - start : address - start + size]
                return found
        self.broken.append(f"{size} bytes at {address} were read or written, which are no one's")
        raise Refused(BROKEN)

    def give(self, name: str, stream: int, work: Callable[[], None]) -> None:
        """Give work to a stream."""
        self.call(name)
        found: Stream = self.get("stream", stream)
        (found.waiting if found.noted is None else found.noted).append(work)

    def copy(self, name: str, target: int, source: int, size: int, stream: int) -> None:
        def work() -> None:
            self.clock_ms += COPY_MS
            self.region(target, size)[:] = self.region(source, size)

        self.give(name, stream, work)

    def kernel(self, stream: int, work: Callable[[], None]) -> None:
        """Give a computation to a stream."""

        def timed() -> None:
            self.clock_ms += KERNEL_MS
            work()

        self.give("kernel", stream, timed)

    def load(self, code: bytes) -> int:
        """Machine code, which is the source itself."""
        return self.make("module", bytes(code).decode())

    def run(
        self,
        module: int,
        name: str,
        blocks: int,
        threads: int,
        shared: int,
        arguments: Sequence[Any],
        stream: int,
    ) -> None:
        """Give a kernel to a stream, to be emulated; its ctypes arguments are copied, as CUDA does."""
        source = self.get("module", module)

        def work() -> None:
            self.get("module", module)
            for value in arguments:
                if isinstance(value, ctypes.c_uint64):
                    self.region(value.value, 4)
            try:
                emulator(source).launch(name, blocks, threads, shared, arguments)
            except RuntimeError as error:
                self.broken.append(str(error))
                raise Refused(BROKEN) from error

        self.kernel(stream, work)

    def synchronise(self, stream: int) -> None:
        self.call("synchronise")
        found: Stream = self.get("stream", stream)
        if found.noted is not None:
            found.spoilt = True
            raise Refused(NO_CAPTURE)
        self._do(found)

    def _do(self, stream: Stream) -> None:
        waiting, stream.waiting = stream.waiting, []
        for work in waiting:
            work()

    def record(self, event: int, stream: int) -> None:
        times = self.get("event", event)

        def work() -> None:
            times[:] = [self.clock_ms]

        self.give("record", stream, work)

    def elapsed(self, start: int, end: int) -> float:
        self.call("elapsed")
        first, last = self.get("event", start), self.get("event", end)
        if not (first and last):
            raise Refused("CUDA_ERROR_NOT_READY")
        return float(last[0] - first[0])

    def begin_capture(self, stream: int) -> None:
        self.call("begin capture")
        found: Stream = self.get("stream", stream)
        found.noted, found.spoilt = [], not self.captures

    def end_capture(self, stream: int) -> int:
        found: Stream = self.get("stream", stream)
        noted, found.noted = found.noted, None
        self.call("end capture")
        if noted is None or found.spoilt:
            raise Refused(NO_CAPTURE)
        return self.make("noted", noted)

    def instantiate(self, noted: int) -> int:
        return self.make("graph", list(self.get("noted", noted)))

    def launch(self, graph: int, stream: int) -> None:
        for number, work in enumerate(self.get("graph", graph)):
            if number == 0:
                self.give("launch", stream, work)
            else:
                self.get("stream", stream).waiting.append(work)

    def check(self, *, lost: int = 0) -> None:
        """Everything was given back, once, and no promise was broken."""
        assert self.broken == []
        assert not any(self.objects.values()), self.objects
        assert len(self.live) <= lost, self.live
        assert self.retained in range(lost + 1)
        assert len(self.stack) <= lost

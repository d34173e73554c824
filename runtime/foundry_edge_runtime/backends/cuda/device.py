"""A GPU in use: owns all streams, buffers, events, graphs and modules of a driver, and frees each once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from foundry_edge_runtime.backends.cuda.driver import Attributes, Driver, Handle, Kernel
from foundry_edge_runtime.errors import BackendError

_log = logging.getLogger(__name__)


class _Resource:
    """Something of the device; close it once it is not needed, at the latest when the device is closed."""

    def __init__(self, device: Device, handle: Handle, free: Callable[[Handle], None]) -> None:
        self._device, self.handle, self._free = device, handle, free
        device.adopt(self)

    def close(self) -> None:
        """Free it; a second time does nothing.

        Raises:
            BackendError: CUDA refused; once it was asked to free it, it counts as freed all the same.
        """
        if not self._device.owns(self):
            return
        with self._device.current():
            if self._device.disown(self):
                self._free(self.handle)


class Stream(_Resource):
    """Work that the GPU does in order."""

    def __init__(self, device: Device) -> None:
        driver = device.driver
        super().__init__(device, driver.create_stream(), driver.destroy_stream)

    @property
    def number(self) -> int:
        """The ``cudaStream_t`` as an integer."""
        return self._device.driver.stream_number(self.handle)

    def synchronise(self) -> None:
        """Wait for all of it; raises `BackendError` with what went wrong in it."""
        self._device.driver.synchronise(self.handle)

    def settle(self) -> None:
        """As `synchronise`, with the context made current: buffers must not be freed while it works."""
        with self._device.current():
            self.synchronise()

    def copy_in(self, memory: DeviceBuffer, source: HostBuffer) -> None:
        """Begin to copy to the device."""
        self._device.driver.copy_in(memory.handle, source.data, self.handle)

    def copy_out(self, target: HostBuffer, memory: DeviceBuffer) -> None:
        """Begin to copy from the device."""
        self._device.driver.copy_out(target.data, memory.handle, self.handle)

    def capture(self, work: Callable[[], None]) -> Graph:
        """Note what ``work`` gives to this stream, without doing it.

        Raises:
            BackendError: something in it cannot be noted, or the library has no such calls.
        """
        self._device.driver.begin_capture(self.handle)
        try:
            work()
        except BaseException:
            self._abandon_capture()
            raise
        return Graph(self._device, self._device.driver.end_capture(self.handle))

    def _abandon_capture(self) -> None:
        """A stream must leave capture before it can be used or freed; what was noted is of no use."""
        driver = self._device.driver
        try:
            graph = driver.end_capture(self.handle)
        except BackendError:
            return  # the error under way says why
        driver.destroy_graph(graph)

    def launch(self, graph: Graph) -> None:
        """Do what was noted."""
        self._device.driver.launch(graph.handle, self.handle)

    def run(self, module: Module, kernel: Kernel) -> None:
        """Begin to run a function of a module."""
        self._device.driver.run_kernel(module.handle, kernel, self.handle)


class DeviceBuffer(_Resource):
    """Memory of the GPU.

    Attributes:
        address: on the device.
        size: bytes.
    """

    def __init__(self, device: Device, size: int) -> None:
        driver = device.driver
        super().__init__(device, driver.allocate(size), driver.free)
        self.address, self.size = driver.address(self.handle), size


class HostBuffer(_Resource):
    """Page-locked memory of the host.

    Attributes:
        data: (size,) uint8; not to be touched once this is closed.
        address: on the device; 0 unless it is mapped.
    """

    def __init__(self, device: Device, size: int, mapped: bool) -> None:
        driver = device.driver
        handle, self.data = driver.allocate_host(size, mapped)
        super().__init__(device, handle, driver.free_host)
        self.address = driver.host_address(handle) if mapped else 0


class Event(_Resource):
    """A mark in a stream."""

    def __init__(self, device: Device) -> None:
        driver = device.driver
        super().__init__(device, driver.create_event(), driver.destroy_event)

    def record(self, stream: Stream) -> None:
        """Set it behind the work given to the stream so far."""
        self._device.driver.record(self.handle, stream.handle)

    def since_ms(self, start: Event) -> float:
        """Milliseconds since an earlier mark; both must have been passed."""
        return self._device.driver.elapsed_ms(start.handle, self.handle)


class Graph(_Resource):
    """Work noted once, to be launched in one call."""

    def __init__(self, device: Device, handle: Handle) -> None:
        super().__init__(device, handle, device.driver.destroy_graph)


class Module(_Resource):
    """Machine code on the device."""

    def __init__(self, device: Device, code: bytes) -> None:
        driver = device.driver
        super().__init__(device, driver.load_module(code), driver.unload_module)


class Device:
    """A GPU; everything but `current` and `close` is to be called with the context current.

    Args:
        driver: with the primary context retained; given back by `close`.

    Attributes:
        driver: as given.
        attributes: what the GPU is.
    """

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self._open: dict[int, _Resource] = {}
        self._lock = threading.Lock()
        self._closed = False
        try:
            self.attributes: Attributes = driver.attributes()
        except BackendError:
            driver.release()
            raise

    @property
    def mapped(self) -> bool:
        """Whether buffers are best mapped: memory is shared with the CPU, so that copies are needless."""
        return self.attributes.integrated and self.attributes.can_map

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the primary context current in this thread; may be nested.

        Raises:
            BackendError: CUDA refuses.
        """
        self.driver.push()
        try:
            yield
        except BaseException:
            refusal(self.driver.pop)  # the error under way is the one that matters
            raise
        self.driver.pop()

    def stream(self) -> Stream:
        """A stream of its own."""
        return Stream(self)

    def buffer(self, size: int) -> DeviceBuffer:
        """Device memory of ``size`` bytes."""
        return DeviceBuffer(self, size)

    def host_buffer(self, size: int, *, mapped: bool = False) -> HostBuffer:
        """Page-locked memory of ``size`` bytes."""
        return HostBuffer(self, size, mapped)

    def event(self) -> Event:
        """A mark to time streams with."""
        return Event(self)

    def module(self, code: bytes) -> Module:
        """Machine code from `Driver.compile`, loaded."""
        return Module(self, code)

    def adopt(self, resource: _Resource) -> None:
        """Take note of something to be freed."""
        with self._lock:
            self._open[id(resource)] = resource

    def owns(self, resource: _Resource) -> bool:
        """Whether it is still to be freed."""
        with self._lock:
            return id(resource) in self._open

    def disown(self, resource: _Resource) -> bool:
        """Whether it was still to be freed; it no longer is."""
        with self._lock:
            return self._open.pop(id(resource), None) is not None

    def close(self) -> None:
        """Wait for all work, free what is left, the newest first, and give the context back.

        A second time does nothing.

        A device whose work went wrong refuses even that; this is logged in one line, and not raised: the
        error that matters was raised before.
        """
        with self._lock:
            closed, self._closed = self._closed, True
            left = list(self._open.values())
        if closed:
            return
        steps = [one.settle for one in left if isinstance(one, Stream)]
        steps += [one.close for one in reversed(left)]
        problems = [text for step in [*steps, self.driver.release] if (text := refusal(step))]
        if problems:
            _log.warning("not all GPU resources were freed (%d refusals): %s", len(problems), problems[0])


def refusal(step: Callable[[], None]) -> str:
    """What CUDA says against a step of cleaning up, "" when it does it. Other steps go on."""
    try:
        step()
    except BackendError as error:
        return str(error)
    return ""

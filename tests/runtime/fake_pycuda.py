"""`pycuda.driver` and `pycuda.compiler` on top of a `FakeGpu`, with pycuda's habits.

As in pycuda 2026.1, errors are exceptions, but one met while an object frees what it holds is printed; and a
context is given back only where it is current.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from tests.runtime.fake_cuda import NO_MEMORY, Bytes, FakeGpu, Refused, Stream


class Error(Exception):
    """Of CUDA."""


class LogicError(Error):
    """A call that was refused."""


class MemoryError(Error):
    """Out of memory."""


class CompileError(Error):
    """The compiler refused."""


def pycuda(gpu: FakeGpu) -> ModuleType:
    """The module."""
    module: Any = ModuleType("pycuda.driver")
    module.Error, module.LogicError, module.MemoryError = Error, LogicError, MemoryError
    module.device_attribute = SimpleNamespace(INTEGRATED="integrated", CAN_MAP_HOST_MEMORY="can_map")
    module.host_alloc_flags = SimpleNamespace(DEVICEMAP=2)
    bound = _Calls(gpu)
    module.init = lambda: bound(gpu.call, "init", context=False)
    module.get_driver_version = lambda: bound(lambda: gpu.call("version", context=False)) or 13000
    module.Device = lambda _ordinal: _Device(bound)
    module.Context = _Context(bound)
    module.Stream = lambda _flags: _Stream(bound)
    module.Event = lambda: _Event(bound)
    module.mem_alloc = lambda size: _Memory(bound, "memory", bound(gpu.memory, size))
    module.pagelocked_empty = lambda size, dtype, mem_flags: np.asarray(_Host(bound, size), dtype)
    module.CompileError = CompileError
    module.module_from_buffer = lambda code: _Module(bound, code)
    module.memcpy_htod_async, module.memcpy_dtoh_async = _copies(bound)
    found: ModuleType = module
    return found


def pycuda_compiler(refusal: Exception | None = None) -> ModuleType:
    """The module that calls nvcc: code is the source; or ``refusal`` is raised."""

    def compile_source(
        source: str,
        nvcc: str = "nvcc",
        options: list[str] | None = None,
        keep: bool = False,
        no_extern_c: bool = False,
        arch: str | None = None,
    ) -> bytes:
        assert (options, no_extern_c, arch) == (["--fmad=false", "--ftz=false"], True, "sm_87")
        if refusal is not None:
            raise refusal
        return source.encode()

    module: Any = ModuleType("pycuda.compiler")
    module.compile = compile_source
    found: ModuleType = module
    return found


def _copies(bound: _Calls) -> tuple[Callable[..., None], Callable[..., None]]:
    """Both directions; like calls in C, they leave no reference to the stream in a traceback."""

    def copy_in(to: _Memory, of: Bytes, stream: _Stream) -> None:
        handle = stream.handle
        del stream
        bound(bound.gpu.copy, "copy in", to.number, of.ctypes.data, of.nbytes, handle)

    def copy_out(to: Bytes, of: _Memory, stream: _Stream) -> None:
        handle = stream.handle
        del stream
        bound(bound.gpu.copy, "copy out", to.ctypes.data, of.number, to.nbytes, handle)

    return copy_in, copy_out


class _Calls:
    """Calls of the GPU, with its refusals as pycuda's exceptions."""

    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu = gpu

    def __call__(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with self.gpu.lock:
            try:
                return work(*arguments, **named)
            except Refused as error:
                kind = MemoryError if str(error) == NO_MEMORY else LogicError
                raise kind(f"{self.gpu.calls[-1]} failed: {error}") from None

    def quietly(self, kind: str, number: int) -> None:
        """Free something in a destructor."""
        with self.gpu.lock:
            try:
                self.gpu.drop(kind, number)
            except Refused as error:
                print(f"PyCUDA WARNING: a clean-up operation failed: {error}")


class _Device:
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls
        calls(calls.gpu.call, "device", context=False)

    def name(self) -> str:
        self._calls(self._calls.gpu.call, "name", context=False)
        return "NVIDIA Fake"

    def compute_capability(self) -> tuple[int, int]:
        self._calls(self._calls.gpu.call, "capability", context=False)
        return 8, 7

    def total_memory(self) -> int:
        self._calls(self._calls.gpu.call, "total", context=False)
        return 8 << 30

    def get_attribute(self, which: str) -> int:
        self._calls(self._calls.gpu.call, "attribute", context=False)
        return int(getattr(self._calls.gpu, which))

    def retain_primary_context(self) -> _Context:
        self._calls(self._calls.gpu.retain)
        return _Context(self._calls)


class _Context:
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls
        self._thread = threading.get_ident()

    def push(self) -> None:
        self._calls(self._calls.gpu.push)

    def pop(self) -> None:
        self._calls(self._calls.gpu.pop)

    def detach(self) -> None:
        stack = self._calls.gpu.stack
        if not stack and self._thread != threading.get_ident():
            return  # pycuda leaks it
        self._calls(self._calls.gpu.release)
        if stack:
            stack.pop()


class _Stream:
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls
        self.handle = 0
        self.handle = calls(calls.gpu.make, "stream", Stream())

    def synchronize(self) -> None:
        calls, handle = self._calls, self.handle
        del self
        calls(calls.gpu.synchronise, handle)

    def __del__(self) -> None:
        if self.handle:
            self._calls.quietly("stream", self.handle)


class _Event:
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls
        self.number = 0
        self.number = calls(calls.gpu.make, "event", [])

    def record(self, stream: _Stream) -> None:
        calls, number, handle = self._calls, self.number, stream.handle
        del self, stream
        calls(calls.gpu.record, number, handle)

    def time_till(self, end: _Event) -> float:
        calls, start, stop = self._calls, self.number, end.number
        del self, end
        found: float = calls(calls.gpu.elapsed, start, stop)
        return found

    def __del__(self) -> None:
        if self.number:
            self._calls.quietly("event", self.number)


class _Memory:
    """A DeviceAllocation."""

    def __init__(self, calls: _Calls, kind: str, number: int) -> None:
        self._calls, self._kind, self.number = calls, kind, number

    def __int__(self) -> int:
        return self.number

    def free(self) -> None:
        self._calls.quietly(self._kind, self.number)
        self.number = 0

    def __del__(self) -> None:
        if self.number:
            self.free()


class _Host(_Memory):
    """A PagelockedHostAllocation: the base of the array that is handed out."""

    def __init__(self, calls: _Calls, size: int) -> None:
        super().__init__(calls, "host", 0)
        self.number = calls(calls.gpu.memory, size, host=True)
        self.__array_interface__ = calls.gpu.get("host", self.number).__array_interface__

    def get_device_pointer(self) -> int:
        self._calls(self._calls.gpu.call, "host address")
        return self.number


class _Module:
    def __init__(self, calls: _Calls, code: bytes) -> None:
        self._calls = calls
        self.number = 0
        self.number = calls(calls.gpu.load, code)

    def get_function(self, name: str) -> _Function:
        self._calls(self._calls.gpu.call, "function")
        return _Function(self._calls, self, name)

    def __del__(self) -> None:
        if self.number:
            self._calls.quietly("module", self.number)


class _Function:
    """It keeps its module alive; and this is Python in pycuda, too, so a traceback refers to it."""

    def __init__(self, calls: _Calls, module: _Module, name: str) -> None:
        self._calls, self._module, self._name = calls, module, name
        self._types: list[Any] = []

    def prepare(self, arg_types: list[np.dtype[Any]]) -> None:
        self._types = [np.ctypeslib.as_ctypes_type(kind) for kind in arg_types]

    def prepared_async_call(
        self,
        grid: tuple[int, int],
        block: tuple[int, int, int],
        stream: _Stream,
        *values: Any,
        shared_size: int = 0,
    ) -> None:
        arguments: list[ctypes._SimpleCData[Any]] = [
            kind(int(value)) for kind, value in zip(self._types, values, strict=True)
        ]
        assert (grid[1:], block[1:]) == ((1,), (1, 1))
        place = grid[0], block[0], shared_size, arguments, stream.handle
        self._calls(self._calls.gpu.run, self._module.number, self._name, *place)

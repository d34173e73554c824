"""A deserialised plan, and the objects of NVIDIA's library that it lives in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from foundry_edge_runtime.backends.cuda import Device
from foundry_edge_runtime.backends.trt.messages import Messages, new_log
from foundry_edge_runtime.errors import BackendError, first_line


class Execution:
    """An execution context of the library.

    Attributes:
        context: None once it was closed.

    Raises:
        BackendError: no memory for it.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.context = loaded.engine.create_execution_context()
        if self.context is None:
            raise loaded.error("no execution context can be made")
        loaded.executions.append(self)
        self._loaded = loaded

    def close(self) -> None:
        """Let it go; a second time does nothing."""
        self.context = None
        if self in self._loaded.executions:
            self._loaded.executions.remove(self)


class Loaded:
    """The one place that refers to the library's objects: runtime, engine, execution contexts.

    They must go in reverse order, with CUDA's context current, and before the device is closed. The traceback
    of an error keeps every local variable of its functions alive, so none of ours may be such an object.

    Args:
        library: tensorrt or tensorrt_rtx.
        device: its context is current.
        plan: bytes that were verified.
        name: of the backend.

    Attributes:
        library, name: as given.
        messages: what the library says.
        engine: None once this was closed.
        executions: those that are open.

    Raises:
        BackendError: the library refuses them.
    """

    def __init__(self, library: Any, device: Device, plan: bytes, name: str) -> None:
        self.library, self.name, self._device = library, name, device
        self.messages = Messages()
        self.executions: list[Execution] = []
        self._log = new_log(library, self.messages)
        self.engine: Any = None
        self._runtime: Any = None
        with self.calls():
            self._runtime = library.Runtime(self._log)
            self.engine = self._runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            self._runtime = None
            raise BackendError(
                f"the plan cannot be deserialised: {self.messages.take()}",
                where=name,
                remedy=f"build it again: foundry-edge build --backend {name}",
            )

    @contextmanager
    def calls(self) -> Iterator[None]:
        """Around calls of the library, whose bindings raise where it has nothing to return.

        Raises:
            BackendError: in the place of what they raise.
        """
        try:
            yield
        except (RuntimeError, TypeError) as error:
            self.messages.add("ERROR", first_line(error))
            raise self.error("the library fails") from error

    def error(self, problem: str) -> BackendError:
        """Something that the library answered with None or False, and what it wrote to its log."""
        return BackendError(f"{problem}: {self.messages.take()}", where=self.name)

    def close(self) -> None:
        """Let all go; a second time does nothing.

        Raises:
            BackendError: the context cannot be made current; they are gone all the same.
        """
        try:
            with self._device.current():
                self._let_go()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        for execution in list(self.executions):
            execution.close()
        self.engine = None
        self._runtime = None

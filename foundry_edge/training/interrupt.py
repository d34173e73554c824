"""Ctrl-C and SIGTERM in training: the step that runs is finished and kept."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from rich.console import Console

from foundry_edge.training.processes import process_count
from foundry_edge_runtime.errors import printable

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While it lasts, a first signal is held back, and a second one acts at once.

    Several processes would stop at different steps and wait for one another, so there signals act as ever.

    Attributes:
        pending: the signal that came, if one did.
    """

    def __init__(self) -> None:
        self.pending: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if process_count() == 1 and threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._hold)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self.pending is None:
            self.pending = number
        else:
            self.deliver("")

    def deliver(self, kept: str) -> None:
        """Let the signal act now, and say what is ``kept``."""
        self.__exit__(None, None, None)
        if kept:
            Console(stderr=True).print(printable(kept), highlight=False, markup=False, soft_wrap=True)
        signal.raise_signal(self.pending or signal.SIGINT)

"""The live line under the results of a stream, on a terminal: rate, p95, engine, temperature."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from foundry_edge_runtime.control import p95
from foundry_edge_runtime.sensors import temperature_c

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from foundry_edge_runtime.result import Result
    from foundry_edge_runtime.run import Running

_WINDOW = 64
_TEMPERATURE_SECONDS = 1.0


class Live:
    """Shows the state of a stream while it runs; gone when it ends.

    Args:
        console: of the results.
        running: the stream.
    """

    def __init__(self, console: Console, running: Running) -> None:
        from rich.live import Live as RichLive

        self._running = running
        self._ends: deque[float] = deque(maxlen=_WINDOW)
        self._latencies: deque[float] = deque(maxlen=_WINDOW)
        self._temperature: tuple[float, float | None] = (float("-inf"), None)
        self._live = RichLive(console=console, transient=True, auto_refresh=False)
        self._live.start()

    def update(self, result: Result | None) -> None:
        """Take a result, or the passing of time, into account."""
        if result is not None:
            self._ends.append(time.monotonic())
            self._latencies.append(result.latency.group + result.latency.engine)
        self._live.update(self.line(), refresh=True)

    def line(self) -> Text:
        """What is shown."""
        from rich.text import Text

        counts, rung = self._running.counts, self._running.rung
        parts = [f"{counts.done} done", f"{counts.failed} failed", f"{self.rate():.1f} scans/s"]
        if self._latencies:
            parts.append(f"p95 {p95(list(self._latencies)):.1f} ms")
        parts += [rung] if rung else []
        degrees = self._degrees()
        parts += [f"{degrees:.0f} C"] if degrees is not None else []
        return Text("  ".join(parts), style="bold cyan", no_wrap=True, overflow="ellipsis")

    def rate(self) -> float:
        """Scans a second over the last of them, up to now."""
        if len(self._ends) < 2:
            return 0.0
        return (len(self._ends) - 1) / max(time.monotonic() - self._ends[0], 1e-9)

    def close(self) -> None:
        """Take it off the screen."""
        self._live.stop()

    def _degrees(self) -> float | None:
        read, value = self._temperature
        if time.monotonic() - read > _TEMPERATURE_SECONDS:
            value = temperature_c()
            self._temperature = (time.monotonic(), value)
        return value

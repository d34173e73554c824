"""What NVIDIA's library says, gathered instead of printed, and turned into one line."""

from __future__ import annotations

import re
from typing import Any

_PLACE = re.compile(r"\[[\w./]+\.(cpp|h|cu):+:?\w*:*\d*[^\]]*\]\s*")
_WHERE = re.compile(r"\.?\s*In \w+ at \S+:\d+\)?")
_MOST = 1000  # of a process that runs for months


class Messages:
    """Errors and warnings, each once and in order.

    Calls of the library answer with None or False only; further errors follow from the first.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def add(self, level: str, text: str) -> None:
        """Keep an error or a warning; drop the rest."""
        kept = {"INTERNAL_ERROR": self.errors, "ERROR": self.errors, "WARNING": self.warnings}.get(level)
        line = one_line(text)
        if kept is not None and line not in kept and len(kept) < _MOST:
            kept.append(line)

    def problem(self) -> str:
        """The first error, which names the node where the library knows it."""
        return next(iter(self.errors), "the library gives no reason")

    def take(self) -> str:
        """The first error since the last call."""
        found = self.problem()
        self.errors.clear()
        return found


def new_log(library: Any, messages: Messages) -> Any:
    """A log of this library that gathers, and writes nothing to the terminal."""

    class Log(library.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            library.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            messages.add(severity.name, text)

    return Log()


def one_line(text: str, limit: int = 400) -> str:
    """A message without places in the library's own source, on one line of bounded length."""
    short = " ".join(_WHERE.sub("", _PLACE.sub("", text)).split())
    return short if len(short) <= limit else short[: limit - 3] + "..."

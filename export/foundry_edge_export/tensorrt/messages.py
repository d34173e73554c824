"""What the library says, gathered instead of printed, and turned into one line."""

from __future__ import annotations

import re
from typing import Any

_PLACE = re.compile(r"\[[\w./]+\.(cpp|h|cu):+:?\w*:*\d*[^\]]*\]\s*")
_WHERE = re.compile(r"\.?\s*In \w+ at \S+:\d+\)?")


class Messages:
    """Errors and warnings of one build, each once and in order."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def add(self, level: str, text: str) -> None:
        """Keep an error or a warning; drop the rest."""
        kept = {"INTERNAL_ERROR": self.errors, "ERROR": self.errors, "WARNING": self.warnings}.get(level)
        line = one_line(text)
        if kept is not None and line not in kept:
            kept.append(line)

    def problem(self) -> str:
        """The first error, which names the node where the library knows it."""
        return next(iter(self.errors), "the compiler gave no reason")


def logger(library: Any, messages: Messages) -> Any:
    """A logger of this library that gathers."""

    class Gathering(library.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            library.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            messages.add(severity.name, text)

    return Gathering()


def one_line(text: str, limit: int = 400) -> str:
    """A message without places in the library's own source, on one line of bounded length."""
    short = " ".join(_WHERE.sub("", _PLACE.sub("", text)).split())
    return short if len(short) <= limit else short[: limit - 3] + "..."


def parse_problem(parser: Any) -> str:
    """Everything the ONNX parser objects to, the node first."""
    found = [_parse_error(parser.get_error(index)) for index in range(parser.num_errors)]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return (found[0] + more) if found else "the parser gave no reason"


def _parse_error(error: Any) -> str:
    name = error.node_name() if hasattr(error, "node_name") else ""
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    where = name or (f"number {error.node()}" if error.node() >= 0 else "")
    node = f"node {where}" + (f" ({operator})" if operator else "") + ": " if where else ""
    return f"{node}{one_line(error.desc())} [{getattr(error.code(), 'name', error.code())}]"

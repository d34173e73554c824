"""What a command says beside its results, on stderr: lines for people, or JSON lines with --log-json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import typer

from foundry_edge.cli.output import notice
from foundry_edge_runtime.errors import FoundryEdgeError, printable
from foundry_edge_runtime.relay import relayed


class Log:
    """Says things on stderr.

    Args:
        structured: as JSON objects, with time, level, event and message.
    """

    def __init__(self, structured: bool) -> None:
        self.structured = structured

    def notice(self, text: str) -> None:
        """One line about what is measured, or an engine that failed."""
        self.say("warning", "notice", text)

    def say(self, level: str, event: str, text: str, **fields: Any) -> None:
        """One line.

        Args:
            level: info, warning or error.
            event: what kind of thing happened; fields are the same for each kind.
            text: for people.
            fields: for programs; shown in the structured form only.
        """
        if not self.structured:
            notice(printable(text))
            return
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        record = {"time": now, "level": level, "event": event, "message": printable(text), **fields}
        typer.echo(json.dumps(record, allow_nan=False), err=True)


@contextmanager
def logging_to(structured: bool) -> Iterator[Log]:
    """A log; an error that ends the command is part of a structured one."""
    log = Log(structured)
    try:
        with relayed(log.notice):
            yield log
    except FoundryEdgeError as error:
        if not structured:
            raise
        log.say("error", type(error).__name__, str(error), exit_code=error.exit_code)
        raise typer.Exit(error.exit_code) from None

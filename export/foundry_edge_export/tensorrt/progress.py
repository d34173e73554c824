"""How a build tells what it is doing."""

from __future__ import annotations

from typing import Protocol


class BuildProgress(Protocol):
    """Told of every rung; the command line draws it with the time elapsed, Python users need not."""

    def building(self, rung: str, last_seconds: float | None) -> None:
        """A rung is being built; the last time it took so many seconds here, None when that is not known."""

    def checking(self, rung: str) -> None:
        """A plan is being run against its graph."""

    def note(self, text: str) -> None:
        """Something a person should know: a refusal, a damaged plan, a wait."""


class Silent:
    """Tells nobody; notes are in the report as well."""

    def building(self, rung: str, last_seconds: float | None) -> None:
        """Ignore."""

    def checking(self, rung: str) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""

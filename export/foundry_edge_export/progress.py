"""How an export tells what it is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from foundry_edge_export.report import ExportReport


class Progress(Protocol):
    """Told of every step; the command line draws it, Python users need not."""

    def step(self, text: str) -> None:
        """A new step begins."""

    def advance(self, done: int, of: int) -> None:
        """So many rungs are done, of so many."""

    def note(self, text: str) -> None:
        """Something a person should know: a warning, an assumption, a wait."""

    def failed(self, report: ExportReport) -> None:
        """A gate failed; called with everything measured, before GateError is raised."""


class Silent:
    """Tells nobody; warnings and notes are in the report as well."""

    def step(self, text: str) -> None:
        """Ignore."""

    def advance(self, done: int, of: int) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""

    def failed(self, report: ExportReport) -> None:
        """Ignore."""

"""A stream under way: results are kept, noted and counted as they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

from foundry_edge_runtime.choice import Choice
from foundry_edge_runtime.inspection import Failure
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.save import feature_file, save_features
from foundry_edge_runtime.streams.inputs import Scans
from foundry_edge_runtime.streams.items import Counts, Outcome, Stop
from foundry_edge_runtime.streams.ledger import Ledger


class Computing(Protocol):
    """What computes a stream: a session or a pool of workers."""

    @property
    def choice(self) -> Choice:
        """The engine in use."""

    def close(self) -> None:
        """End it."""


class Running(Iterator[Result | Failure]):
    """A stream under way: iterate over it for the results; `close` it, or use it as a context, to end early.

    Attributes:
        counts: scans received, done, failed, dropped and skipped so far.
        stop: call it to end after the scan that is being computed.
    """

    def __init__(
        self,
        computing: Computing,
        scans: Scans,
        outcomes: Iterator[Outcome | None],
        stop: Stop,
        folder: Path | None,
        ledger: Ledger | None,
    ) -> None:
        self._computing = computing
        self.stop = stop
        self.counts = Counts()
        self._scans = scans
        self._outcomes = outcomes
        self._folder = folder
        self._ledger = ledger
        self._open = True

    def __next__(self) -> Result | Failure:
        while True:
            result = self.poll()
            if result is not None:
                return result

    def poll(self) -> Result | Failure | None:
        """The next result; None when the source has nothing at the moment.

        Raises:
            StopIteration: at the end.
            FoundryEdgeError: see `run`; of a single scan, why it could not be computed.
        """
        try:
            for outcome in self._outcomes:
                if outcome is None:
                    return None
                result = self._finish(outcome)
                if result is not None:
                    return result
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopIteration

    @property
    def rung(self) -> str:
        """The engine in use, e.g. "s4-int8"."""
        return self._computing.choice.rung.name

    def _finish(self, outcome: Outcome) -> Result | Failure | None:
        """Keep what came of a scan, and count it once it is kept."""
        result = outcome.result
        if result is None:
            self._note(outcome)
            return None
        self.counts.received += self._scans.live is None
        if isinstance(result, Failure):
            self.counts.failed += 1
            self._note(outcome)
            if not self._scans.many and outcome.scan is None:
                raise result.error
            return result
        result = replace(result, scan=outcome.scan)
        try:
            result = self._kept(result, outcome)
        except BaseException:
            self.counts.failed += 1
            raise
        self.counts.done += 1
        return result

    def _kept(self, result: Result, outcome: Outcome) -> Result:
        if self._folder is not None:
            path = feature_file(outcome.item.name, self._folder, self._scans.root, outcome.scan)
            result = save_features(result, path)
        self._note(replace(outcome, result=result))
        return result

    def _note(self, outcome: Outcome) -> None:
        if self._ledger is not None:
            self._ledger.add(outcome)
            self.counts.skipped = self._ledger.skipped

    def close(self) -> None:
        """End the stream: free the engine, close the ledger, and count what a live source still held."""
        if not self._open:
            return
        self._open = False
        self._computing.close()
        if self._ledger is not None:
            self.counts.skipped = self._ledger.skipped
            self._ledger.close()
        live, counts = self._scans.live, self.counts
        if live is not None:
            live.close()
            counts.received, counts.dropped = live.received, live.dropped
            counts.failed = counts.received - counts.dropped - counts.done  # an engine may have died with one

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

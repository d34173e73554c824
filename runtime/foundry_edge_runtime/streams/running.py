"""A stream under way: results are kept, noted and counted as they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Protocol

from foundry_edge_runtime.choice import Choice
from foundry_edge_runtime.inspection import Failure
from foundry_edge_runtime.keeping import Keeper
from foundry_edge_runtime.result import Result
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
        keeper: Keeper,
        ledger: Ledger | None,
    ) -> None:
        self._computing = computing
        self.stop = stop
        self.counts = Counts()
        self._scans = scans
        self._outcomes = outcomes
        self._keeper = keeper
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
        except BaseException as error:
            self.close(error)
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
        result = self._keeper.keep(result, outcome.item.name)
        self._note(replace(outcome, result=result))
        return result

    def _note(self, outcome: Outcome) -> None:
        if self._ledger is not None:
            self._ledger.add(outcome)
            self.counts.skipped = self._ledger.skipped

    def close(self, error: BaseException | None = None) -> None:
        """End the stream: free the engine, finish what is written, and count what a live source still held.

        Args:
            error: what ended it, if anything did.

        Raises:
            StorageError: something cannot be written.
        """
        if not self._open:
            return
        self._open = False
        with ExitStack() as stack:
            stack.callback(self._count)
            if self._ledger is not None:
                stack.callback(self._ledger.close)
            stack.callback(self._keeper.close, error)
            stack.callback(self._computing.close)

    def _count(self) -> None:
        if self._ledger is not None:
            self.counts.skipped = self._ledger.skipped
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
        self.close(error)

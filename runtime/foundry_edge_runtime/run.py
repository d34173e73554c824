"""`foundry-edge run`: scans in, results out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import load_bundle
from foundry_edge_runtime.inspection import Failure
from foundry_edge_runtime.readers.raw import Options
from foundry_edge_runtime.readers.reading import parse_columns
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.save import feature_file, save_features
from foundry_edge_runtime.selection import Notify, silent
from foundry_edge_runtime.session import Session
from foundry_edge_runtime.streams import here
from foundry_edge_runtime.streams.inputs import Scans, refuse_missing, refuse_mixture, scans_of
from foundry_edge_runtime.streams.items import Counts, Outcome, Stop
from foundry_edge_runtime.streams.ledger import Ledger

__all__ = ["Running", "Scans", "run", "scans_of"]

Keep = Callable[[Outcome, Result], Result]


def run(
    scan: str | os.PathLike[str] | Scans,
    *,
    bundle: str | os.PathLike[str] | None = None,
    max_latency_ms: float | None = None,
    min_accuracy: float | None = None,
    max_memory_mb: float | None = None,
    tokens: int | None = None,
    precision: str | None = None,
    backend: str | None = None,
    strict: bool = False,
    adaptive: bool = False,
    watch: bool = False,
    ledger: str | os.PathLike[str] | None = None,
    save: str | os.PathLike[str] | None = None,
    salvage: bool = False,
    columns: str | Sequence[str] | None = None,
    topic: str | None = None,
    vertices: bool = False,
    seed: int = 0,
    notify: Notify = silent,
) -> Running:
    """Run one scan, the scans of a folder or of a bag, those named on standard input, or a live topic.

    Args:
        scan: file, folder, "-" or "ros2:/topic" (see `scans_of`), or what `scans_of` made of it.
        bundle: a folder; None takes the default one (see `load_bundle`).
        max_latency_ms, min_accuracy, max_memory_mb, tokens, precision, backend: see `Budget`.
        strict: a budget that cannot be met, and an engine that fails, are errors.
        adaptive: hold ``max_latency_ms`` while conditions change, by switching engines.
        watch: of a folder, wait for more scans until stopped.
        ledger: file that keeps the record of each finished scan; those in it are not computed again.
        save: folder for the features of each scan (npz).
        salvage, columns, topic, vertices, seed: see `read_points`.
        notify: told in one line what is measured and what fails.

    Returns:
        An iterator over the results, in order. For a folder or list an unreadable scan gives a `Failure`.
        The engine is chosen and loaded before this function returns.

    Raises:
        InputError: no such scan, a wrong option, or a bundle or ledger that cannot be used.
        GateError: ``strict``, and no engine keeps within the budget.
        EnvironmentFault: no engine can be loaded, or a result cannot be saved.
    """
    budget = Budget(max_latency_ms, min_accuracy, max_memory_mb, tokens, precision, backend)
    options = Options(salvage, parse_columns(columns), topic, vertices, seed)
    scans = scan if isinstance(scan, Scans) else scans_of(scan, watch=watch)
    refuse_mixture(scans, ledger=ledger is not None, processes=False)
    refuse_missing(scans)
    opened = load_bundle(bundle)
    book = None if ledger is None else Ledger(ledger, opened.manifest.id)
    try:
        session = Session(opened, budget, strict=strict, adaptive=adaptive, notify=notify)
    except BaseException:
        if book is not None:
            book.close()
        raise
    stop = Stop()
    items = iter(scans.items) if book is None else book.remaining(iter(scans.items))
    outcomes = here.outcomes(session, items, options, stop)
    return Running(session, scans, outcomes, stop, None if save is None else Path(save), book)


class Running(Iterator[Result | Failure]):
    """A stream under way: iterate over it for the results; `close` it, or use it as a context, to end early.

    Attributes:
        counts: scans received, done, failed, dropped and skipped so far.
        stop: call it to end after the scan that is being computed.
        session: what computes.
    """

    def __init__(
        self,
        session: Session,
        scans: Scans,
        outcomes: Iterator[Outcome | None],
        stop: Stop,
        folder: Path | None,
        ledger: Ledger | None,
    ) -> None:
        self.session = session
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
        return self.session.choice.rung.name

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
        self.session.close()
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

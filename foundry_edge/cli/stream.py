"""Running a stream to its end: results to stdout as they come, counts at the end, signals in between."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from foundry_edge.cli.logs import Log
from foundry_edge_runtime.inspection import Failure

if TYPE_CHECKING:
    from foundry_edge_runtime.result import Result
    from foundry_edge_runtime.run import Running
    from foundry_edge_runtime.streams.items import Counts

    Show = Callable[[Result | Failure | None], None]

GRACE_SECONDS = 4.5  # for the scan being computed when a signal comes; 5 s are promised


class Signalled:
    """Which signal came, if one did.

    Attributes:
        code: the exit code it asks for, 0 when none came.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.code = 0
        self._stop = stop
        self._timer: threading.Timer | None = None

    def __call__(self, number: int, _: Any) -> None:
        """Handle a signal: the first ends the stream after its scan, the second at once."""
        if self.code:
            raise SystemExit(128 + number)
        self.code = 128 + number
        self._stop()
        self._timer = threading.Timer(GRACE_SECONDS, os._exit, [self.code])
        self._timer.daemon = True
        self._timer.start()

    def over(self) -> None:
        """The stream has ended by itself."""
        if self._timer is not None:
            self._timer.cancel()


class Remarks:
    """What is said on stderr about results: once that the budget is not met; in JSON failures and warnings.

    Args:
        log: where it goes.
        once: whether an unmet budget is to be said here; a single scan's report does it itself.

    Attributes:
        over: how many scans broke the budget.
    """

    def __init__(self, log: Log, *, once: bool) -> None:
        self.over = 0
        self._log = log
        self._once = once

    def on(self, result: Result | Failure | None) -> None:
        """Take a result into account; None is a moment without one."""
        if result is None:
            return
        if isinstance(result, Failure):
            self._of_scan("scan_failed", str(result.error), result.input, result.scan)
            return
        for line in result.warnings:
            self._of_scan("scan_warning", line, result.cloud.source, result.scan)
        self.over += result.kept is False
        if self._once and not result.choice.met:
            self._once = False
            self._log.say("warning", "budget_not_met", f"the budget is not met: {result.choice.reason}")

    def _of_scan(self, event: str, text: str, name: str, scan: int | None) -> None:
        if self._log.structured:
            self._log.say("warning", event, text, input=name, scan=scan)


def show_all(running: Running, log: Log, *, many: bool, json: bool, strict: bool) -> int:
    """Show the results of a stream and say at the end how many there were.

    Args:
        running: from `run`.
        log: where the counts go.
        many: whether the stream may hold several scans.
        json: one JSON object a line, or lines for people.
        strict: a scan that did not keep the budget counts for the exit code.

    Returns:
        The exit code: that of a signal, 1 when a scan failed or, if ``strict``, broke the budget, else 0.
    """
    remarks = Remarks(log, once=many)
    with ExitStack() as stack:
        signalled = stack.enter_context(_signals(running)) if many else None
        stack.callback(summarise, running.counts, log, many)
        stack.callback(running.close)
        show = stack.enter_context(_shown(running, many, json))
        for result in _results(running):
            show(result)
            remarks.on(result)
    if remarks.over and (many or strict):
        text = f"{remarks.over} of {running.counts.done} scans broke the budget"
        log.say("warning", "budget_not_kept", text)
    failed = int(running.counts.failed > 0 or (strict and remarks.over > 0))
    return failed if signalled is None else signalled.code or failed


def _results(running: Running) -> Iterator[Result | Failure | None]:
    """The results, None when there is nothing at the moment."""
    while True:
        try:
            result = running.poll()
        except StopIteration:
            return
        yield result


@contextmanager
def _signals(running: Running) -> Iterator[Signalled]:
    """While it lasts, SIGTERM and SIGINT end the stream after the scan that is being computed."""
    signalled = Signalled(running.stop)
    before = {number: signal.signal(number, signalled) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signalled
    finally:
        signalled.over()
        for number, handler in before.items():
            signal.signal(number, handler)


def summarise(counts: Counts, log: Log, many: bool) -> None:
    """Say how many scans there were, unless it was one."""
    if not (many or counts.received > 1 or counts.skipped):
        return
    skipped = f"; {counts.skipped} were done before" if counts.skipped else ""
    text = f"{counts.received} scans in: {counts.done} done, {counts.failed} failed, {counts.dropped} dropped"
    log.say("info", "summary", text + skipped, **counts.as_json())


@contextmanager
def _shown(running: Running, many: bool, json: bool) -> Iterator[Show]:
    """What prints a result: JSON lines, or the report for people; None is a moment without a result."""
    if json:
        from foundry_edge.cli.output import print_json

        yield lambda result: None if result is None else print_json(result.as_json())
        return
    from foundry_edge.cli.report import Report

    with Report(many, running) as report:
        yield report.show

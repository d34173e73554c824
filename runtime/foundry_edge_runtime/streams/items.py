"""What flows through a stream: an input, what became of each of its scans, and how many there were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from foundry_edge_runtime.inspection import Failure
from foundry_edge_runtime.pointcloud import PointCloud
from foundry_edge_runtime.result import Result

TICK_SECONDS = 0.2  # how often a source that has nothing says so


@dataclass(frozen=True)
class Item:
    """One input.

    Attributes:
        name: a path, "-" for a scan on standard input, or what a live source calls its scan.
        load: gives the points of a live source's scan; None reads the file.
        skip: so many scans of it were done in an earlier run.
        key: what a ledger knows it by.
    """

    name: str
    load: Callable[[], PointCloud] | None = None
    skip: int = 0
    key: str | None = None


Items = Iterator[Item | None]
"""Inputs as they come; None means that there is nothing at the moment."""


@dataclass(frozen=True)
class Outcome:
    """What became of one scan of an input.

    Attributes:
        item: the input.
        result: the result or the failure; None marks the end of the input.
        scan: its number within the input, counted from 1; None for a format that holds one scan.
    """

    item: Item
    result: Result | Failure | None
    scan: int | None = None


@dataclass
class Counts:
    """How many scans came, and what became of them: received = done + failed + dropped at the end.

    Attributes:
        received: scans that came in.
        done: computed, and kept where that was asked for.
        failed: could not be read or computed.
        dropped: of a live source, given up because newer ones came; never of files.
        skipped: done in an earlier run, by the ledger; not among those received.
    """

    received: int = 0
    done: int = 0
    failed: int = 0
    dropped: int = 0
    skipped: int = 0

    def as_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


class Stop:
    """Asks a stream to end after the scan that is being computed."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> None:
        """Ask; a source that has nothing hears it at its next tick."""
        self.asked = True
